"""The images of a block without the padding that the network sees around them, and where their objects lie.

Padding is no part of an image: nothing is scored there. Images of other aspects leave other padding, so that the images
of a block are scored in groups that cover the same part of the network's input. Where the input is stretched, all of a
block are one group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxrlens.evaluation.localisation import ObjectPixels
from cxrlens.evaluation.pointing_game import distance_to_objects
from cxrlens.inputs.annotations.ground_truth import object_mask
from cxrlens.inputs.decoding import Batch, DecodedImage
from cxrlens.inputs.geometry import Geometry
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.saliency.fusion import scale
from cxrlens.study.records import Arrays


@dataclass(frozen=True)
class ImageGroup:
    """Images of a block whose geometries share their window.

    Attributes:
        places: of the images in the block, ascending.
        geometries: of each, between the stored image and the input.
        everything: these are all images of the block.
    """

    places: list[int]
    geometries: list[Geometry]
    everything: bool

    def of(self, values: Tensor) -> Tensor:
        """Those of a block's values [N, ...] that are theirs."""
        return values if self.everything else values[self.places]

    def cut(self, values: Tensor) -> Tensor:
        """Their part of values [N, ..., H, W] of the input, without padding: [n, ..., h, w]."""
        return self.geometries[0].cut(self.of(values))

    def pad(self, values: Tensor) -> Tensor:
        """Images [n, ..., h, w] in [0, 1] as the network sees them, in black: [n, ..., H, W]."""
        return self.geometries[0].pad(values)

    def maps(self, maps: Tensor, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Their part of maps [N, H, W], and which are flat, bool [N], as `cut_to_image` gives it."""
        return cut_to_image(self.of(maps), self.of(flat), self.geometries[0])


def cut_to_image(maps: Tensor, flat: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Maps [N, H, W] of the network's whole input, and which are flat [N], for the image alone: [N, h, w] and [N].

    Where there is padding, a map's values there are dropped, and each map is scaled to [0, 1] again by its range on the
    image; one that is constant on the image is flat. The images of the maps share the geometry's window.
    """
    if not geometry.is_padded:
        return maps, flat
    scaled, constant = scale(geometry.cut(maps))
    return scaled, flat | constant


def groups_of(images: Sequence[DecodedImage], preprocessing: Preprocessing) -> list[ImageGroup]:
    """The groups of a block's images."""
    geometries = [preprocessing.geometry(image.height, image.width) for image in images]
    groups: dict[tuple[int, int, int, int], list[int]] = {}
    for place, geometry in enumerate(geometries):
        groups.setdefault(geometry.window, []).append(place)
    return [ImageGroup(places, [geometries[place] for place in places], len(groups) == 1) for places in groups.values()]


def in_block_order(groups: Sequence[ImageGroup], arrays: Sequence[Arrays]) -> Arrays:
    """The arrays [N, ...] of a block from those [n, ...] of its groups."""
    if len(groups) == 1:
        return arrays[0]
    order = np.argsort(np.concatenate([group.places for group in groups]))
    return {name: np.concatenate([part[name] for part in arrays])[order] for name in arrays[0]}


@dataclass(frozen=True)
class Truth:
    """The places of a group's objects, at the network's scale and without padding.

    Attributes:
        group: the images.
        masks: bool [N, H, W], on the maps' device.
        objects: the same as pixel lists.
        distances: per image float64 [H, W], pixels to the nearest object; infinite without one.
    """

    group: ImageGroup
    masks: Tensor
    objects: ObjectPixels
    distances: list[npt.NDArray[np.float64]]

    @classmethod
    def of(cls, group: ImageGroup, batch: Batch, preprocessing: Preprocessing, device: torch.device) -> Truth:
        masks = [
            object_mask(batch.items[place], batch.images[place].height, batch.images[place].width, preprocessing)
            for place in group.places
        ]
        on_device = torch.from_numpy(np.stack(masks)).to(device)
        return cls(group, on_device, ObjectPixels.of(on_device), [distance_to_objects(mask) for mask in masks])
