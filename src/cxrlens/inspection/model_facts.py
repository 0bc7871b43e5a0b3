"""The facts of a model that its results are kept with: its file, and how it decides."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cxrlens import __version__
from cxrlens.environment import timestamp
from cxrlens.files import sha256_of
from cxrlens.models.card import ModelCard
from cxrlens.models.named import known_as


@dataclass(frozen=True)
class ModelIdentity:
    """The model that made a result.

    Attributes:
        name: of its file; of its architecture where it was not loaded from one.
        file: None where it was not loaded from one.
    """

    name: str
    file: Path | None = None

    @classmethod
    def of_file(cls, file: Path) -> ModelIdentity:
        """The identity of a model in a file, which bears its name also where a link leads to it."""
        return cls(file.resolve().name, file)

    @cached_property
    def label(self) -> str:
        """The short name that people know it by, as titles have it; see `known_as`."""
        return known_as(self.file) if self.file else self.name

    @cached_property
    def sha256(self) -> str:
        """Of the file's content when this is first asked; "" without a file."""
        return sha256_of(self.file) if self.file else ""


@dataclass(frozen=True)
class ModelFacts:
    """A model with the thresholds and the map by which it made results, and when.

    Attributes:
        model: name of the model file; ``model_sha256`` of its content.
        threshold: probability from which on an image is affected (a suggested retake).
        review_threshold: probability from which on an image is reviewed; None for a model that is not calibrated.
        method: id of the maps, "" where none are made; likewise ``layers``.
        precision: in which the network multiplied; "int8" that of the probability, whose maps are in "f32".
        created: time of the results, ISO 8601, "" where it is not known.
    """

    model: str
    model_sha256: str
    threshold: float
    review_threshold: float | None
    method: str = ""
    layers: str = ""
    precision: str = "f32"
    cxrlens_version: str = ""
    created: str = ""

    @classmethod
    def now(
        cls, identity: ModelIdentity, card: ModelCard, *, method: str, layers: str, precision: str = "f32"
    ) -> ModelFacts:
        """The facts of results that this version of cxrlens makes at this moment."""
        return cls(
            model=identity.name,
            model_sha256=identity.sha256,
            threshold=card.threshold,
            review_threshold=card.calibration.review_threshold if card.calibration else None,
            method=method,
            layers=layers,
            precision=precision,
            cxrlens_version=__version__,
            created=timestamp(),
        )
