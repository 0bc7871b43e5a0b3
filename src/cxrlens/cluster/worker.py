"""The process of a cluster's worker: one function, made once, applied to block after block of tasks."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from cxrlens import __version__
from cxrlens.process import isolate_children, keep_freed_memory

Task = TypeVar("Task", contravariant=True)
Result = TypeVar("Result")


class BlockFunction(Protocol[Task, Result]):
    """Work on blocks of tasks; threads may call it at the same time.

    Attributes:
        facts: what the results depend on, and all workers must have alike; picklable.
    """

    facts: Any

    def __call__(self, block: Sequence[Task], shared: Any) -> list[Result]:
        """A result a task, in order.

        Args:
            shared: the same for all blocks of a call, whatever it is.
        """
        ...


@dataclass(frozen=True)
class About:
    """What a worker runs.

    Attributes:
        version: of cxrlens.
        python: version of Python, without the last number.
        node: name of its computer; ``computer`` is Ray's number of it, "" outside a cluster.
    """

    version: str
    python: str
    node: str
    computer: str = ""

    @classmethod
    def here(cls, computer: str = "") -> About:
        """Of this process."""
        return cls(__version__, ".".join(map(str, sys.version_info[:2])), platform.node(), computer)


class Worker:
    """A worker as the cluster has it."""

    def __init__(self) -> None:
        isolate_children()
        keep_freed_memory()
        self._function: BlockFunction[Any, Any] | None = None

    def about(self) -> About:
        """What it runs; nothing that was sent is unpacked before."""
        ray = sys.modules.get("ray")
        return About.here(ray.get_runtime_context().get_node_id() if ray else "")

    def begin(self, make: Callable[[], BlockFunction[Any, Any]]) -> Any:
        """Make the function; gives its facts."""
        self._function = make()
        return self._function.facts

    def do(self, block: Sequence[Any], shared: Any) -> list[Any]:
        """The function of a block."""
        assert self._function is not None
        return self._function(block, shared)
