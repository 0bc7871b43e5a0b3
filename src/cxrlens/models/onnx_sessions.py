"""The programs that run the graph of an exported model: onnxruntime and OpenVINO, in one form; none needs torch."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from cxrlens.errors import UsageError
from cxrlens.models.onnx_parts import can_cut, part_of
from cxrlens.processor import cpu_is_faster_in_bfloat16, cpu_multiplies_int8

GraphRuntime: TypeAlias = Literal["onnx", "openvino"]

Runtime: TypeAlias = Literal["torch"] | GraphRuntime

GraphPrecision: TypeAlias = Literal["f32", "bf16", "int8"]
"""In which a graph multiplies; "int8" is the part that multiplies 8-bit integers, and float32 for all else."""

Tensors: TypeAlias = dict[str, tuple[str, list[Any]]]
"""By name, type ("float32" ...) and sizes behind the first, which is the number of images."""


_OF_KIND = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
_ON_CPU: tuple[str, dict[str, str]] = (_OF_KIND["cpu"], {})

_PIECE = 8  # images that OpenVINO takes at once, as many as a batch of `screen` and `serve` holds


class GraphSession(Protocol):
    """A graph, ready to run.

    Attributes:
        runtime: what runs it.
        precision: in which it multiplies.
        device: where: "cpu", or "cuda:0" ...
        leaves_out: True where nothing is computed that only outputs need which were not asked for.
        inputs: of the graph; likewise ``outputs``.
    """

    runtime: GraphRuntime
    precision: GraphPrecision
    device: str
    leaves_out: bool

    @property
    def inputs(self) -> Tensors: ...

    @property
    def outputs(self) -> Tensors: ...

    def metadata(self, key: str) -> str | None:
        """An entry of the file's metadata; None where it has none."""
        ...

    def run(self, outputs: Sequence[str], inputs: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """The outputs of those names.

        Raises:
            Exception: of the runtime's own, which have no base in common.
        """
        ...


def runtime_of(file: Path, asked: Runtime | None) -> Runtime:
    """What is to run a model's file: what was asked for, else what the file is for."""
    return asked or ("onnx" if file.suffix.lower() == ".onnx" else "torch")


def open_session(
    path: Path, runtime: GraphRuntime = "onnx", precision: str = "f32", device: str = "auto"
) -> GraphSession:
    """Read a graph.

    Args:
        device: "cpu"; by onnxruntime also "cuda", "cuda:1" ... or "tensorrt", where it was built for these; or "auto",
            the first GPU that it can use, else the processor.
        precision: "f32", "bf16", "int8", or "auto": the faster of "f32" and "bf16" that runtime and processor have
            units for.

    Raises:
        UsageError: when the file cannot be read, the runtime is not installed, or it lacks precision or device.
    """
    if precision not in ("auto", *get_args(GraphPrecision)):
        raise UsageError(f"unknown precision '{precision}': use auto, {', '.join(get_args(GraphPrecision))}")
    if precision == "int8":
        device = _device_for_int8(device)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({error.strerror or error}); 'cxrlens export' writes an ONNX model"
        ) from error
    session = OpenvinoSession if runtime == "openvino" else OnnxruntimeSession
    return session(path, content, precision, device)


