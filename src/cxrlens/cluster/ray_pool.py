"""Blocks of tasks done by workers of a Ray cluster, in order: a worker or computer that ends costs a second try.

Plain actors with a bounded number of blocks at each: what a lost worker was at is known to the block, so that the task
that ends its workers is found and given up, and nothing else (docs/decisions/ray.md).
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Self, TypeVar

from cxrlens.cluster.blocks import Block, PooledWorker
from cxrlens.cluster.ray_cluster import RayCluster
from cxrlens.cluster.worker import About, BlockFunction, Worker
from cxrlens.errors import CxrlensError, UsageError

Task = TypeVar("Task")
Result = TypeVar("Result")

log = logging.getLogger(__name__)

THREADS = 2
"""Blocks that a worker is at: while one is computed, the next one is read."""

_AT_WORKER = THREADS + 1  # one that waits there, so that none is waited for
_AHEAD = 2 * _AT_WORKER  # blocks a worker that are begun before the first result is taken
_ENDS = 2  # processes that a task may end
_MOVES = 5  # computers that may leave while they are at it, which are none of its fault
_FAILED_STARTS = 4  # a worker
_LOOK = 10.0  # seconds between two looks at the size of the cluster
_WAIT = 1.0  # seconds after which it is looked at what else there is
_PATIENCE = 30.0  # seconds without a worker after which that is said


class RayPool(Generic[Task, Result]):
    """Workers of a cluster that apply a function to blocks of tasks; a context manager, for one thread.

    Args:
        cluster: where they are.
        make: makes the function at a worker, see `BlockFunction`; picklable.
        lost: gives the result of a task that ended its workers' processes; it is told why in words that go on after a
            file's name.

    Raises:
        UsageError: when no worker can be used.
        CxrlensError: when workers end before they have begun, again and again.
    """

    def __init__(
        self,
        cluster: RayCluster,
        make: Callable[[], BlockFunction[Task, Result]],
        lost: Callable[[Task, str], Result],
    ) -> None:
        self._cluster = cluster
        self._ray = cluster.ray
        self._make = self._ray.put(make)
        self._lost = lost
        self._workers: list[PooledWorker[Task, Result]] = []
        self._waiting: deque[Block[Task, Result]] = deque()
        self._refused: list[str] = []
        self._facts: Any = None
        self._failed = 0
        self._began = self._looked = time.monotonic()
        self._is_told = False
        share = cluster.share
        self._actor = self._ray.remote(
            num_cpus=share.cpus, num_gpus=share.gpus, max_restarts=0, max_concurrency=THREADS
        )(Worker)
        self._grow()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all workers; blocks at hand are lost."""
        workers, self._workers = self._workers, []
        for worker in workers:
            self._kill(worker)

    def facts(self) -> Any:
        """The facts of the function, by the first worker that has begun; waits for it."""
        while not any(worker.is_ready for worker in self._workers):
            self._take_back()
        return self._facts

    def in_order(self, tasks: Iterable[Task], size: int, shared: Any = None) -> Iterator[Result]:
        """The results of the tasks in their order.

        Args:
            tasks: taken as they are needed, some blocks a worker ahead of the result that is waited for.
            size: tasks of a block.
            shared: given to the function with each block; a reference to an object of the cluster gives that.

        Raises:
            Exception: whatever the function raises.
        """
        coming = iter(tasks)
        begun: deque[Block[Task, Result]] = deque()
        try:
            while True:
                while len(begun) < _AHEAD * max(self._ready, 1):
                    some = list(itertools.islice(coming, size))
                    if not some:
                        break
                    begun.append(Block(some, shared))
                    self._waiting.append(begun[-1])
                if not begun:
                    return
                self._hand_out()
                if begun[0].is_done:
                    yield from begun.popleft().collected()
                else:
                    self._take_back()
        finally:
            for block in begun:
                for part in (block, *block.parts):
                    part.is_wanted = False
            self._waiting = deque(block for block in self._waiting if block.is_wanted)

    @property
    def _ready(self) -> int:
        return sum(worker.is_ready for worker in self._workers)

    def _hand_out(self) -> None:
        """Give blocks that wait to workers that have room; one that was at a worker's end is alone at its next one."""
        while self._waiting:
            worker = self._free(alone=self._waiting[0].ends > 0)
            if worker is None:
                return
            block = self._waiting.popleft()
            worker.blocks[worker.actor.do.remote(block.tasks, block.shared)] = block

    def _free(self, *, alone: bool) -> PooledWorker[Task, Result] | None:
        most = 1 if alone else _AT_WORKER
        free = [
            worker
            for worker in self._workers
            if worker.is_ready and len(worker.blocks) < most and not any(each.ends for each in worker.blocks.values())
        ]
        return min(free, key=lambda worker: len(worker.blocks), default=None)

    def _take_back(self) -> None:
        """Wait a while for what comes first, and take it."""
        coming = {reference: worker for worker in self._workers for reference in worker.references()}
        if coming:
            done, _ = self._ray.wait(list(coming), num_returns=1, timeout=_WAIT)
            for reference in done:
                self._take(coming[reference], reference)
        self._look()

    def _take(self, worker: PooledWorker[Task, Result], reference: Any) -> None:
        errors = self._ray.exceptions
        block = worker.blocks.get(reference)
        try:
            value = self._ray.get(reference)
        except errors.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, Exception) else error
            if block is None:
                self._refuse(worker, cause)
                return
            del worker.blocks[reference]
            if block.is_wanted:
                raise cause from error
            return
        except errors.RayError as error:
            self._lose(worker, error)
            return
        if block is not None:
            del worker.blocks[reference]
            block.results = value
        elif worker.about is None:
            worker.about = value
            self._begin(worker)
        else:
            worker.beginning = None
            self._compare(worker, value)

    def _begin(self, worker: PooledWorker[Task, Result]) -> None:
        """Let a worker make the function, if it is the same program."""
        here, there = About.here(), worker.about
        assert there is not None
        if (there.version, there.python) != (here.version, here.python):
            self._turn_away(
                worker,
                f"runs cxrlens {there.version} on Python {there.python}, this computer {here.version} on "
                f"{here.python}; install the same there",
            )
            return
        worker.beginning = worker.actor.begin.remote(self._make)

    def _compare(self, worker: PooledWorker[Task, Result], facts: Any) -> None:
        if self._facts is None:
            self._facts = facts
        if facts != self._facts:
            self._turn_away(worker, "would give other results than the other workers; install the same programs there")
            return
        worker.is_ready = True
        self._failed = 0

    def _refuse(self, worker: PooledWorker[Task, Result], error: Exception) -> None:
        """A worker that cannot make the function."""
        if isinstance(error, CxrlensError):
            self._turn_away(worker, str(error))
            return
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        self._turn_away(
            worker,
            f"cannot begin ({type(error).__name__}: {reason}); install this version there with: "
            "pip install 'cxrlens[ray]'",
        )

    def _turn_away(self, worker: PooledWorker[Task, Result], reason: str) -> None:
        """Give a worker nothing to do. It stays, so that no other one is started in its place.

        Raises:
            UsageError: when there is no other.
        """
        worker.beginning, worker.is_refused = None, True
        sentence = f"the Ray worker on {worker.place}: {reason}"
        if all(each.is_refused for each in self._workers):
            raise UsageError(sentence)
        if sentence not in self._refused:
            self._refused.append(sentence)
            log.warning("%s; it is left out", sentence)

    def _lose(self, worker: PooledWorker[Task, Result], error: Exception) -> None:
        """What a worker was at is done again, that of a process that has ended alone at another one."""
        self._workers.remove(worker)
        self._kill(worker)
        if not worker.is_ready:
            self._failed += 1
            if self._failed > _FAILED_STARTS * self._target() and not self._ready:
                reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
                raise CxrlensError(
                    f"the workers of the Ray cluster end before they have begun ({reason}); see their logs, and check "
                    "their memory"
                )
        has_left = worker.about is not None and not self._cluster.is_alive(worker.about.computer)
        blocks = [block for block in worker.blocks.values() if block.is_wanted]
        if blocks:
            tasks = sum(len(block.tasks) for block in blocks)
            what = "has left the cluster" if has_left else "ended its process"
            log.warning("the Ray worker on %s %s; the %d at hand are tried again", worker.place, what, tasks)
        for block in reversed(blocks):
            self._again(block, has_left=has_left)
        self._grow()

    def _again(self, block: Block[Task, Result], *, has_left: bool) -> None:
        if has_left and block.moves < _MOVES:
            block.moves += 1
        else:
            block.ends += 1
        if block.ends < _ENDS:
            self._waiting.appendleft(block)
        elif len(block.tasks) > 1:  # one of them it is
            block.parts = [Block([task], block.shared, ends=_ENDS - 1) for task in block.tasks]
            self._waiting.extendleft(reversed(block.parts))
        else:
            reason = (
                "reading or inspecting it ended processes of Ray workers (badly damaged, or too large for the memory)"
            )
            block.results = [self._lost(block.tasks[0], reason)]

    def _look(self) -> None:
        """Have more workers where the cluster has grown; say when there are none."""
        now = time.monotonic()
        if self._ready:
            self._began = now
        elif now - self._began > _PATIENCE and not self._is_told:
            self._is_told = True
            share = self._cluster.share
            log.warning(
                "no Ray worker has begun yet: each needs %d processors%s; waiting for the cluster",
                share.cpus,
                f" and {share.gpus} accelerator" if share.gpus else "",
            )
        if now - self._looked > _LOOK:
            self._looked = now
            self._grow()

    def _target(self) -> int:
        return self._cluster.settings.workers or max(self._cluster.room(), 1)

    def _grow(self) -> None:
        for _ in range(self._target() - len(self._workers)):
            actor = self._actor.remote()
            self._workers.append(PooledWorker(actor, actor.about.remote()))

    def _kill(self, worker: PooledWorker[Task, Result]) -> None:
        try:
            self._ray.kill(worker.actor)
        except (ValueError, self._ray.exceptions.RayError):  # it has ended, or so has the cluster
            log.debug("a worker had ended already")
