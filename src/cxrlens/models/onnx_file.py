"""The ONNX file of a model: one graph from a prepared image to probability and map, its card in the metadata.

It is read and run by onnxruntime; nothing here needs torch.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError
from scipy.special import expit

from cxrlens.errors import UsageError
from cxrlens.models.card import CARD_KEY, ModelCard, parse_card

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

INFO_KEY = "cxrlens.export"
"""Names the `OnnxInfo` in the metadata, beside the card."""

_METADATA = 1 << 20  # bytes at a file's end that hold it

INPUT = "grey"
OUTPUTS = ("logits", "probability", "map", "flat")
LAYERS: Literal["last"] = "last"
"""The choice of layers at which a map needs no backward pass."""


class OnnxInfo(BaseModel):
    """The making of a graph.

    Attributes:
        format: version of inputs, outputs and metadata.
        method: id of the map; likewise ``layers``.
        layer: module name of the layer.
        source: name of the model file it was made from; ``source_sha256`` of its content.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    method: str
    layers: Literal["last"] = LAYERS
    layer: str
    source: str
    source_sha256: str
    cxrlens_version: str = ""
    created: str = ""


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

    def __init__(self, session: InferenceSession, card: ModelCard, info: OnnxInfo) -> None:
        self.card = card
        self.info = info
        self._session = session

    def run(self, grey: npt.NDArray[np.float32], *, maps: bool = True) -> OnnxOutput:
        """The output for grey images [N, 1, h, w] in [0, 1], see `Preprocessing.resized`."""
        from onnxruntime import RunOptions

        options = RunOptions()
        options.only_execute_path_to_fetches = True
        found: Sequence[Any] = self._session.run(list(OUTPUTS if maps else OUTPUTS[:2]), {INPUT: grey}, options)
        return OnnxOutput(*found)

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
            found = self.run(grey)
        except Exception as error:  # onnxruntime's errors have no base of their own
            raise UsageError(
                f"{file}: its graph fails ({str(error).splitlines()[0]}); export the model again"
            ) from error
        assert found.maps is not None
        assert found.flat is not None
        shapes = [each.shape for each in (found.logits, found.probability, found.maps, found.flat)]
        if shapes != [(len(grey), 2), (len(grey),), (len(grey), *side[1:]), (len(grey),)]:
            raise UsageError(f"{file}: its outputs have the shapes {shapes}; export the model again")
        sound = np.isfinite(found.logits).all(1)
        if not sound.any():
            raise UsageError(
                f"{file}: its graph gives no number for any image, so its weights are not usable; look at the model "
                "that it was made from with 'cxrlens doctor --model', and export it again"
            )
        if not np.allclose(found.probability[sound], self._probability(found.logits[sound]), rtol=1e-3, atol=1e-6):
            raise UsageError(
                f"{file}: its graph gives other probabilities than its model card leads to; export the model again"
            )

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


def read_onnx(path: Path) -> OnnxModel:
    """Read a model that ``cxrlens export`` wrote.

    Raises:
        UsageError: when the file is missing, damaged, of another program or a later version, or onnxruntime is not
            installed.
    """
    onnxruntime = _onnxruntime()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({error.strerror or error}); 'cxrlens export' writes an ONNX model"
        ) from error
    onnxruntime.disable_telemetry_events()  # of its builds for Windows
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = _threads()
    options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no base of their own
        reason = str(error).splitlines()[0].rpartition(" : ")[2]
        raise UsageError(
            f"{path}: is damaged or no ONNX model ({reason}); write one with 'cxrlens export --to onnx'"
        ) from error
    metadata = session.get_modelmeta().custom_metadata_map
    if CARD_KEY not in metadata or INFO_KEY not in metadata:
        raise UsageError(f"{path}: is an ONNX model without a cxrlens model card; make one with 'cxrlens export'")
    card = parse_card(metadata[CARD_KEY], str(path))
    try:
        info = OnnxInfo.model_validate_json(metadata[INFO_KEY])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"{path}: what it says of its export cannot be read ({where}: {first['msg']}); update cxrlens?"
        ) from error
    _check_form(session, card, path)
    model = OnnxModel(session, card, info)
    model.check(path)
    return model


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError("ONNX models need onnxruntime; install it with: pip install 'cxrlens[onnx]'") from error
    return onnxruntime


def _threads() -> int:
    """OMP_NUM_THREADS, which torch keeps to as well; else 0, one a core, unless this process may use some alone."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return 0 if allowed in (None, os.cpu_count()) else allowed


def _check_form(session: InferenceSession, card: ModelCard, path: Path) -> None:
    size = [card.preprocessing.height, card.preprocessing.width]
    inputs = {each.name: (each.type, list(each.shape)[1:]) for each in session.get_inputs()}
    outputs = {each.name: (each.type, list(each.shape)[1:]) for each in session.get_outputs()}
    expected = {
        "logits": ("tensor(float)", [2]),
        "probability": ("tensor(double)", []),
        "map": ("tensor(float)", size),
        "flat": ("tensor(bool)", []),
    }
    if inputs != {INPUT: ("tensor(float)", [1, *size])} or outputs != expected:
        raise UsageError(
            f"{path}: its inputs and outputs are not those of an exported model of {card.preprocessing.size}; "
            "export the model again"
        )
