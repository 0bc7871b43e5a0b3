"""Methods that ask the network many times: with noise, along a path, or behind random masks."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from cxrlens.saliency.methods.registry import method
from cxrlens.saliency.norms import norm1
from cxrlens.saliency.probe import NetworkProbe

_NOISY = 25
_NOISE = 0.15  # standard deviation as a share of the image's range
_STEPS = 32
_MASKS = 1000
_CELLS = 7  # of a mask, per side
_KEPT = 0.5  # share of a mask's cells that stay
_PER_PASS = 32  # masked images at most, unless the batch itself is larger


@method(
    "smoothgrad",
    title="SmoothGrad",
    formula=f"sum_k |mean of g_u^k over {_NOISY} noisy inputs|, noise {_NOISE:.0%} of the image's range",
    source="Smilkov et al., arXiv 1706.03825",
    cost=f"{_NOISY + 1} forwards, {_NOISY} backwards",
    reads="network",
)
def smoothgrad(probe: NetworkProbe) -> Tensor:
    """The same noise for every image, so that a batch equals its images one by one."""
    flat = probe.images.flatten(1)
    spread = (_NOISE * (flat.amax(1) - flat.amin(1)))[:, None, None, None]
    stream = probe.generator()
    total = torch.zeros_like(probe.images, dtype=torch.float32)
    for _ in range(_NOISY):
        noise = torch.randn(probe.images.shape[1:], generator=stream).to(probe.images)
        total += probe.gradients(probe.images + spread * noise)
    return norm1(total / _NOISY)


@method(
    "integrated_gradients",
    title="Integrated gradients",
    formula=f"sum_k |x_u^k mean of g_u^k on the line from 0 (mean grey) to x|, midpoints of {_STEPS} steps",
    source="Sundararajan et al., ICML 2017",
    cost=f"{_STEPS + 1} forwards, {_STEPS} backwards",
    reads="network",
)
def integrated_gradients(probe: NetworkProbe) -> Tensor:
    total = torch.zeros_like(probe.images, dtype=torch.float32)
    for step in range(_STEPS):
        total += probe.gradients(probe.images * ((step + 0.5) / _STEPS))
    return norm1(probe.images * total / _STEPS)


@method(
    "rise",
    title="RISE",
    formula=f"mean of p(x * M) M_u, p the class's probability, over {_MASKS} random masks M, divided by their mean",
    source="Petsiuk et al., BMVC 2018",
    cost=f"{_MASKS + 1} forwards",
    reads="network",
)
def rise(probe: NetworkProbe) -> Tensor:
    """The same masks for every image, so that a batch equals its images one by one."""
    count, height, width = probe.images.shape[0], *probe.images.shape[-2:]
    total = probe.images.new_zeros((count, height, width), dtype=torch.float32)
    for part in random_masks(_MASKS, height, width, probe.generator(), at_once=max(1, _PER_PASS // count)):
        masks = part.to(probe.images)
        masked = (masks[:, None, None] * probe.images[None]).flatten(0, 1)
        scores = probe.probabilities(masked).view(len(masks), count)
        total += torch.einsum("kn,khw->nhw", scores, masks.float())
    return total / (_MASKS * _KEPT)


def random_masks(count: int, height: int, width: int, stream: torch.Generator, *, at_once: int) -> Iterator[Tensor]:
    """Random 8 x 8 grids of 0 and 1, upsampled bilinearly and shifted by up to a cell.

    Yields [at_once or fewer, height, width]; the masks are the same however many come at once.
    """
    cell = math.ceil(height / _CELLS), math.ceil(width / _CELLS)
    size = ((_CELLS + 1) * cell[0], (_CELLS + 1) * cell[1])
    grids = (torch.rand(count, 1, _CELLS + 1, _CELLS + 1, generator=stream) < _KEPT).float()
    tops = torch.randint(0, cell[0], (count,), generator=stream).tolist()
    lefts = torch.randint(0, cell[1], (count,), generator=stream).tolist()
    for start in range(0, count, at_once):
        large = functional.interpolate(grids[start : start + at_once], size, mode="bilinear", align_corners=False)
        places = zip(large[:, 0], tops[start:], lefts[start:], strict=False)
        yield torch.stack([mask[top : top + height, left : left + width] for mask, top, left in places])
