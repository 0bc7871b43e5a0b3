"""The class whose evidence is explained: from what a caller asks for to one logit per image."""

from __future__ import annotations

import operator
from typing import Any, TypeAlias

import torch
from torch import Tensor

from cxrlens.errors import UsageError

Target: TypeAlias = str | int | Tensor

AFFECTED = 1  # index of the affected class among two logits


def as_logits(output: Any) -> Tensor:
    """A network's output as logits [N, classes].

    A single affected logit z, [N] or [N, 1], becomes (-z/2, z/2): the two logits whose softmax is its sigmoid.

    Raises:
        UsageError: when the output is neither.
    """
    if not isinstance(output, Tensor) or output.ndim not in (1, 2):
        found = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UsageError(f"the network should give logits [N, classes], but it gave {found}")
    if output.ndim == 1:
        output = output[:, None]
    return torch.cat([-output / 2, output / 2], 1) if output.shape[1] == 1 else output


def as_rows(weight: Tensor) -> Tensor:
    """The weight [outputs, C] of a linear head as one row per logit of `as_logits`, [classes, C]."""
    return torch.cat([-weight / 2, weight / 2]) if weight.shape[0] == 1 else weight


def target_classes(logits: Tensor, target: Target) -> Tensor:
    """The class index of each image, int64 [N], from its logits [N, classes].

    ``"affected"`` is class 1, ``"predicted"`` the class with the highest logit; an int stands for every image, a
    tensor [N] gives one class per image.

    Raises:
        UsageError: when the target is none of these or no class of the network.
    """
    count, classes = logits.shape
    if isinstance(target, str) and target == "predicted":
        return logits.argmax(1)
    if isinstance(target, Tensor):
        if target.shape != (count,) or target.is_floating_point():
            raise UsageError(f"a target tensor holds one integer per image: shape [{count}], not {list(target.shape)}")
        chosen = target.to(logits.device, torch.int64)
        if count:
            _check_range(target, int(chosen.min()), int(chosen.max()), classes)
        return chosen
    index = _index(target)
    if count:
        _check_range(target, index, index, classes)
    return logits.new_full((count,), index, dtype=torch.int64)


def _index(target: str | int) -> int:
    if isinstance(target, str):
        if target != "affected":
            raise UsageError(f"unknown target '{target}': use 'affected', 'predicted', or a class index")
        return AFFECTED
    try:
        return operator.index(target)
    except TypeError as error:
        raise UsageError(f"target {target!r} is no class index; give an integer") from error


def _check_range(target: Target, low: int, high: int, classes: int) -> None:
    if low < 0 or high >= classes:
        raise UsageError(f"target {target!r} is no class of a network with {classes} classes (0 to {classes - 1})")


def target_scores(logits: Tensor, classes: Tensor) -> Tensor:
    """The logit of each image's class, [N]."""
    return logits.gather(1, classes[:, None]).squeeze(1)
