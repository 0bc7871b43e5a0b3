"""The pictures of a block without the padding that the network sees around them.

Padding is no part of a picture: nothing is scored there. Pictures of other aspects leave other padding, so that the
images of a block are scored in groups whose pictures cover the same part of the network's input. Where the input is
stretched, all of a block are one group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from cxrlens.inputs.decoding import DecodedImage
from cxrlens.inputs.geometry import Geometry
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.quality_model import cut_to_picture
from cxrlens.study.records import Arrays


@dataclass(frozen=True)
class Pictures:
    """Images of a block whose geometries share their window.

    Attributes:
        places: of the images in the block, ascending.
        geometries: of each, between the stored picture and the input.
        everything: whether these are all images of the block.
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
        """Pictures [n, ..., h, w] in [0, 1] as the network sees them, in black: [n, ..., H, W]."""
        return self.geometries[0].pad(values)

    def maps(self, maps: Tensor, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Their part of maps [N, H, W], and which are flat, bool [N], as `cut_to_picture` gives it."""
        return cut_to_picture(self.of(maps), self.of(flat), self.geometries[0])


def pictures_of(images: Sequence[DecodedImage], preprocessing: Preprocessing) -> list[Pictures]:
    """The groups of a block's images."""
    geometries = [preprocessing.geometry(image.height, image.width) for image in images]
    groups: dict[tuple[int, int, int, int], list[int]] = {}
    for place, geometry in enumerate(geometries):
        groups.setdefault(geometry.window, []).append(place)
    return [Pictures(places, [geometries[place] for place in places], len(groups) == 1) for places in groups.values()]


def in_block_order(groups: Sequence[Pictures], arrays: Sequence[Arrays]) -> Arrays:
    """The arrays [N, ...] of a block from those [n, ...] of its groups."""
    if len(groups) == 1:
        return arrays[0]
    order = np.argsort(np.concatenate([group.places for group in groups]))
    return {name: np.concatenate([part[name] for part in arrays])[order] for name in arrays[0]}
