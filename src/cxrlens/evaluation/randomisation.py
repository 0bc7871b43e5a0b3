"""Cascading randomisation of a trained network from the head down (Adebayo et al., NeurIPS 2018).

A map that explains a network must change when the network does. Stage after stage, from the head towards the input,
weights are replaced by freshly drawn ones; the maps of each network in the cascade are compared with the trained one's.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn

from cxrlens.models.registry import build_network, find_architecture

_ROWS = ("features", "blocks", "stages", "layers", "encoder", "encoder.layers")
"""Modules of which each part is a stage."""


def cascade(
    network: nn.Module, architecture: str, *, seed: int, size: tuple[int, int] | None = None
) -> Iterator[tuple[str, nn.Module]]:
    """The network with its stages drawn anew, one more at a time from the head down.

    Args:
        network: a trained network of the architecture; it is not changed.
        architecture: its name in the registry, by whose rules the new weights are drawn.
        seed: of the new weights.
        size: (height, width) of the images that the network is built for, where it is.

    Yields:
        The last stage that was replaced and the network, in evaluation mode, on the device of the trained one. It is
        one network that goes on changing: use it before asking for the next.

    Raises:
        UsageError: when the architecture is unknown.
    """
    device = next(network.parameters()).device
    classes = find_architecture(architecture).classes_of(network)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # not those of the accelerators, which are not put back
        fresh = build_network(architecture, classes=classes, size=size).state_dict()
    changing = copy.deepcopy(network).eval()
    own = changing.state_dict()
    with torch.no_grad():
        for stage in stages(network):
            for name, value in own.items():
                if name == stage or name.startswith(f"{stage}."):
                    value.copy_(fresh[name].to(device))
            yield stage, changing


def stages(network: nn.Module) -> list[str]:
    """Names of the parts that hold weights, from the head to the input.

    They are the network's children, those of its rows of blocks (`_ROWS`) in place of these, and weights that belong to
    none of them, such as the positions that a vision transformer embeds.
    """
    return list(_parts(network, ""))[::-1]


def _parts(network: nn.Module, name: str) -> Iterator[str]:
    """From the input to the head."""
    module = network.get_submodule(name)
    below = f"{name}." if name else ""
    yield from (f"{below}{weight}" for weight, _ in module.named_parameters(recurse=False))
    for child, part in module.named_children():
        if f"{below}{child}" in _ROWS:
            yield from _parts(network, f"{below}{child}")
        elif any(True for _ in part.parameters()):
            yield f"{below}{child}"
