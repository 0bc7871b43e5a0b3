"""Scores of several rows at once: much of their work on a CPU runs on one core."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_threads(function: Callable[[Task], Result], tasks: Iterable[Task], device: torch.device) -> Iterator[Result]:
    """The function of each task, in order; on a CPU as many at once as torch has threads, elsewhere one by one."""
    if device.type != "cpu":
        yield from map(function, tasks)
        return
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        yield from pool.map(function, tasks)
