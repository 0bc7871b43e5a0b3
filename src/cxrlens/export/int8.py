"""The branch of an exported graph that multiplies 8-bit integers: post-training quantisation by onnxruntime.

Weights of a convolution are symmetric integers in [-127, 127] with a scale for each output channel; activations are in
[0, 255], with a scale and a zero point for each tensor.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx.checker
import onnx.compose
import onnx.helper
import onnx.utils
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from cxrlens.errors import CxrlensError
from cxrlens.export.int8_quality import MOST_AUC_LOST, MOST_CHANGED, MOST_LOG_ODDS, Int8Quality
from cxrlens.export.training_images import SEED, TrainingImages
from cxrlens.models.onnx_file import INFO_KEY, INPUT, INT8_PREFIX, Int8Branch, OnnxInfo, read_onnx

_LOGITS = "logits"

_OPERATIONS = ("Conv", "Relu", "Add", "MaxPool")
"""What integers are handed on through, beside what multiplies them; where float32 comes between, they are made anew."""

_FLOOR = -8.0
"""The least that integers tell apart in front of a SiLU, which makes -0.003 of it and less of all below."""

_FIRST = (0, 5)
"""How many of the first convolutions multiply in float32, one attempt after the other until decisions hold."""


def add_int8(file: Path, images: TrainingImages) -> tuple[OnnxInfo, Int8Quality]:
    """Add the branch to a file that `export_onnx` wrote, in place.

    Returns:
        How the file was made, and what 8-bit integers change.

    Raises:
        UsageError: when images cannot be read, or this processor does not multiply 8-bit integers as it should.
        CxrlensError: when they do not decide as float32 does; the file is of no use then.
    """
    exported = read_onnx(file)
    grey = [batch.grey.numpy() for batch in images.batches(images.calibrating, exported.card.preprocessing)]
    whole = onnx.load(file)
    quality = None
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        part = onnx.utils.Extractor(whole).extract_model([INPUT], [_LOGITS])
        quant_pre_process(part, plain, skip_optimization=True, skip_symbolic_shape=True)
        every, large = _convolutions(plain)
        for first in _FIRST:
            kept = [name for name in every if name not in large[first:]]
            branch = quantised(plain, grey, kept)
            made = Int8Branch(
                data=images.data.resolve().name,
                images=sum(map(len, grey)),
                seed=SEED,
                float_convolutions=len(kept),
                convolutions=len(every),
            )
            info = exported.info.model_copy(update={"int8": made})
            file.write_bytes(_joined(whole, branch, info))
            quality = Int8Quality.of(file, images)
            if quality.holds:
                return info, quality
    raise CxrlensError(
        f"{exported.info.source}: does not decide in 8-bit integers as in float32 (on training images, {quality}; at "
        f"most {MOST_CHANGED:.0%} may change, {MOST_LOG_ODDS:g} in the median, and {MOST_AUC_LOST:g} of AUC be lost); "
        "nothing was written; leave --int8 out"
    )


def quantised(plain: Path, batches: Iterable[npt.NDArray[np.float32]], kept: Collection[str] = ()) -> onnx.ModelProto:
    """A graph from `INPUT` to logits whose convolutions multiply 8-bit integers.

    The range of an activation is that which it takes for all images, but for `_FLOOR`.

    Args:
        plain: the file of the same graph in float32, with shapes.
        batches: grey images [N, 1, h, w] to take ranges from.
        kept: names of the convolutions that stay as they are.
    """
    made = plain.with_name("int8.onnx")
    quantization.quantize_static(
        plain,
        made,
        _Images(batches),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        op_types_to_quantize=list(_OPERATIONS),
        nodes_to_exclude=list(kept),
        extra_options={"TensorQuantOverrides": _floors(plain, kept)},
    )
    return onnx.load(made)


class _Images(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Hands batches to the calibration, one a call."""

    def __init__(self, batches: Iterable[npt.NDArray[np.float32]]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        grey = next(self._batches, None)
        return None if grey is None else {INPUT: grey}


def _convolutions(plain: Path) -> tuple[list[str], list[str]]:
    """The names of all convolutions in their order, and of those that see more than one pixel.

    The others, of squeeze-excitation, cost nothing, and what they make multiplies all pixels of a channel.
    """
    graph = onnx.load(plain).graph
    sides = {each.name: [side.dim_value for side in each.type.tensor_type.shape.dim][2:] for each in graph.value_info}
    every = [node for node in graph.node if node.op_type == "Conv"]
    return [node.name for node in every], [node.name for node in every if sides.get(node.input[0]) != [1, 1]]


def _floors(plain: Path, kept: Collection[str]) -> dict[str, list[dict[str, np.float32]]]:
    """`_FLOOR`, for what convolutions hand to SiLUs."""
    nodes = onnx.load(plain).graph.node
    into_silu = {node.input[0] for node in nodes if node.op_type == "Sigmoid"}
    made = {node.output[0] for node in nodes if node.op_type == "Conv" and node.name not in kept}
    return {name: [{"rmin": np.float32(_FLOOR)}] for name in sorted(into_silu & made)}


def _joined(whole: onnx.ModelProto, branch: onnx.ModelProto, info: OnnxInfo) -> bytes:
    """The content of a file that holds both."""
    model = onnx.ModelProto()
    model.CopyFrom(whole)
    named = onnx.compose.add_prefix(branch, INT8_PREFIX).graph
    for node in named.node:
        node.input[:] = [INPUT if name == INT8_PREFIX + INPUT else name for name in node.input]
    model.graph.node.extend(named.node)
    model.graph.initializer.extend(named.initializer)
    model.graph.output.extend(named.output)
    metadata = {prop.key: prop.value for prop in whole.metadata_props}
    onnx.helper.set_model_props(model, {**metadata, INFO_KEY: info.to_metadata()})
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
