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


def cascade(network: nn.Module, architecture: str, *, seed: int) -> Iterator[tuple[str, nn.Module]]:
    """The network with its stages drawn anew, one more at a time from the head down.

    Args:
        network: a trained network of the architecture; it is not changed.
        architecture: its name in the registry, by whose rules the new weights are drawn.
        seed: of the new weights.

    Yields:
        The last stage that was replaced and the network, in evaluation mode, on the device of the trained one. It is
        one network that goes on changing: use it before asking for the next.

    Raises:
        UsageError: when the architecture is unknown.
    """
    device = next(network.parameters()).device
    head = network.get_submodule(find_architecture(architecture).head)
    assert isinstance(head, nn.Linear)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # not those of the accelerators, which are not put back
        fresh = build_network(architecture, classes=head.out_features).state_dict()
    changing = copy.deepcopy(network).eval()
    own = changing.state_dict()
    with torch.no_grad():
        for stage in stages(network):
            for name, value in own.items():
                if name.startswith(f"{stage}."):
                    value.copy_(fresh[name].to(device))
            yield stage, changing


def stages(network: nn.Module) -> list[str]:
    """Names of the parts that hold weights, from the head to the input: children, and those of ``features``."""
    names = []
    for name, child in network.named_children():
        parts = [f"{name}.{part}" for part, _ in child.named_children()] if name == "features" else [name]
        names += [part for part in parts if any(True for _ in network.get_submodule(part).parameters())]
    return names[::-1]
