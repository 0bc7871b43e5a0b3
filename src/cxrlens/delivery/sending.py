"""Threads that take deliveries out of an outbox, one for each destination."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Self

from cxrlens.delivery.destinations import DeliveryFailed, Destination
from cxrlens.delivery.outbox import Delivery, Outbox, delay_after

log = logging.getLogger(__name__)

_LOOK = 1.0  # seconds between two looks for what has become due
_PROBE = 60.0  # most seconds between two attempts at a destination that is away


class Senders:
    """Delivers what is in an outbox to destinations until it is left; one that is away holds up no other.

    Args:
        delivered: is told of each delivery, in the thread of its destination.
        failed: is told of an error that is no destination's fault, such as a full disk; that destination gets nothing
            more.
    """

    def __init__(
        self,
        outbox: Outbox,
        destinations: Sequence[Destination],
        *,
        delivered: Callable[[Delivery], None] = lambda delivery: None,
        failed: Callable[[BaseException], None] = lambda error: None,
    ) -> None:
        self._outbox = outbox
        self._delivered = delivered
        self._failed = failed
        self._stop = threading.Event()
        self._more = {destination.name: threading.Event() for destination in destinations}
        self._threads = [
            threading.Thread(target=self._run, args=(destination,), name=f"to {destination.name}", daemon=True)
            for destination in destinations
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End after the delivery at hand."""
        self._stop.set()
        self.look()
        for thread in self._threads:
            thread.join()

    def look(self) -> None:
        """Tell the threads that the outbox has got something."""
        for event in self._more.values():
            event.set()

    def _run(self, destination: Destination) -> None:
        try:
            self._deliver_all(destination)
        except BaseException as error:
            self._failed(error)

    def _deliver_all(self, destination: Destination) -> None:
        failures, more = 0, self._more[destination.name]
        while not self._stop.is_set():
            more.clear()
            delivery = self._outbox.due(destination.name)
            if delivery is None:
                more.wait(_LOOK)
                continue
            try:
                destination.deliver(self._outbox.paths(delivery))
            except FileNotFoundError as error:
                self._outbox.refused(delivery, f"{error.filename}: is gone, and was never delivered")
                log.warning("%s: is gone before it was sent to %s", error.filename, destination.name)
            except DeliveryFailed as error:
                if error.again:
                    failures += 1
                    self._outbox.failed(delivery, error.sentence)
                    self._pause(failures, error.sentence)
                else:
                    self._outbox.refused(delivery, error.sentence)
                    log.warning("%s; the files are kept, and sent again when the node is started anew", error.sentence)
            else:
                self._outbox.delivered(delivery)
                if failures:
                    log.info("%s: takes files again", destination.name)
                failures = 0
                self._delivered(delivery)

    def _pause(self, failures: int, sentence: str) -> None:
        seconds = min(_PROBE, delay_after(failures))
        if failures == 1:
            log.warning("%s; it is kept, and tried again", sentence)
        until = time.monotonic() + seconds
        while not self._stop.is_set() and (left := until - time.monotonic()) > 0:
            self._stop.wait(min(left, _LOOK))
