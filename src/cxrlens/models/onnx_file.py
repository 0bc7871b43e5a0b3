"""The ONNX file of a model: one graph from a prepared image to probability and map, its card in the metadata.

It is read and run by onnxruntime or OpenVINO, see `cxrlens.models.onnx_sessions`; nothing here needs torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from scipy.special import expit

from cxrlens.errors import UsageError
from cxrlens.models.card import CARD_KEY, ModelCard, parse_card
from cxrlens.models.onnx_sessions import GraphPrecision, GraphRuntime, GraphSession, open_session
from cxrlens.validation import first_fault

INFO_KEY = "cxrlens.export"
"""Names the `OnnxInfo` in the metadata, beside the card."""

_METADATA = 1 << 20  # bytes at a file's end that hold it

INPUT = "grey"
NUMBERS = ("logits", "probability")
"""The outputs beside the maps."""

INT8_PREFIX = "int8_"
"""Of all names in the branch that multiplies 8-bit integers, in files that have one."""

INT8_LOGITS = f"{INT8_PREFIX}logits"
"""The output of that branch."""


class Int8Branch(BaseModel):
    """The making of a graph's branch of 8-bit integers.

    Attributes:
        data: name of the folder whose images it was calibrated with.
        images: their number.
        seed: of their choice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    images: int
    seed: int


