"""How far an image lies from the radiographs that a model was trained with, whatever runs the network.

It is measured on what the network is shown, by how the picture is laid out, by its fine structure, and by whether it
shows a whole chest that stands upright (`cxrlens.models.framing`). See docs/methods.md, and
docs/decisions/distance-from-training.md for why not on the network's layers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cxrlens.inputs.readers import Pixels, Refusal
from cxrlens.models.framing import TURNS, Floats, LimitedFraming, framing_features

Grey: TypeAlias = npt.NDArray[np.floating]

CELLS = 4
"""Rows, and columns, of the grid of `layout_features`."""

SCALES = 2
"""Of `texture_features`: differences of pixels, and of means of 2 x 2 pixels."""

ORDERS = (1, 2)
"""Of the differences: of neighbours, and of those differences."""

_LEAST_CONTRAST = 1e-2
_LEAST_DIFFERENCE = 1e-4


def image_features(shown: Pixels) -> dict[str, Floats]:
    """The features of an image [h, w] in [0, 1] by kind, see `FEATURES`; of a prepared one without its padding.

    It is looked at in 256 levels, in which decoded images are kept, so that it does not matter where it comes from.
    """
    levels = in_levels(shown)
    return {kind: function(levels) for kind, function in FEATURES.items()}


def in_levels(shown: Pixels) -> Pixels:
    """An image in [0, 1] in the 256 levels in which it is looked at."""
    return np.rint(shown * np.float32(255)) / np.float32(255)


def layout_features(grey: Grey) -> Floats:
    """Means of the `CELLS` x `CELLS` cells of an image [h, w], row by row, less their mean and by their deviation.

    So brightness and contrast do not count. A cell takes in each pixel of which a part lies in it, as those of torch's
    ``adaptive_avg_pool2d`` do.
    """
    places = itertools.product(_parts(grey.shape[0]), _parts(grey.shape[1]))
    means = np.array([float(grey[place].mean()) for place in places])
    return (means - means.mean()) / (means.std() + _LEAST_CONTRAST)


def _parts(size: int) -> list[slice]:
    return [slice(part * size // CELLS, -(-(part + 1) * size // CELLS)) for part in range(CELLS)]


def texture_features(grey: Grey) -> Floats:
    """Logarithms of the mean absolute differences of `ORDERS`, along rows and along columns, at each of `SCALES`."""
    found = []
    for _ in range(SCALES):
        for order, axis in itertools.product(ORDERS, (1, 0)):
            steps = np.abs(np.diff(grey, order, axis=axis))
            found.append(np.log((float(steps.mean()) if steps.size else 0.0) + _LEAST_DIFFERENCE))
        grey = _halved(_halved(grey).T).T
    return np.array(found)


def _halved(grey: Grey) -> Grey:
    """Means of each two rows; a last odd one is left out, and a single one stays."""
    pairs = len(grey) // 2
    return grey[: 2 * pairs].reshape(pairs, 2, -1).mean(1) if pairs else grey


NOT_KNOWN = (
    "not known, so that images of any kind are judged; train, or calibrate, on more images to have it in the model file"
)
"""Said of a model that cannot tell how far an image lies from its training images."""

FEATURES: Final[Mapping[str, Callable[[Grey], Floats]]] = {
    "layout": layout_features,
    "texture": texture_features,
    "framing": framing_features,
}

NO_FRAMING = "turned and cut pictures are not judged apart; train with this version to have that in the model file"
"""Said of a distance that an earlier version fitted."""


class _FrozenPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


_Numbers: TypeAlias = tuple[float, ...]


class Mahalanobis(_FrozenPart):
    """Mahalanobis' distance by the covariance (W' W)^-1, in units of the square root of the number of features.

    So what it was fitted to lies near 1, or below where the covariance was shrunk.

    Attributes:
        centre: c, one number a feature.
        whitening: the rows of W.
    """

    centre: _Numbers = Field(min_length=1)
    whitening: tuple[_Numbers, ...]

    @model_validator(mode="after")
    def _is_square(self) -> Mahalanobis:
        if {len(self.whitening), *map(len, self.whitening)} != {len(self.centre)}:
            raise ValueError(f"whitening should be {len(self.centre)} rows of as many numbers")
        return self

    def of(self, features: Floats) -> Floats:
        """Features x [..., d] -> ||W (x - c)|| / sqrt(d), [...]."""
        white = (features - np.array(self.centre)) @ np.array(self.whitening).T
        return np.asarray(np.sqrt(np.square(white).mean(-1)))


class LimitedDistance(Mahalanobis):
    """A distance with a limit, beyond which an image is refused."""

    limit: float = Field(gt=0)


class Radiographs(_FrozenPart):
    """Some readable images of a data set: the name of its folder, the split, and how many."""

    data: str
    split: str
    images: int = Field(gt=0)

    def __str__(self) -> str:
        return f"{self.images:,} radiographs of {self.data}, split {self.split}"


class HeldOut(Radiographs):
    """Radiographs that a distance was not fitted to.

    Attributes:
        beyond: those that lie beyond the limit: false alarms.
        low: lower end of the 95 % interval of the share that lies beyond it among radiographs like these; likewise
            ``high``.
    """

    beyond: int = Field(ge=0)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)

    def __str__(self) -> str:
        interval = f"95 % interval {100 * self.low:.2g} to {100 * self.high:.2g} %"
        return f"{self.beyond:,} of {super().__str__()} ({interval})"


@dataclass(frozen=True)
class ImageDistance:
    """Of one image, by each kind of features, in multiples of its limit.

    Attributes:
        framing: None by a model that an earlier version fitted.
        seems: a sentence on how it seems to be turned or cut, where that is the matter with it; else "".
    """

    layout: float
    texture: float
    framing: float | None = None
    seems: str = ""

    @property
    def value(self) -> float:
        """The largest one; the image is refused where it is above 1."""
        return max(self.layout, self.texture, self.framing or 0.0)


_LAID_OUT = (
    "It is laid out otherwise than the radiographs that the model was trained with, as other parts of the body, other "
    "kinds of image and turned, inverted or cut pictures are"
)
_SEEMS: Final = {
    "anticlockwise": "It seems to be turned by 90 degrees anticlockwise; turn it back and screen it again",
    "upside_down": "It seems to stand on its head; turn it by 180 degrees and screen it again",
    "clockwise": "It seems to be turned by 90 degrees clockwise; turn it back and screen it again",
    "part": "It seems to show a part of a chest alone, as a picture does that was cut",
}
_STRUCTURED = (
    "Its fine structure is not that of the radiographs that the model was trained with, as with noise, a blur or other "
    "kinds of image"
)


class TrainingDistance(_FrozenPart):
    """The distance of images from the training images, and what its limits rest on.

    Attributes:
        layout: by `layout_features`; ``texture`` by `texture_features`.
        framing: by `framing_features`, how sure it is that the picture is no whole chest that stands upright; None
            where an earlier version fitted the distance.
        fitted: the radiographs that it is a distance from.
        held_out: those that the limits were chosen on.
    """

    layout: LimitedDistance
    texture: LimitedDistance
    framing: LimitedFraming | None = None
    fitted: Radiographs
    held_out: HeldOut

    @model_validator(mode="after")
    def _has_the_features(self) -> TrainingDistance:
        for kind, count in (("layout", CELLS * CELLS), ("texture", 2 * len(ORDERS) * SCALES)):
            found = len(getattr(self, kind).centre)
            if found != count:
                raise ValueError(f"the {kind} should be one of {count} features, not {found}")
        return self

    def __str__(self) -> str:
        """What it rests on, as a part of a sentence."""
        said = f"from {self.fitted}; beyond its limit lie {self.held_out}"
        return said if self.framing is not None else f"{said}; {NO_FRAMING}"

    def of(self, shown: Pixels) -> ImageDistance:
        """That of an image [h, w], see `Preprocessing.shown`."""
        features = image_features(shown)
        found = self._by_kind(features)
        return ImageDistance(**found, seems=self._seems(shown, features, found))

    @property
    def parts(self) -> Mapping[str, LimitedDistance | LimitedFraming]:
        """Those of each kind of features that it has."""
        found = {kind: getattr(self, kind) for kind in FEATURES}
        return {kind: part for kind, part in found.items() if part is not None}

    def _by_kind(self, features: Mapping[str, Floats]) -> dict[str, float]:
        return {kind: float(part.of(features[kind]) / part.limit) for kind, part in self.parts.items()}

    def _seems(self, shown: Pixels, features: Mapping[str, Floats], found: Mapping[str, float]) -> str:
        """Only what holds is said: that an image is turned where it lies within the limits once it is turned back, and
        that it is cut where nothing else is wrong with its layout.
        """
        if self.framing is None or found["framing"] <= 1:
            return ""
        kind = self.framing.likeliest(features["framing"])
        if kind in TURNS:
            righted = self._by_kind(image_features(np.rot90(shown, -TURNS.index(kind))))
            return _SEEMS[kind] if max(righted.values()) <= 1 else ""
        return _SEEMS[kind] if found["layout"] <= 1 else ""

    def refusal(self, distance: ImageDistance) -> Refusal | None:
        """What is said of an image beyond the limit; None of another."""
        if distance.value <= 1:
            return None
        is_laid_out = distance.layout <= 1 and (distance.framing or 0.0) <= 1
        what = distance.seems or (_STRUCTURED if is_laid_out else _LAID_OUT)
        beyond = f"of {self.held_out.images:,} other radiographs {self.held_out.beyond:,} lie beyond it"
        return Refusal(f"{what} (distance {distance.value:.3g}, limit 1; {beyond}).")
