"""Reading many images in processes, in order; the one place where it is said why an image could not be read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import partial
from multiprocessing.context import BaseContext
from typing import Any, Generic, Self, TypeVar

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.origin import ChangedFileError
from cxrlens.inputs.processes import NoProcessError, Pool
from cxrlens.inputs.readers import OversizedImageError, UnknownFormatError

Source = TypeVar("Source")
Result = TypeVar("Result")
Task = TypeVar("Task")
Done = TypeVar("Done")


class Cause(Enum):
    """The cause for which an image cannot be read."""

    DAMAGED = "damaged, or no radiograph"
    UNKNOWN_FORMAT = "no image format that is known"
    TOO_LARGE = "more pixels than are decoded"
    NO_MEMORY = "not enough memory to read it"
    CHANGED = "not the content that it is known by"
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
    except ChangedFileError as error:
        return Unreadable(str(error), Cause.CHANGED)
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
    """Each source, in order, with what reading it gives, or why it cannot be read; see `Readers`."""
    with Readers(read, workers=workers) as readers:
        yield from readers.each(sources)


class Readers(Generic[Source, Result]):
    """Processes that read, and may do other work of a command as well.

    A source that is damaged, hangs its reader or kills it costs nothing but itself; see
    `cxrlens.inputs.processes.Pool`.

    Args:
        read: picklable; of a source of any kind, such as an `Origin`, whose ``str`` names it in messages.
        others: functions of other work, likewise picklable.
        workers: processes; 0 works in this one.
        context: how processes are started.
    """

    def __init__(
        self,
        read: Callable[[Source], Result],
        *others: Callable[[Any], Any],
        workers: int,
        context: BaseContext | None = None,
    ) -> None:
        self._read: Callable[[Source], Result | Unreadable] = partial(attempt, read)
        self._pool = Pool(self._read, *others, workers=workers, context=context)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def each(self, sources: Iterable[Source], *, ahead: int = 0) -> Iterator[tuple[Source, Result | Unreadable]]:
        """Each source, in order, with what reading it gives, or why it cannot be read.

        Args:
            sources: taken as they are needed; see `cxrlens.inputs.processes.Pool.in_order`, also for ``ahead``.

        Raises:
            Exception: whatever reading raises but for what `attempt` takes.
        """
        taken = deque[Source]()

        def noted() -> Iterator[Source]:
            for source in sources:
                taken.append(source)
                yield source

        for result in self._pool.in_order(self._read, noted(), lost, ahead=ahead):
            yield taken.popleft(), result

    def done(self, work: Callable[[Task], Done], tasks: Iterable[Task]) -> Iterator[Done]:
        """Another of the functions applied to tasks, in order; all of them are begun at once.

        No task is lost with its process: what ends one, or finds none or no memory there, is done in this process.

        Raises:
            Exception: whatever the function raises.
        """
        begun = [(task, self._pool.submit(work, task, lambda task, _: work(task))) for task in tasks]
        for task, future in begun:
            try:
                result = future.result()
            except (MemoryError, NoProcessError):
                result = work(task)
            yield result
