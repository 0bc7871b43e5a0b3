"""A source that an installed package brings: whatever it does wrong becomes one sentence that names the package."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeVar

from cxrlens import plugins
from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.origin import State
from cxrlens.screening.remote.origin import Feed, FeedBegunAnewError, RemoteOrigin, RemoteSource

_Given = TypeVar("_Given")


@dataclass(frozen=True)
class PluggedOrigin(RemoteOrigin):
    """An image of such a source; what it cannot be read by is an image's fault, so that all others are still taken.

    Attributes:
        scheme: of the address, which is the entry point's name.
        own: as the package gives it.
    """

    scheme: str
    own: RemoteOrigin = field(compare=False)

    @classmethod
    def of(cls, scheme: str, own: object) -> PluggedOrigin:
        """What a package gives as an image.

        Raises:
            PluginError: when it is none.
        """
        if not isinstance(own, RemoteOrigin):
            raise _unfit(scheme, f"gives {type(own).__name__} for an image, which should be a RemoteOrigin")
        return cls(own.address, own.name, scheme, own, version=own.version)

    def __str__(self) -> str:
        return str(self.own)

    def state(self) -> State | None:
        with _blamed(self.scheme):
            return self.own.state()

    def exists(self) -> bool:
        with _blamed(self.scheme):
            return self.own.exists()

    def size(self) -> int:
        with _blamed(self.scheme):
            return self.own.size()

    def read(self) -> bytes:
        try:
            with _blamed(self.scheme):
                content: object = self.own.read()
            if not isinstance(content, bytes):
                raise _unfit(self.scheme, f"gives {type(content).__name__} for an image's content, in place of bytes")
        except plugins.PluginError as error:
            raise UnreadableImageError(f"{self}: {error}") from error
        return content


class PluggedSource:
    """Such a source.

    Attributes:
        address: what records call the root.
    """

    def __init__(self, scheme: str, own: RemoteSource) -> None:
        self.address = own.address
        self._scheme, self._own = scheme, own

    @classmethod
    def of(cls, scheme: str, make: Callable[[str], RemoteSource], root: str) -> PluggedSource:
        """What a package makes of an address.

        Raises:
            PluginError: when it fails, or gives something else.
        """
        with _blamed(scheme):
            own = make(root)
        lacking = [name for name in ("address", "check", "origins", "origin", "feed") if not hasattr(own, name)]
        if lacking:
            raise _unfit(scheme, f"gives {type(own).__name__}, a source without '{lacking[0]}'")
        return cls(scheme, own)

    def check(self) -> None:
        with _blamed(self._scheme):
            self._own.check()

    def origins(self) -> Iterator[PluggedOrigin]:
        for own in _each(self._scheme, self._own.origins):
            yield PluggedOrigin.of(self._scheme, own)

    def origin(self, name: str) -> PluggedOrigin:
        with _blamed(self._scheme):
            own = self._own.origin(name)
        return PluggedOrigin.of(self._scheme, own)

    def feed(self) -> Feed | None:
        with _blamed(self._scheme):
            own = self._own.feed()
        return None if own is None else _PluggedFeed(self._scheme, own)


class _PluggedFeed:
    def __init__(self, scheme: str, own: Feed) -> None:
        self._scheme, self._own = scheme, own

    def last(self) -> int:
        with _blamed(self._scheme):
            return self._own.last()

    def since(self, number: int) -> Iterator[tuple[int, RemoteOrigin | None]]:
        for reached, own in _each(self._scheme, lambda: self._own.since(number)):
            yield reached, None if own is None else PluggedOrigin.of(self._scheme, own)


def _each(scheme: str, begin: Callable[[], Iterable[_Given]]) -> Iterator[_Given]:
    """What a package gives one after another; what is done with it meanwhile is not its fault."""
    with _blamed(scheme):
        iterator = iter(begin())
    while True:
        with _blamed(scheme):
            try:
                given = next(iterator)
            except StopIteration:
                return
        yield given


def _blamed(scheme: str) -> AbstractContextManager[None]:
    return plugins.blamed(plugins.SOURCES, scheme, passed=lambda error: isinstance(error, FeedBegunAnewError))


def _unfit(scheme: str, given: str) -> plugins.PluginError:
    return plugins.unfit(plugins.SOURCES, scheme, given)