class OnnxruntimeSession:
    """A `GraphSession` by onnxruntime.

    It computes all of a graph whatever is asked for, also with its option not to (seen with onnxruntime 1.32). What is
    asked for is therefore cut out of the graph where that leaves much out and the package onnx is installed.

    It takes the images of a batch one by one where a sum could be ordered otherwise, so that an image's outputs do not
    depend on the others.
    """

    runtime: GraphRuntime = "onnx"

    def __init__(self, path: Path, content: bytes, precision: str, device: str) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise UsageError("ONNX models need onnxruntime; install it with: pip install 'cxrlens[onnx]'") from error
        if precision == "bf16":
            raise UsageError(
                "onnxruntime runs exported models in f32 or int8, not in bf16; leave --precision out, or take "
                "--runtime openvino"
            )
        self.precision: GraphPrecision = "int8" if precision == "int8" else "f32"
        self.leaves_out = can_cut()
        if self.precision == "int8" and not self.leaves_out:
            raise UsageError(
                "int8 by onnxruntime needs the package onnx, without which all of a graph is computed; install it "
                "with: pip install 'cxrlens[onnx]'"
            )
        onnxruntime.disable_telemetry_events()  # of its builds for Windows
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = _threads()
        options.inter_op_num_threads = 1
        self.device, provider = _provider(onnxruntime.get_available_providers(), device)
        providers = [provider] if provider == _ON_CPU else [provider, _ON_CPU]
        self._open = partial(onnxruntime.InferenceSession, sess_options=options, providers=providers)
        try:
            self._whole = self._open(content)
        except Exception as error:  # onnxruntime's errors have no base of their own
            raise _damaged(path, str(error).splitlines()[0].rpartition(" : ")[2]) from error
        if self._whole.get_providers()[0] != provider[0]:  # it goes on with the processor where that fails
            if device != "auto":
                raise UsageError(
                    f"onnxruntime cannot use the device '{device}', as its lines above say; try --device cpu"
                )
            self.device = "cpu"
        self.inputs = _described(self._whole.get_inputs())
        self.outputs = _described(self._whole.get_outputs())
        self._content = content if self.leaves_out else b""
        self._sessions: dict[frozenset[str], Any] = {}

    def metadata(self, key: str) -> str | None:
        found: str | None = self._whole.get_modelmeta().custom_metadata_map.get(key)
        return found

    def run(self, outputs: Sequence[str], inputs: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        found: list[npt.NDArray[Any]] = self._session_for(frozenset(outputs)).run(list(outputs), inputs)
        return found

    def _session_for(self, outputs: frozenset[str]) -> Any:
        if not self.leaves_out:
            return self._whole
        if outputs not in self._sessions:
            part = part_of(self._content, outputs)
            self._sessions[outputs] = self._whole if part is None else self._open(part)
        return self._sessions[outputs]


class OpenvinoSession:
    """A `GraphSession` by OpenVINO, on the processor.

    A graph whose number of images is open it computes operation by operation; one whose sizes are all fixed it
    compiles into few passes over memory (28 % less time for seven maps of EfficientNet-B0, see docs/benchmarks.md). So
    the graph is compiled for eight images and for one, each when it is first needed, and a batch is taken in such
    pieces.

    Its sums may be ordered otherwise in a piece of another size, and its 64-bit outputs come from 32-bit sums.
    """

    runtime: GraphRuntime = "openvino"
    leaves_out = True
    device = "cpu"

    def __init__(self, path: Path, content: bytes, precision: str, device: str) -> None:
        if device not in ("auto", "cpu"):
            raise UsageError(f"exported models run on the processor by OpenVINO: leave --device {device} out")
        self._openvino, self._core = _openvino()
        self.precision: GraphPrecision = "int8" if precision == "int8" else self._supported(precision)
        try:
            self._model = self._core.read_model(content)
        except Exception as error:  # RuntimeError, but for files that are none at all
            raise _damaged(path, _first_line(error)) from error
        self.inputs = {each.any_name: _form(each) for each in self._model.inputs}
        self.outputs = {each.any_name: _form(each) for each in self._model.outputs}
        self._compiled: dict[tuple[tuple[str, ...], int], Any] = {}

    def _supported(self, precision: str) -> Literal["f32", "bf16"]:
        has_units = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and not has_units:
            raise UsageError("this processor does not multiply bfloat16; leave --precision out, or take f32")
        takes = precision == "bf16" or (precision == "auto" and has_units and cpu_is_faster_in_bfloat16())
        return "bf16" if takes else "f32"

    def metadata(self, key: str) -> str | None:
        place = ["framework", key]  # where OpenVINO keeps an ONNX file's metadata
        return str(self._model.get_rt_info(place).value) if self._model.has_rt_info(place) else None

    def run(self, outputs: Sequence[str], inputs: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        wanted = tuple(outputs)
        count = len(next(iter(inputs.values())))
        pieces = [self._run(wanted, {name: each[piece] for name, each in inputs.items()}) for piece in _pieces(count)]
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    def _run(self, outputs: tuple[str, ...], inputs: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """As `run`, of a piece."""
        size = len(next(iter(inputs.values())))
        if (outputs, size) not in self._compiled:
            part = self._cut(outputs)
            part.reshape({each.any_name: [size, *list(each.partial_shape)[1:]] for each in part.inputs})
            self._compiled[outputs, size] = self._core.compile_model(part, "CPU", self._settings())
        found = self._compiled[outputs, size](inputs)
        return [np.array(found[name]) for name in outputs]

    def _cut(self, outputs: tuple[str, ...]) -> Any:
        """A copy of the part of the graph that these outputs need."""
        ends = [self._model.output(name).get_node() for name in outputs]
        return self._openvino.Model(ends, self._model.get_parameters(), "cut").clone()

    def _settings(self) -> dict[str, Any]:
        floats = "bf16" if self.precision == "bf16" else "f32"
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": floats, "PERFORMANCE_HINT": "LATENCY"}
        return settings | ({"INFERENCE_NUM_THREADS": threads} if (threads := _threads()) else {})


@functools.cache
def _openvino() -> tuple[Any, Any]:
    """OpenVINO and its core, loaded once in a process.

    Its library for processors gives the main thread a stack for signals, and on its end the one that was there before:
    of two that end in the order in which they began, the second leaves the first one's, whose memory is gone, and the
    next signal ends the process (seen with OpenVINO 2026.4).
    """
    try:
        import openvino
    except ImportError as error:
        raise UsageError("OpenVINO is not installed; install it with: pip install 'cxrlens[openvino]'") from error
    return openvino, openvino.Core()


def _pieces(count: int) -> list[slice]:
    """As many pieces of eight images as there are, and one for each image that is left."""
    whole = count - count % _PIECE
    return [
        *(slice(start, start + _PIECE) for start in range(0, whole, _PIECE)),
        *(slice(start, start + 1) for start in range(whole, count)),
    ]


def _provider(available: Sequence[str], device: str) -> tuple[str, tuple[str, dict[str, str]]]:
    """The device by its full name, and onnxruntime's provider for it, with options."""
    kind, _, number = device.partition(":")
    if kind == "auto":
        kind, number = "cuda" if _OF_KIND["cuda"] in available else "cpu", ""
    name = _OF_KIND.get(kind)
    if name is None or not (number or "0").isdecimal() or (kind == "cpu" and number):
        raise UsageError(f"unknown device '{device}' of exported models: use auto, cpu, cuda, cuda:1 ... or tensorrt")
    if name not in available:
        raise UsageError(
            f"this onnxruntime was not built for the device '{device}'; take --device cpu, or install onnxruntime-gpu "
            "in its place"
        )
    if kind == "cpu":
        return "cpu", _ON_CPU
    options = {"device_id": number or "0"} | ({"use_tf32": "0"} if kind == "cuda" else {})
    return f"{kind}:{number or 0}", (name, options)


def _device_for_int8(device: str) -> str:
    """The processor, and no other."""
    if device not in ("auto", "cpu"):
        raise UsageError(f"int8 is for the processor: leave --device {device} out, or take --precision f32")
    if not cpu_multiplies_int8():
        raise UsageError(
            "int8 needs a processor with dot products of 8-bit integers (VNNI, or those of ARM), which this one is not "
            "known to have; take --precision f32"
        )
    return "cpu"


def _described(tensors: Sequence[Any]) -> Tensors:
    """Of onnxruntime's."""
    names = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(bool)": "bool"}
    return {each.name: (names.get(each.type, each.type), list(each.shape)[1:]) for each in tensors}


def _form(tensor: Any) -> tuple[str, list[Any]]:
    """Of OpenVINO's."""
    sizes = [each.get_length() if each.is_static else str(each) for each in tensor.get_partial_shape()]
    return str(np.dtype(tensor.get_element_type().to_dtype())), sizes[1:]


def _damaged(path: Path, reason: str) -> UsageError:
    if path.suffix.lower() == ".safetensors":
        return UsageError(
            f"{path}: is a model file, which torch runs; onnxruntime and OpenVINO run what 'cxrlens export' makes of it"
        )
    return UsageError(f"{path}: is damaged or no ONNX model ({reason}); write one with 'cxrlens export --to onnx'")


def _first_line(error: Exception) -> str:
    """Of an error of OpenVINO, without the place in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith(("Exception from", "Check "))), "no reason given")


def _threads() -> int:
    """OMP_NUM_THREADS, which torch keeps to as well; else 0, one a core, unless this process may use some alone."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return 0 if allowed in (None, os.cpu_count()) else allowed
