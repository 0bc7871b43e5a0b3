"""Where the time of the seven rows goes, by kind of operator."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable

import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from benchmarks import contenders as c
from benchmarks.saliency import ARCHITECTURES, subject

CASES = ((224, 8), (600, 8))
QUICK_CASES = ((64, 2),)
# An operator is of the first kind whose pattern is in its name; one that has none is of the kind that it works for.
KINDS = {
    "convolutions, backward (gradient of the input alone)": re.compile(r"conv\w*_?backward", re.IGNORECASE),
    "convolutions, forward": re.compile(r"convolution|conv2d", re.IGNORECASE),
    "batch norms, forward and backward": re.compile(r"batch_?norm|(^|: )_\w*norm", re.IGNORECASE),
    "activation functions, forward and backward": re.compile(r"relu|threshold|silu|sigmoid", re.IGNORECASE),
    "upsampling of the layer maps": re.compile(r"upsample", re.IGNORECASE),
}
REST = "all else: additions, products, pooling, norms and scaling of maps"


def profile_all(*, quick: bool, repeats: int) -> dict[tuple[str, int, int], dict[str, float]]:
    """Shares of the seven rows' operator time by kind, for each (network, size, batch)."""
    found = {}
    for architecture in ARCHITECTURES:
        for size, batch in QUICK_CASES if quick else CASES:
            network, images = subject(architecture, size, batch, torch.channels_last)
            found[architecture, size, batch] = shares(c.ours(network, images, c.SEVEN), repeats)
            gc.collect()
    return found


def shares(run: Callable[[], object], repeats: int) -> dict[str, float]:
    """Shares of the time of all operators, by kind; their sum is 1."""
    run()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(repeats):
            run()
    times = dict.fromkeys([*KINDS, REST], 0.0)
    for event in profiler.events() or ():
        times[_kind(event)] += event.self_cpu_time_total
    total = sum(times.values())
    return {kind: time / total for kind, time in times.items()}


def _kind(event: FunctionEvent | None) -> str:
    """The kind of the innermost operator around an event that has one."""
    while event is not None:
        for kind, pattern in KINDS.items():
            if pattern.search(event.name):
                return kind
        event = event.cpu_parent
    return REST
