"""A saliency method of a layer's activation and gradient."""

from __future__ import annotations

from torch import Tensor

from cxrlens.saliency.capture import Captured
from cxrlens.saliency.methods.registry import method


# The id is the name of the entry point. Resizing, combining over layers and scaling are not the method's business.
@method(
    "example_energy",
    title="Example energy",
    formula="sum_k (a_u^k g_u^k)^2",
    source="an example",
    combines=True,
)
def energy(pair: Captured) -> Tensor:
    """[N, C, h, w] twice -> [N, h, w]."""
    return (pair.activation * pair.gradient).square().sum(1)
