"""Time of contenders that take turns, and memory that autograd keeps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

Name = TypeVar("Name", bound=Hashable)


def medians(
    contenders: Mapping[Name, Callable[[], object]],
    repeats: int,
    fewer: Mapping[Name, int] | None = None,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Name, float]:
    """Median seconds of each contender; they take turns, and the first round is not counted.

    Args:
        contenders: what is run, by name.
        repeats: the rounds that count.
        fewer: in how many of them a slow contender takes part, by name; evenly spread over the run.
        clock: gives seconds; `time.process_time` where other programs run meanwhile.
    """
    rounds = {name: spread((fewer or {}).get(name, repeats), repeats) for name in contenders}
    seconds: dict[Name, list[float]] = {name: [] for name in contenders}
    for turn in range(-1, repeats):
        for name, run in contenders.items():
            if turn >= 0 and turn not in rounds[name]:
                continue
            began = clock()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn >= 0:
                seconds[name].append(clock() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def spread(turns: int, rounds: int) -> set[int]:
    """So many of the rounds 0, 1, ..., evenly spread: 3 of 7 are 1, 3 and 5."""
    turns = min(turns, rounds)
    return {(2 * turn + 1) * rounds // (2 * turns) for turn in range(turns)}


def saved_bytes(run: Callable[[], object], weights: Iterable[Tensor]) -> int:
    """Bytes of activations that autograd keeps for the backward pass of one run; the network's weights do not count."""
    kept = {weight.untyped_storage().data_ptr() for weight in weights}
    total = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal total
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in kept:
            kept.add(storage.data_ptr())
            total += storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return total


def lively(network: nn.Module, size: int) -> nn.Module:
    """Batch norms with statistics of random images, so that values are as large as in a trained network."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    network.train()
    with torch.no_grad():
        network(torch.randn(4, 3, size, size))
    return network.eval()
