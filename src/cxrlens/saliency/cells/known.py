"""The places of the cells of a network's layers, found once for each layer and size of images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from cxrlens.saliency.capture import find_layer
from cxrlens.saliency.cells.grid import CellGrid
from cxrlens.saliency.cells.measuring import measured_grid
from cxrlens.saliency.cells.tracing import traced_grids
from cxrlens.saliency.layout import known_layout

_LOG = logging.getLogger(__name__)

# Of a network, not of a layer: two networks may share one, and lead to it by other ways.
_known: WeakKeyDictionary[nn.Module, dict[tuple[str, int, int], CellGrid | None]] = WeakKeyDictionary()


def cell_grids(network: nn.Module, images: Tensor, layers: Sequence[str]) -> dict[str, CellGrid | None]:
    """The grid of each layer's cells for images of this size; None where it can be neither read nor measured.

    Args:
        network: in evaluation mode.
        images: [N, C, H, W], preprocessed, on the network's device. The first of them is run through the network once
            for each new size; further passes are needed only where a layer's cells have to be measured.
        layers: names of modules that give a map, and whose layout is known, see
            `cxrlens.saliency.capture`.
    """
    height, width = images.shape[2:]
    known = _known.setdefault(network, {})
    new = {name: find_layer(network, name) for name in layers if (name, height, width) not in known}
    if new:
        image = images[:1].detach()
        with torch.autocast(image.device.type, enabled=False):
            traced = traced_grids(network, image, new)
        for name, module in new.items():
            grid = traced[name] or measured_grid(network, image, name, known_layout(module, (height, width)))
            if grid is None:
                _LOG.warning(
                    "layer '%s': where its cells lie can be neither read nor measured; its maps are spread evenly over "
                    "the image (grid 'areas')",
                    name,
                )
            known[name, height, width] = grid
    return {name: known[name, height, width] for name in layers}
