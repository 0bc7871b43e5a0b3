"""Check of a model file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from cxrlens.devices import resolve_device
from cxrlens.doctor.finding import DoctorFinding
from cxrlens.errors import UsageError
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import read_model
from cxrlens.models.onnx_file import Int8Branch, read_onnx
from cxrlens.models.weights_file import not_finite

_SECTION = "model"
_CALIBRATE = "train, or run 'cxrlens calibrate', with this version and 60 images or more"
_BROKEN = "take another copy of the file, or train anew with a smaller --lr"


def model(path: Path, device: str) -> Iterator[DoctorFinding]:
    """Findings on loading it, on its weights being numbers, and on the probability of a blank image."""
    if path.suffix.lower() == ".onnx":
        yield from _exported(path)
        return
    try:
        network, card = read_model(path)
    except UsageError as error:  # its sentence names the remedy
        yield DoctorFinding(_SECTION, "file", "problem", str(error))
        return
    count = sum(parameter.numel() for parameter in network.parameters())
    origin = f", saved {card.created} by cxrlens {card.cxrlens_version}" if card.created else ""
    yield DoctorFinding(_SECTION, "file", "ok", f"{path}{origin}")
    yield DoctorFinding(_SECTION, "architecture", "ok", f"{card.architecture}, {count / 1e6:.1f} million weights")
    yield from _of_card(card)
    state = network.state_dict()
    broken = not_finite(state)
    if broken:
        detail = f"{len(broken)} of {len(state)} tensors hold values that are no numbers, first: {broken[0]}"
        yield DoctorFinding(_SECTION, "weights", "problem", detail, _BROKEN)
        return
    yield DoctorFinding(_SECTION, "weights", "ok", "are finite")
    blank = torch.zeros(1, 1, card.preprocessing.height, card.preprocessing.width)
    try:
        probability = float(QualityModel(network, card, resolve_device(device)).probabilities(blank)[0])
    except (UsageError, RuntimeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        yield DoctorFinding(_SECTION, "forward pass", "problem", reason, "try --device cpu")
        return
    yield _of_blank(probability)


def _exported(path: Path) -> Iterator[DoctorFinding]:
    """On an exported model, which is tried when it is read."""
    try:
        exported = read_onnx(path)
    except UsageError as error:
        yield DoctorFinding(_SECTION, "file", "problem", str(error))
        return
    info, card = exported.info, exported.card
    detail = f"{path}, exported {info.created} by cxrlens {info.cxrlens_version} from {info.source}"
    yield DoctorFinding(_SECTION, "file", "ok", detail)
    yield DoctorFinding(_SECTION, "architecture", "ok", card.architecture)
    yield from _of_card(card)
    yield DoctorFinding(_SECTION, "maps", "ok", f"{', '.join(info.methods)}, {info.layers}")
    yield _of_precisions(path, info.int8)
    blank = np.zeros((1, 1, card.preprocessing.height, card.preprocessing.width), np.float32)
    found = exported.run(blank, maps=False)
    yield _of_blank(float(found.probability[0]) if np.isfinite(found.logits).all() else math.nan)


def _of_precisions(path: Path, int8: Int8Branch | None) -> DoctorFinding:
    """On the branch of 8-bit integers, which is tried where there is one."""
    if int8 is None:
        return DoctorFinding(_SECTION, "precision", "ok", "float")
    detail = f"float and int8 (calibrated with {int8.images} images of {int8.data})"
    try:
        read_onnx(path, precision="int8")
    except UsageError as error:
        return DoctorFinding(_SECTION, "precision", "note", f"{detail}: {error}")
    return DoctorFinding(_SECTION, "precision", "ok", detail)


def _of_card(card: ModelCard) -> Iterator[DoctorFinding]:
    yield DoctorFinding(_SECTION, "preprocessing", "ok", card.preprocessing.size)
    yield DoctorFinding(_SECTION, "threshold", "ok", f"{card.threshold:g}")
    if card.distance is None:
        yield DoctorFinding(
            _SECTION, "distance from training", "note", "is not known: images of any kind are judged", _CALIBRATE
        )
    else:
        yield DoctorFinding(_SECTION, "distance from training", "ok", str(card.distance))
        if card.distance.framing is None:
            yield DoctorFinding(
                _SECTION, "turned and cut pictures", "note", "are not judged apart", "train with this version"
            )


def _of_blank(probability: float) -> DoctorFinding:
    if math.isnan(probability):
        return DoctorFinding(_SECTION, "forward pass", "problem", "a blank image gives no number", _BROKEN)
    detail = f"a blank image is affected with a probability of {probability:.3f}"
    return DoctorFinding(_SECTION, "forward pass", "ok", detail)
