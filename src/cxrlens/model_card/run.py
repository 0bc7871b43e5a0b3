"""The job behind ``cxrlens card``: what is known of a model, what is not, and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxrlens.evaluation.dev_scores import scored
from cxrlens.files import sha256_of
from cxrlens.model_card.text import CardFacts, TrainingData
from cxrlens.models.card import ModelCard
from cxrlens.models.location import model_path
from cxrlens.models.model_file import load_model
from cxrlens.study.outcome import randomisation_verdicts

OBJECT_CXR = "Object-CXR"
_OBJECT_CXR_COUNTS = {"train": {"normal": 4000, "affected": 4000}, "dev": {"normal": 500, "affected": 500}}
_OBJECT_CXR_LICENCE = "CC-BY-NC-4.0"
_LOST = 0.01  # share of images that may have been unreadable


def card_facts(model: Path, *, data_licence: str | None = None, study: Path | None = None) -> CardFacts:
    """Collect what a model file, and the study of it, say.

    Args:
        data_licence: of the training images, where the user knows it.
        study: folder of a finished study that this model took part in.

    Raises:
        UsageError: when the model or the study cannot be read, or the study is of other models.
    """
    _, card = load_model(model)
    path = model_path(model).resolve()
    sha256 = sha256_of(path)
    data = _training_data(card, data_licence)
    trained = sha256 if card.calibration is None else card.calibration.source_sha256
    verdicts = None if study is None else randomisation_verdicts(study, trained, card.architecture)
    counts = _counts(_mapping(card.training.get("images")).get("dev"))
    return CardFacts(path.name, sha256, card, data, scored(card.dev_scores, counts), verdicts, _limits(card, data))


def _training_data(card: ModelCard, given: str | None) -> TrainingData:
    data = _mapping(card.training.get("data"))
    images = {split: _counts(counts) for split, counts in _mapping(card.training.get("images")).items()}
    name = Path(str(data.get("folder", ""))).name
    known = _has_object_cxr_counts(images)
    if given is not None:
        licence, reason = given, "as stated when this card was made"
    elif known:
        licence, reason = _OBJECT_CXR_LICENCE, f"{OBJECT_CXR}, recognised by its numbers of images; non-commercial use"
    elif "objectcxr" in name.lower().replace("-", "").replace("_", ""):
        licence = None
        reason = (
            f"the folder is called {name}, but does not hold the numbers of images of {OBJECT_CXR}, whose own images "
            f"are under {_OBJECT_CXR_LICENCE}; ask whoever gave them"
        )
    else:
        licence, reason = None, "ask whoever gave the images"
    return TrainingData(name, str(data.get("digest", "")), images, licence, reason, known)


def _has_object_cxr_counts(images: Mapping[str, Mapping[str, int]]) -> bool:
    return all(
        (1 - _LOST) * count <= images.get(split, {}).get(name, 0) <= count
        for split, counts in _OBJECT_CXR_COUNTS.items()
        for name, count in counts.items()
    )


def _limits(card: ModelCard, data: TrainingData) -> list[str]:
    limits = [
        "For research. Not a medical device; it decides nothing about a patient. A retake is a suggestion to a person.",
        "It is meant for frontal chest radiographs of adults; lateral views, children and other parts of the body are "
        "outside of what was tested.",
        "It says that an image looks affected, not what the object is or whether it hides a finding. Maps show where "
        "the network's evidence lies, not the outline of an object.",
        "Another hospital's devices, processing or patients can change its scores; calibrate it on images of the site.",
    ]
    if data.is_object_cxr:
        limits.insert(
            1,
            f"In {OBJECT_CXR}, support devices (tubes, lines, pacemakers) are not annotated, nor are objects outside "
            "the lung field: images with these alone count as normal, and the model may call them either way.",
        )
    else:
        limits.insert(
            1,
            "Which objects its training images count as affected is not recorded. In the public set of this task, "
            f"{OBJECT_CXR}, support devices and objects outside the lung field are not annotated.",
        )
    if card.calibration is None:
        limits.append("Not calibrated: its probability is no frequency, and no threshold was chosen for a purpose.")
    return limits


def _counts(value: Any) -> dict[str, int]:
    """Numbers of images by class; what is no number is left out."""
    return {str(name): count for name, count in _mapping(value).items() if isinstance(count, int) and count >= 0}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
