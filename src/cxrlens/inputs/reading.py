"""Reading many images in processes, in order; the one place where it is said why an image could not be read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TypeVar

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.processes import in_order
from cxrlens.inputs.readers import OversizedImageError, UnknownFormatError

Source = TypeVar("Source")
Result = TypeVar("Result")


class Cause(Enum):
    """The cause for which an image cannot be read."""

    DAMAGED = "damaged, or no radiograph"
    UNKNOWN_FORMAT = "no image format that is known"
    TOO_LARGE = "more pixels than are decoded"
    NO_MEMORY = "not enough memory to read it"
    LOST = "reading it took too long, or ended its process"


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be read.

    Attributes:
        reason: one sentence that begins with the name of its source.
        cause: what kind of reason.
    """

    reason: str
    cause: Cause = Cause.DAMAGED


def attempt(read: Callable[[Source], Result], source: Source) -> Result | Unreadable:
    """The image of a source, or the cause for which it cannot be read; ``str(source)`` names it."""
    try:
        return read(source)
    except OversizedImageError as error:
        return Unreadable(str(error), Cause.TOO_LARGE)
    except UnknownFormatError as error:
        return Unreadable(str(error), Cause.UNKNOWN_FORMAT)
    except UnreadableImageError as error:
        return Unreadable(str(error))
    except MemoryError:
        return Unreadable(f"{source}: there is not enough memory to read it", Cause.NO_MEMORY)


def lost(source: object, reason: str) -> Unreadable:
    """The stand-in for a source whose reading was broken off."""
    return Unreadable(f"{source}: {reason}", Cause.LOST)


def read_each(
    read: Callable[[Source], Result], sources: Iterable[Source], *, workers: int
) -> Iterator[tuple[Source, Result | Unreadable]]:
    """Each source, in order, with what reading it gives, or why it cannot be read.

    A source that is damaged, hangs its reader or kills it costs nothing but itself; see
    `cxrlens.inputs.processes.in_order`.

    Args:
        read: picklable; of a source of any kind, such as an `Origin`, whose ``str`` names it in messages.
        sources: taken as they are needed.
        workers: processes that read; 0 reads in this one.

    Raises:
        Exception: whatever ``read`` raises but for what `attempt` takes.
    """
    taken = deque[Source]()

    def noted() -> Iterator[Source]:
        for source in sources:
            taken.append(source)
            yield source

    results: Iterator[Result | Unreadable] = in_order(partial(attempt, read), noted(), workers=workers, lost=lost)
    for result in results:
        yield taken.popleft(), result
