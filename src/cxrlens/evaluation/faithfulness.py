"""Faithfulness of a map to the score it explains: insertion, deletion, average drop and increase.

Pixels are taken away by putting those of a blurred image in their place, which keeps the image's grey and adds no
edges. ``score`` gives the probability of the explained class of images [B, C, H, W] as float [B]; it must treat the
images of a batch independently.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from cxrlens.errors import ArgumentError
from cxrlens.saliency.gaussian import smooth_widely

Score: TypeAlias = Callable[[Tensor], Tensor]

_BLUR = 0.05  # standard deviation as a share of the longer side


@dataclass(frozen=True)
class FaithfulnessScores:
    """Scores per image, each float32 [N].

    Attributes:
        insertion: area under the probability while the map's highest pixels are put into the blurred image first;
            high is good (Petsiuk et al., BMVC 2018).
        deletion: area under the probability while they are blurred first; low is good.
        drop: share of the probability lost when only what the map shows is kept, 0 where it rises; low is good
            (Chattopadhay et al., WACV 2018).
        increase: 1.0 where keeping only what the map shows raises the probability, else 0.0.
    """

    insertion: Tensor
    deletion: Tensor
    drop: Tensor
    increase: Tensor


def faithfulness(score: Score, images: Tensor, maps: Tensor, *, steps: int = 20) -> FaithfulnessScores:
    """Score maps [N, H, W] in [0, 1] of images [N, C, H, W].

    Args:
        steps: of insertion and deletion; 2 * steps + 1 forward passes of the batch in all.

    Raises:
        ArgumentError: when maps and images do not fit, or steps is not positive.
    """
    if maps.shape != (images.shape[0], *images.shape[-2:]) or steps < 1:
        raise ArgumentError(
            f"maps {list(maps.shape)} do not fit images {list(images.shape)}, or {steps} steps are too few"
        )
    plain = blurred(images)
    rank = _ranks(maps)[:, None]
    before, lowest = score(images).float(), score(plain).float()
    inserted, deleted = [lowest], [before]
    for step in range(1, steps):
        chosen = rank < step / steps
        inserted.append(score(torch.where(chosen, images, plain)).float())
        deleted.append(score(torch.where(chosen, plain, images)).float())
    inserted.append(before)
    deleted.append(lowest)
    kept = score(plain + maps[:, None].to(images.dtype) * (images - plain)).float()
    return FaithfulnessScores(
        insertion=_area(torch.stack(inserted)),
        deletion=_area(torch.stack(deleted)),
        drop=((before - kept) / before.clamp_min(torch.finfo(torch.float32).tiny)).clamp_min(0),
        increase=(kept > before).float(),
    )


def blurred(images: Tensor) -> Tensor:
    """The images [N, C, H, W] under a Gaussian of 5 % of the longer side, cut at three sigma, edges mirrored."""
    sigma = _BLUR * max(images.shape[-2:])
    return smooth_widely(images, sigma, radius=int(3 * sigma))


def _ranks(maps: Tensor) -> Tensor:
    """Each pixel's place from 0 (highest) to below 1, [N, H, W]; ties fall in reading order."""
    flat = maps.flatten(1)
    order = flat.argsort(dim=1, descending=True, stable=True)
    places = torch.arange(flat.shape[1], device=maps.device, dtype=torch.float32) / flat.shape[1]
    return torch.empty_like(flat, dtype=torch.float32).scatter_(1, order, places.expand_as(flat)).view_as(maps)


def _area(curve: Tensor) -> Tensor:
    """Area under values [steps + 1, N] over [0, 1], by trapezoids."""
    return torch.trapezoid(curve, dim=0) / (curve.shape[0] - 1)
