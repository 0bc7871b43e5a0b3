"""The blocks that a pool's workers are at, and the workers as the pool sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from cxrlens.cluster.worker import About

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(eq=False)
class Block(Generic[Task, Result]):
    """Tasks of which one worker gives the results.

    Attributes:
        ends: processes that ended while they were at it; ``moves`` computers that left.
        parts: a block a task, in place of this one.
        is_wanted: False once nobody waits for the results any more.
    """

    tasks: Sequence[Task]
    shared: Any
    ends: int = 0
    moves: int = 0
    results: list[Result] | None = None
    parts: list[Block[Task, Result]] = field(default_factory=list)
    is_wanted: bool = True

    @property
    def is_done(self) -> bool:
        return all(part.is_done for part in self.parts) if self.parts else self.results is not None

    def collected(self) -> list[Result]:
        """The results, which are let go."""
        if self.parts:
            return [result for part in self.parts for result in part.collected()]
        assert self.results is not None
        return self.results


@dataclass(eq=False)
class PooledWorker(Generic[Task, Result]):
    """A worker, seen from here.

    Attributes:
        beginning: reference to what it says of itself, then to the facts; None once these have come.
        blocks: what it is at, by the references to the results.
    """

    actor: Any
    beginning: Any
    about: About | None = None
    is_ready: bool = False
    is_refused: bool = False
    blocks: dict[Any, Block[Task, Result]] = field(default_factory=dict)

    def references(self) -> list[Any]:
        return [*self.blocks, *([] if self.beginning is None else [self.beginning])]

    @property
    def place(self) -> str:
        return self.about.node if self.about else "another computer"
