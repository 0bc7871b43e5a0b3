"""Further passes through the network, for methods that need more than the shared one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cxrlens.saliency.capture import INPUT, capture
from cxrlens.saliency.cells.grid import CellGrid
from cxrlens.saliency.resizing import MapResize, resized
from cxrlens.saliency.target import as_logits, target_scores


@dataclass(frozen=True)
class NetworkProbe:
    """A network and the images that are explained.

    Attributes:
        network: in evaluation mode.
        images: [N, C, H, W], as the network sees them.
        classes: int64 [N], the class that is explained of each image.
        layers: module names of the choice of layers.
        cells: the places of each layer's cells in the image, None where they are not known.
        resize: of maps at a layer's size.
        seed: of everything random.
    """

    network: nn.Module
    images: Tensor
    classes: Tensor
    layers: tuple[str, ...]
    cells: tuple[CellGrid | None, ...]
    resize: MapResize
    seed: int

    def gradients(self, images: Tensor) -> Tensor:
        """Derivative of the target logits with respect to changed images [k N, C, H, W], k copies of the batch."""
        _, captured = capture(self.network, images, [INPUT], self._classes(images))
        return captured[INPUT].gradient

    def probabilities(self, images: Tensor) -> Tensor:
        """Probability of the target class of changed images [k N, C, H, W], float32 [k N]."""
        with torch.no_grad():
            logits = as_logits(self.network(images))
        return target_scores(logits.float().softmax(1), self._classes(images))

    def at_input_size(self, maps: Tensor) -> Tensor:
        """Maps of the input's size [N, H, W] as they are, and those of the first layer's size [N, h, w] resized."""
        size = (self.images.shape[2], self.images.shape[3])
        cells = self.cells[0] if self.cells else None
        return maps if maps.shape[1:] == size else resized(maps, size, cells, self.resize)

    def generator(self) -> torch.Generator:
        """A new stream of random numbers, on the CPU so that every device sees the same ones."""
        return torch.Generator().manual_seed(self.seed)

    def _classes(self, images: Tensor) -> Tensor:
        return self.classes.repeat(images.shape[0] // self.images.shape[0])