class OnnxInfo(BaseModel):
    """The making of a graph.

    Attributes:
        format: version of inputs, outputs and metadata.
        methods: ids of the maps. The first one is in the outputs "map" and "flat", the others in `map_outputs`.
        layers: that they are made at: "combined", "last" or module names joined by "+".
        modules: the names of the modules that ``layers`` stands for.
        grid: of the maps' resize, see `cxrlens.saliency.recorded_resize.RecordedResize`; likewise
            ``interpolation``. Files of format 1 do not say: their maps are resized by pixel areas, bilinearly.
        source: name of the model file it was made from; ``source_sha256`` of its content.
        int8: of the branch that multiplies 8-bit integers; None without one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1, 2, 3] = 3
    methods: tuple[str, ...] = Field(min_length=1)
    layers: str
    modules: tuple[str, ...]
    grid: Literal["centres", "areas", "mixed"] = "areas"
    interpolation: Literal["bilinear", "bicubic", "bspline"] = "bilinear"
    source: str
    source_sha256: str
    cxrlens_version: str = ""
    created: str = ""
    int8: Int8Branch | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_former_names(cls, fields: Any) -> Any:
        """Until format 3 a graph had one map, of one layer."""
        if not isinstance(fields, dict) or fields.get("format", 3) not in (1, 2):
            return fields
        rest = {name: value for name, value in fields.items() if name not in ("method", "layer")}
        return {**rest, "methods": (fields.get("method"),), "modules": (fields.get("layer"),)}

    def to_metadata(self) -> str:
        """As JSON text; what a file lacks is not named, so that earlier versions of cxrlens read it."""
        return self.model_dump_json(exclude_none=True)

    @property
    def method(self) -> str:
        """The first of the methods."""
        return self.methods[0]

    def map_outputs(self, method: str) -> tuple[str, str]:
        """The names of the outputs that hold a method's maps and which of them are flat."""
        return ("map", "flat") if method == self.method else (f"map_{method}", f"flat_{method}")

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of all outputs in float, in their order."""
        return (*NUMBERS, *(name for method in self.methods for name in self.map_outputs(method)))


@dataclass(frozen=True, eq=False)
class OnnxOutput:
    """The output of the graph for N images.

    Attributes:
        probability: of affected, float64 [N], as `QualityModel.probability_of` gives it.
        maps: float32 [N, h, w] in [0, 1], padding included; None where none were asked for.
        flat: bool [N], which maps are constant; None likewise.
        logits: float32 [N, 2].
    """

    logits: npt.NDArray[np.float32]
    probability: npt.NDArray[np.float64]
    maps: npt.NDArray[np.float32] | None = None
    flat: npt.NDArray[np.bool_] | None = None


class OnnxModel:
    """An exported model, ready to run on the processor.

    Attributes:
        card: of the model.
        info: how the graph was made.
    """

    def __init__(self, session: GraphSession, card: ModelCard, info: OnnxInfo) -> None:
        self.card = card
        self.info = info
        self._session = session

    @property
    def runtime(self) -> GraphRuntime:
        """What runs the graph."""
        return self._session.runtime

    @property
    def precision(self) -> GraphPrecision:
        """In which it multiplies."""
        return self._session.precision

    @property
    def makes_maps_apart(self) -> bool:
        """True where probabilities alone cost less than those with maps."""
        return self._session.leaves_out

    @property
    def device(self) -> str:
        """Where it runs."""
        return self._session.device

    def run(self, grey: npt.NDArray[np.float32], *, maps: bool = True, method: str | None = None) -> OnnxOutput:
        """The output for grey images [N, 1, h, w] in [0, 1], see `Preprocessing.resized`.

        The probability is made of the logits here, in double precision whatever the runtime's. In "int8" they are those
        of the branch of 8-bit integers, and maps are those of "f32" to the last digit.

        Args:
            maps: False to compute none.
            method: one of `OnnxInfo.methods`; by default the first.
        """
        names = ("logits", *(self.info.map_outputs(method or self.info.method) if maps else ()))
        if self.precision != "int8":
            logits, *rest = self._session.run(names, {INPUT: grey})
        else:
            logits = self._int8_logits(grey)
            rest = self._session.run(names, {INPUT: grey})[1:] if maps else []
        return OnnxOutput(logits, self._probability(logits), *rest)

    def own_probability(self, grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """The probability of affected as the graph itself gives it, [N]; what `run` gives is as exact as the card."""
        (probability,) = self._session.run(("probability",), {INPUT: grey})
        return probability

    def check(self, file: Path) -> None:
        """Try it on black, grey and noise.

        Raises:
            UsageError: when the graph fails, gives outputs of another shape, no number for any image, or another
                probability than its logits and its card lead to.
        """
        side = (1, self.card.preprocessing.height, self.card.preprocessing.width)
        noise = np.random.default_rng(0).random(side, dtype=np.float32)
        grey = np.stack([np.zeros(side, np.float32), np.full(side, 0.5, np.float32), noise])
        try:
            # In one run: of what is asked for alone, a runtime may round another way in a lower precision.
            names = ("logits", "probability", *self.info.map_outputs(self.info.method))
            logits, probability, maps, flat = self._session.run(names, {INPUT: grey})
        except Exception as error:  # a runtime's errors have no base of their own
            raise UsageError(
                f"{file}: its graph fails ({str(error).splitlines()[0]}); export the model again"
            ) from error
        shapes = [each.shape for each in (logits, probability, maps, flat)]
        if shapes != [(len(grey), 2), (len(grey),), (len(grey), *side[1:]), (len(grey),)]:
            raise UsageError(f"{file}: its outputs have the shapes {shapes}; export the model again")
        sound = np.isfinite(logits).all(1)
        if not sound.any():
            raise UsageError(
                f"{file}: its graph gives no number for any image, so its weights are not usable; look at the model "
                "that it was made from with 'cxrlens doctor --model', and export it again"
            )
        if not np.allclose(probability[sound], self._probability(logits[sound]), rtol=1e-3, atol=1e-6):
            raise UsageError(
                f"{file}: its graph gives other probabilities than its model card leads to; export the model again"
            )
        if self.precision == "int8" and not np.isfinite(self._int8_logits(grey)).all():
            raise UsageError(f"{file}: its branch of 8-bit integers gives no number; export the model again")

    def _int8_logits(self, grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Of an image that holds no numbers they are none either: an integer cannot say so."""
        (logits,) = self._session.run((INT8_LOGITS,), {INPUT: grey})
        logits[~np.isfinite(grey).all(axis=(1, 2, 3))] = np.nan
        return logits

    def _probability(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Of affected, as `QualityModel.probability_of` makes it of finite logits [N, 2]."""
        log_odds = logits[:, 1].astype(np.float64) - logits[:, 0].astype(np.float64)
        if self.card.calibration is not None:
            log_odds = self.card.calibration.log_odds(log_odds)
        return np.asarray(expit(log_odds))


def is_export(path: Path) -> bool:
    """True for a file that ``cxrlens export`` wrote, as its end tells."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(path.stat().st_size - _METADATA, 0))
            return INFO_KEY.encode() in stream.read()
    except OSError:
        return False


def read_onnx(path: Path, *, runtime: GraphRuntime = "onnx", precision: str = "f32", device: str = "auto") -> OnnxModel:
    """Read a model that ``cxrlens export`` wrote.

    Args:
        runtime: what is to run it.
        precision: see `open_session`; likewise ``device``.

    Raises:
        UsageError: when the file is missing, damaged, of another program or a later version, the runtime is not
            installed, or it lacks precision or device.
    """
    session = open_session(path, runtime, precision, device)
    metadata = {key: text for key in (CARD_KEY, INFO_KEY) if (text := session.metadata(key)) is not None}
    if CARD_KEY not in metadata or INFO_KEY not in metadata:
        raise UsageError(f"{path}: is an ONNX model without a cxrlens model card; make one with 'cxrlens export'")
    card = parse_card(metadata[CARD_KEY], str(path))
    try:
        info = OnnxInfo.model_validate_json(metadata[INFO_KEY])
    except ValidationError as error:
        raise UsageError(
            f"{path}: what it says of its export cannot be read ({first_fault(error)}); update cxrlens?"
        ) from error
    _check_form(session, card, info, path)
    if session.precision == "int8" and info.int8 is None:
        raise UsageError(
            f"{path}: has no branch of 8-bit integers; export the model with --int8 DATA, or take --precision f32"
        )
    model = OnnxModel(session, card, info)
    model.check(path)
    return model


def _check_form(session: GraphSession, card: ModelCard, info: OnnxInfo, path: Path) -> None:
    size = [card.preprocessing.height, card.preprocessing.width]
    expected = {
        "logits": ("float32", [2]),
        "probability": ("float64", []),
    }
    if info.int8 is not None:
        expected[INT8_LOGITS] = ("float32", [2])
    for map_, flat in map(info.map_outputs, info.methods):
        expected |= {map_: ("float32", size), flat: ("bool", [])}
    if session.inputs != {INPUT: ("float32", [1, *size])} or session.outputs != expected:
        raise UsageError(
            f"{path}: its inputs and outputs are not those of an exported model of {card.preprocessing.size}; "
            "export the model again"
        )
