"""Layers and stages of an architecture, found without weights or images."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from cxrlens.evaluation.randomisation import stages
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.models.registry import find_architecture
from cxrlens.saliency.explain import resolve_layers
from cxrlens.saliency.hooks import forward_hooks


@functools.cache
def outline(architecture: str) -> nn.Module:
    """The network on torch's meta device: modules and shapes, no numbers.

    Raises:
        UsageError: when the architecture is unknown.
    """
    with torch.device("meta"):
        return find_architecture(architecture).build(2).eval()


def cascade_stages(architecture: str) -> list[str]:
    """What cascading randomisation draws anew, in its order."""
    return stages(outline(architecture))


@functools.cache
def layer_grids(architecture: str, preprocessing: Preprocessing) -> dict[str, tuple[int, int]]:
    """Rows and columns of each combined layer's output, from the input to the head."""
    found: dict[str, tuple[int, int]] = {}

    def see(name: str, _inputs: object, output: Tensor) -> None:
        found[name] = (output.shape[2], output.shape[3])

    network = outline(architecture)
    modules = {name: network.get_submodule(name) for name in resolve_layers(network, "combined")}
    with torch.no_grad(), forward_hooks(modules, see):
        network(torch.empty(1, 3, preprocessing.height, preprocessing.width, device="meta"))
    return found
