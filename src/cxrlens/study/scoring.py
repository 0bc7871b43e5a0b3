"""All localisation scores of a block of maps, made while the maps are in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxrlens.evaluation.froc import map_peaks
from cxrlens.evaluation.localisation import ObjectPixels, energy_inside, otsu_iou, pixel_average_precision
from cxrlens.evaluation.pointing_game import distance_to_objects, find_peaks
from cxrlens.inputs.annotations.ground_truth import object_mask
from cxrlens.inputs.decoding import Batch
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.study.pictures import Pictures
from cxrlens.study.records import Arrays

SCORING_VERSION = 2  # raised when a score is defined anew, so that older records are not used
MOST_POINTS = 20  # candidate points of a map for the FROC
_POINT_RADIUS = 0.025  # share of the longer side within which only the highest point counts


@dataclass(frozen=True)
class Truth:
    """Where the objects of pictures lie, at the network's scale and without padding.

    Attributes:
        pictures: which of a block's.
        masks: bool [N, H, W], on the maps' device.
        objects: the same as pixel lists.
        distances: per image float64 [H, W], pixels to the nearest object; infinite without one.
    """

    pictures: Pictures
    masks: Tensor
    objects: ObjectPixels
    distances: list[npt.NDArray[np.float64]]

    @classmethod
    def of(cls, pictures: Pictures, batch: Batch, preprocessing: Preprocessing, device: torch.device) -> Truth:
        masks = [
            object_mask(batch.items[place], batch.images[place].height, batch.images[place].width, preprocessing)
            for place in pictures.places
        ]
        on_device = torch.from_numpy(np.stack(masks)).to(device)
        return cls(pictures, on_device, ObjectPixels.of(on_device), [distance_to_objects(mask) for mask in masks])


def peak_scores(maps: Tensor, flat: Tensor, truth: Truth, seeds: Sequence[tuple[int, ...]]) -> Arrays:
    """Where the peaks of maps [N, H, W] lie.

    Returns:
        ``distance`` float64 [N]: pixels from the peak to the nearest object, infinite for a flat map, NaN without an
        object; a hit at a tolerance is a distance below it. ``tied`` int64 [N]: pixels that share the highest value.
    """
    peaks = find_peaks(maps, seeds=seeds)
    distances = np.array([d[p.row, p.column] for d, p in zip(truth.distances, peaks, strict=True)])
    has_object = np.array([count > 0 for count in truth.objects.counts])
    distances = np.where(flat.cpu().numpy(), np.inf, distances)
    return {
        "distance": np.where(has_object, distances, np.nan),
        "tied": np.array([peak.tied for peak in peaks], dtype=np.int64),
    }


def whole_map_scores(maps: Tensor, truth: Truth) -> Arrays:
    """How much of maps [N, H, W] in [0, 1] lies on the objects, each score float64 [N], NaN without an object."""
    return {
        "energy": energy_inside(maps, truth.objects).cpu().numpy(),
        "average_precision": pixel_average_precision(maps, truth.objects).cpu().numpy(),
        "iou": otsu_iou(maps, truth.objects).cpu().numpy(),
    }


def point_scores(maps: Tensor, truth: Truth) -> Arrays:
    """The candidate points of maps [N, H, W] for the FROC, without a lower limit: a limit would cut combined maps,
    whose values fall off faster, at another depth than those of one layer.

    Returns:
        ``points`` float32 [N, 20, 3]: x and y in pixels of the stored picture, and the map's value, highest first; NaN
        behind the last.
    """
    radius = max(1, round(_POINT_RADIUS * max(maps.shape[1:])))
    points = np.full((len(maps), MOST_POINTS, 3), np.nan, dtype=np.float32)
    found = map_peaks(maps, radius=radius, most=MOST_POINTS, floor=0.0)
    for row, peaks, padded in zip(points, found, truth.pictures.geometries, strict=True):
        geometry = padded.without_padding()
        for place, (peak_row, peak_column, value) in enumerate(peaks):
            row[place] = (*geometry.backward_point(float(peak_column), float(peak_row)), value)
    return {"points": points}
