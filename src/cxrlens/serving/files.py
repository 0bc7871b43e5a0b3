"""The files of the worklist's images, read anew where they were screened."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Annotated, TypeAlias, TypeVar

from fastapi import HTTPException
from fastapi import Path as InPath

from cxrlens.inputs.origin import KnownOrigin, Origin
from cxrlens.inputs.reading import Cause, Unreadable
from cxrlens.serving.decoding import STATUS, DecodedUpload
from cxrlens.serving.review import Review
from cxrlens.serving.slots import Slots
from cxrlens.serving.state import ServerState

KeyInPath: TypeAlias = Annotated[str, InPath(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file's content.")]

Read = TypeVar("Read", bound=bytes | DecodedUpload)


def served_review(state: ServerState) -> Review:
    """The screened folder of a server.

    Raises:
        HTTPException: 404, when there is none.
    """
    if state.review is None:
        raise HTTPException(404, "this server has no screened folder; start it with one: cxrlens serve -m M FOLDER")
    return state.review


async def sources(state: ServerState, key: str) -> list[KnownOrigin]:
    """The files of the worklist with this content; copies share it.

    Raises:
        HTTPException: 404, when there is no such image, or all of its files are gone.
    """
    review = served_review(state)

    def look() -> tuple[list[KnownOrigin], list[KnownOrigin]]:
        known = review.sources(key)
        return known, [file for file in known if file.exists()]

    known, there = await state.reading(look)()
    if not known:
        raise HTTPException(404, "no image of the worklist has this key")
    if not there:
        raise HTTPException(
            404,
            f"the file '{known[0]}' is no longer where it was screened ({review.folder.info().root}); put it back to "
            "see more than the preview",
        )
    return there


async def of_first_file(
    files: Sequence[KnownOrigin], read: Callable[[Callable[[], Awaitable[Origin]]], Awaitable[Read | Unreadable]]
) -> Read:
    """What reading gives of the first of the files that still has its content.

    Raises:
        HTTPException: when none can be read.
    """
    refused: list[Unreadable] = []
    for file in files:

        async def found(file: KnownOrigin = file) -> Origin:
            return file

        answer = await read(found)
        if not isinstance(answer, Unreadable):
            return answer
        refused.append(answer)
        if answer.cause is not Cause.CHANGED:
            break
    raise HTTPException(STATUS[refused[-1].cause], refused[-1].reason)


@contextlib.asynccontextmanager
async def held(slots: Slots) -> AsyncIterator[None]:
    """A slot inside the block."""
    await slots.take()
    try:
        yield
    finally:
        slots.release()
