"""Explanations of concurrent requests, made together in one pass and told apart again."""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from cxrlens.errors import CxrlensError
from cxrlens.inspection.inspector import GreyBatch
from cxrlens.inspection.result import ImageResult
from cxrlens.serving.served_model import ExplanationRequest, ServedModel

_INSPECTORS = 64
"""Kept inspectors, one a request for another explanation, as a new one runs the network once more."""


class BusyError(CxrlensError):
    """So many images wait already that one more would wait too long."""


@dataclass(frozen=True, eq=False)
class _Waiting:
    grey: GreyBatch
    stored: tuple[int, int]
    request: ExplanationRequest
    answer: Future[ImageResult] = field(default_factory=Future)


class RequestInspector:
    """A model that answers requests with one pass each.

    An image gets the same numbers however many come with it: on a CPU a batch of one, on other devices any batch of
    another size may give others in their last digits, so that such batches are filled up.
    """

    def __init__(self, model: ServedModel, batch_size: int) -> None:
        self._at_least = batch_size if model.same_batches else min(batch_size, 2)
        self._inspector = functools.lru_cache(_INSPECTORS)(model.inspector)

    def inspect(
        self, grey: Sequence[GreyBatch], stored: Sequence[tuple[int, int]], request: ExplanationRequest
    ) -> list[ImageResult]:
        """The results of grey images [1, h, w] of the stored (height, width) each."""
        missing = max(self._at_least - len(grey), 0)
        filled = np.stack([*grey, *[grey[-1]] * missing])
        results: list[ImageResult] = self._inspector(request).inspect(filled, [*stored, *[stored[-1]] * missing])
        return results[: len(grey)]


class BatchedExplainer:
    """One thread that runs the model.

    It takes the image that has waited longest and others of the same request, up to ``batch_size``; where there are
    fewer, it waits ``wait`` seconds for more. An image that makes a pass fail fails alone: the others of its pass are
    done again one by one.

    Args:
        queue: images that may wait.
        observe: is told the number of images of every pass.
    """

    def __init__(
        self,
        model: ServedModel,
        *,
        batch_size: int,
        wait: float,
        queue: int,
        observe: Callable[[float], None] = lambda size: None,
    ) -> None:
        self._inspector = RequestInspector(model, batch_size)
        self._batch_size = batch_size
        self._wait = wait
        self._queue = queue
        self._observe = observe
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="explainer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Images that no pass has begun with."""
        return len(self._waiting)

    def submit(self, grey: GreyBatch, stored: tuple[int, int], request: ExplanationRequest) -> Future[ImageResult]:
        """Have a grey image [1, h, w] of the stored (height, width) explained.

        Raises:
            BusyError: when the queue is full, or the explainer closed.
        """
        item = _Waiting(grey, stored, request)
        with self._changed:
            if self._closed or len(self._waiting) >= self._queue:
                raise BusyError
            self._waiting.append(item)
            self._changed.notify()
        return item.answer

    def close(self) -> None:
        """Finish the pass that runs, and answer those that still wait with `BusyError`."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        for item in self._waiting:
            item.answer.set_exception(BusyError())
        self._waiting.clear()

    def _run(self) -> None:
        while batch := self._next():
            self._answer([item for item in batch if item.answer.set_running_or_notify_cancel()])

    def _next(self) -> list[_Waiting]:
        """The images of the next pass, none when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            until = time.monotonic() + self._wait
            while not self._closed and len(self._alike()) < self._batch_size:
                if not self._changed.wait(timeout=max(until - time.monotonic(), 0)):
                    break
            if self._closed:
                return []
            batch = self._alike()
            self._waiting = deque(item for item in self._waiting if item not in batch)
            return batch

    def _alike(self) -> list[_Waiting]:
        request = self._waiting[0].request
        return [item for item in self._waiting if item.request == request][: self._batch_size]

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        if not batch:
            return
        try:
            results = self._inspector.inspect(
                [item.grey for item in batch], [item.stored for item in batch], batch[0].request
            )
        except Exception as error:
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
                return
            for item in batch:
                self._answer([item])
            return
        self._observe(len(batch))
        for item, result in zip(batch, results, strict=True):
            item.answer.set_result(result)
