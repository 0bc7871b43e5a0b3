"""The Pointing Game: does the highest point of a map lie on an annotated object? (Zhang et al., IJCV 2018)

Definition used here (docs/methods.md): the peak is the arg-max of the map at input resolution; a hit is a peak
with a ground-truth pixel at a Euclidean distance strictly below the tolerance; all objects of an image are one
union, so an image gives at most one hit; images without an object do not count. A flat map has no peak and
points nowhere: it is a miss, with all of its pixels tied, never a hit by chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from cxrlens.errors import ArgumentError
from cxrlens.inputs.annotations.shapes import BoolMask, Shape, parse_annotation, rasterize

if TYPE_CHECKING:
    from torch import Tensor

Outcome: TypeAlias = Literal["hit", "miss", "not applicable"]
Annotations: TypeAlias = (
    "Sequence[Sequence[Shape] | str | npt.NDArray[np.bool_] | Tensor] | npt.NDArray[np.bool_] | Tensor"
)
FloatMap: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Peak:
    """The arg-max of a map: its pixel, and how many pixels share the highest value (all of a flat map's)."""

    row: int
    column: int
    tied: int


@dataclass(frozen=True)
class PointingRecord:
    """The outcome of one image.

    Attributes:
        peak: the chosen pixel of the map.
        distance: pixels from the peak to the nearest ground-truth pixel; infinite without an object.
        outcome: "hit", "miss" (also of a flat map), or "not applicable" for an image without an object.
    """

    peak: Peak
    distance: float
    outcome: Outcome


@dataclass(frozen=True)
class PointingResult:
    """Records in the order of the images, and the score over those that have an object."""

    records: tuple[PointingRecord, ...]
    tolerance: float

    @property
    def hits(self) -> int:
        return sum(record.outcome == "hit" for record in self.records)

    @property
    def misses(self) -> int:
        return sum(record.outcome == "miss" for record in self.records)

    @property
    def n(self) -> int:
        """Number of images with an object."""
        return self.hits + self.misses

    @property
    def accuracy(self) -> float:
        """hits / (hits + misses); NaN when no image has an object."""
        return self.hits / self.n if self.n else math.nan

    @property
    def tied(self) -> int:
        """Number of scored images whose highest value is shared by several pixels."""
        return sum(record.peak.tied > 1 for record in self.records if record.outcome != "not applicable")


def pointing_game(
    maps: Tensor | npt.NDArray[np.floating] | Sequence[npt.NDArray[np.floating]],
    annotations: Annotations,
    *,
    tolerance: float,
    seed: int = 0,
) -> PointingResult:
    """Play the Pointing Game on a batch of maps.

    Args:
        maps: [N, H, W]; a map that is constant is a miss wherever its objects are.
        annotations: per image its shapes in pixels of the map, as `Shape` objects or in the CSV's notation
            ("0 10 20 30 40"); or boolean masks [N, H, W].
        tolerance: in pixels of the map; a hit needs a distance strictly below it.
        seed: decides between pixels that share the highest value.

    Raises:
        ArgumentError: when maps and annotations do not fit each other, a map is not finite, or the tolerance is not
            positive.
    """
    if not tolerance > 0:
        raise ArgumentError(f"the tolerance must be positive, not {tolerance}")
    arrays = _array(maps)
    if arrays.ndim != 3:
        raise ArgumentError(f"maps have the shape [N, H, W], not {list(arrays.shape)}")
    masks = as_masks(annotations, height=arrays.shape[1], width=arrays.shape[2])
    if len(masks) != len(arrays):
        raise ArgumentError(f"{len(arrays)} maps but annotations of {len(masks)} images")
    return PointingResult(
        tuple(
            judge(find_peak(map_, seed=(seed, index)), distance_to_objects(mask), tolerance)
            for index, (map_, mask) in enumerate(zip(arrays, masks, strict=True))
        ),
        tolerance,
    )


def as_masks(annotations: Annotations, *, height: int, width: int) -> list[BoolMask]:
    """The ground truth of each image as a boolean mask [height, width], from masks, shapes or annotation texts.

    Raises:
        ArgumentError: when a mask has another size.
    """
    masks = []
    for given in annotations:
        if isinstance(given, np.ndarray) or hasattr(given, "detach"):
            mask = _array(given).astype(bool)
        else:
            shapes = parse_annotation(given) if isinstance(given, str) else given
            mask = rasterize(shapes, height=height, width=width)
        if mask.shape != (height, width):
            raise ArgumentError(f"masks of {height} x {width} maps have that shape too, not {list(mask.shape)}")
        masks.append(mask)
    return masks


def find_peak(map_: npt.NDArray[np.floating], *, seed: int | tuple[int, ...]) -> Peak:
    """The arg-max of a map [H, W]; among pixels that tie, a seeded choice.

    Raises:
        ArgumentError: when the map is not finite.
    """
    highest, lowest = map_.max(), map_.min()
    if not (np.isfinite(highest) and np.isfinite(lowest)):
        raise ArgumentError("a map holds values that are not finite")
    tops = np.flatnonzero(map_ == highest)
    row, column = divmod(int(tops[_pick(len(tops), seed)]), map_.shape[1])
    return Peak(row, column, len(tops))


def find_peaks(maps: Tensor, *, seeds: Sequence[int | tuple[int, ...]]) -> list[Peak]:
    """`find_peak` of each of the maps [N, H, W]; those of an accelerator are searched there, ties one by one.

    Args:
        seeds: one for each map.

    Raises:
        ArgumentError: when a map is not finite, or maps and seeds differ in number.
    """
    if len(maps) != len(seeds):
        raise ArgumentError(f"{len(maps)} maps but {len(seeds)} seeds")
    if maps.device.type == "cpu":
        return [find_peak(map_, seed=seed) for map_, seed in zip(maps.detach().numpy(), seeds, strict=True)]
    return _peaks_together(maps, seeds)


def _peaks_together(maps: Tensor, seeds: Sequence[int | tuple[int, ...]]) -> list[Peak]:
    import torch

    flat = maps.flatten(1)
    highest, places = flat.max(1)
    is_top = flat == highest[:, None]
    finite = torch.isfinite(highest) & torch.isfinite(flat.amin(1))
    found = torch.stack([places, is_top.count_nonzero(1), finite]).T.tolist()
    peaks = []
    for tops, seed, (place, tied, is_finite) in zip(is_top, seeds, found, strict=True):
        if not is_finite:
            raise ArgumentError("a map holds values that are not finite")
        if tied > 1:
            place = int(tops.nonzero()[_pick(tied, seed), 0])
        row, column = divmod(place, maps.shape[2])
        peaks.append(Peak(row, column, tied))
    return peaks


def distance_to_objects(mask: BoolMask) -> npt.NDArray[np.float64]:
    """For every pixel of [H, W] the Euclidean distance to the nearest pixel of the mask; infinite if it is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf)
    return np.asarray(distance_transform_edt(~mask), dtype=np.float64)


def judge(peak: Peak, distances: npt.NDArray[np.float64], tolerance: float) -> PointingRecord:
    """The record of one image: its peak looked up in `distance_to_objects` of its ground truth.

    The peak of a flat map, which all pixels share, is a miss.
    """
    distance = float(distances[peak.row, peak.column])
    if math.isinf(distance):
        return PointingRecord(peak, distance, "not applicable")
    flat = peak.tied == distances.size
    return PointingRecord(peak, distance, "hit" if distance < tolerance and not flat else "miss")


def _array(values: Any) -> npt.NDArray[Any]:
    """An array of what may be a tensor on any device."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def _pick(tied: int, seed: int | tuple[int, ...]) -> int:
    """The index, in reading order, of the pixel that is taken for the peak among so many of the highest value."""
    return 0 if tied == 1 else int(np.random.default_rng(seed).integers(tied))
