"""The images of a server or bucket as a screening takes them, once or followed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from cxrlens.errors import ServerLostError, UsageError
from cxrlens.screening.remote.addresses import is_address
from cxrlens.screening.remote.followed import Followed
from cxrlens.screening.remote.origin import FeedBegunAnewError, RemoteOrigin, RemoteSource
from cxrlens.screening.remote.taking import take_remote
from cxrlens.screening.roots import RemoteRoot

log = logging.getLogger(__name__)

_AGAIN = 60.0
"""Seconds after which an image that could not be fetched is asked for again."""


class RemoteSources:
    """What a screening takes from a server or bucket.

    Attributes:
        root: what names are below.
        folders: none of this machine.
        lost: why the server could not be asked to the end, once it was.
    """

    def __init__(self, source: RemoteSource) -> None:
        self.source = source
        self.root = RemoteRoot(source.address)
        self.folders = frozenset[Path]()
        self.lost: ServerLostError | None = None

    def files(self) -> Iterator[RemoteOrigin]:
        """The images, as they are asked for; they end where the server is lost, and `lost` tells."""
        try:
            yield from self.source.origins()
        except ServerLostError as error:
            self.lost = error

    def raise_if_lost(self) -> None:
        """Tell that not all images were found.

        Raises:
            ServerLostError: when they were not.
        """
        if self.lost is not None:
            raise ServerLostError(
                f"{self.lost}; what was found until then is screened, and the same command goes on"
            ) from self.lost


def take_remote_sources(
    texts: Sequence[str], *, credentials: Path | None = None, ca_file: Path | None = None, left_out: str = ""
) -> RemoteSources | None:
    """The images at the address that a command line names; None where it names paths. See `take_remote`.

    Raises:
        UsageError: when the address does not stand alone, or `take_remote` refuses it.
    """
    addresses = [text for text in texts if is_address(text)]
    if not addresses:
        return None
    if len(texts) > 1:
        raise UsageError(f"{addresses[0]}: an address stands alone; screen what else there is by itself")
    return RemoteSources(take_remote(addresses[0], credentials=credentials, ca_file=ca_file, left_out=left_out))


class RemoteWatch:
    """Gives the images of a server or bucket as they come, and again when they have changed.

    Where there is a feed of changes it is followed from the last one that was dealt with, also by an earlier run;
    everything is searched before the first, and again where the server has forgotten its changes. Without a feed
    everything is searched each time.

    Args:
        interval: seconds between two looks.
        followed: keeps how far the changes were followed.
        unread: gives the names of images that could not be fetched, which are asked for again every now and then.

    Attributes:
        failures: why the server could not be asked in the last poll, in a sentence.
    """

    def __init__(
        self,
        source: RemoteSource,
        interval: float,
        followed: Followed,
        unread: Callable[[], Iterable[str]] = lambda: (),
    ) -> None:
        self.interval = interval
        self.failures: list[str] = []
        self._source = source
        self._followed = followed
        self._unread = unread
        self._feed = source.feed()
        self._given: dict[str, str] = {}  # versions by name
        self._asked: dict[str, float] = {}  # when, by name
        self._reached: int | None = None

    def poll(self) -> Iterator[RemoteOrigin]:
        """The images to be taken now."""
        self.failures = []
        try:
            if self._feed is None:
                yield from self._new(self._source.origins())
            else:
                yield from self._changed()
        except ServerLostError as error:
            self.failures = [str(error)]
            self._reached = None
            return
        now = time.monotonic()
        for name in [*self._unread()]:
            if now - self._asked.setdefault(name, now) >= _AGAIN:
                self._asked[name] = now
                yield self._source.origin(name)

    def settled(self) -> None:
        """All that the last poll gave is in the store: the changes up to it need not be looked at again."""
        if self._reached is not None and self._reached != self._followed.last(self._source.address):
            self._followed.follow(self._source.address, self._reached)
        self._reached = None

    def _new(self, origins: Iterable[RemoteOrigin]) -> Iterator[RemoteOrigin]:
        for origin in origins:
            if self._given.get(origin.name) != origin.version:
                self._given[origin.name] = origin.version
                yield origin

    def _changed(self) -> Iterator[RemoteOrigin]:
        assert self._feed is not None
        reached = self._followed.last(self._source.address)
        if reached is not None:
            try:
                for number, origin in self._feed.since(reached):
                    reached = number
                    if origin is not None:
                        yield origin
            except FeedBegunAnewError:
                log.warning("%s: has begun its changes anew; everything is searched", self._source.address)
                reached = None
        if reached is None:
            reached = self._feed.last()  # before the search, so that nothing falls between
            yield from self._source.origins()
        self._reached = reached
