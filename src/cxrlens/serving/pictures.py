"""Routes of pictures at full resolution and depth, read from their files when they are asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, File, HTTPException, Request, UploadFile
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from cxrlens.inputs.origin import ContentOrigin, Origin
from cxrlens.inputs.reading import Unreadable
from cxrlens.serving.checking import UPLOAD
from cxrlens.serving.decoding import STATUS
from cxrlens.serving.files import KeyInPath, of_first_file, sources
from cxrlens.serving.problems import described
from cxrlens.serving.slots import Slots
from cxrlens.serving.state import ServerState
from cxrlens.serving.uploads import PIXELS_PATH

_TYPE = "application/octet-stream"
_PART = 1 << 20  # bytes that are sent at once

_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A line of JSON (width, height, slope, intercept, windows, spacing ...), then the levels: "
        "16 bits each, little-endian, row by row.",
        "content": {_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}


class _Pixels(StreamingResponse):
    """A picture, sent part by part; its slot is free when it has been sent, or the client has gone."""

    def __init__(self, content: bytes, compressed: bool, slots: Slots) -> None:
        headers = {"Content-Length": str(len(content))} | ({"Content-Encoding": "gzip"} if compressed else {})
        super().__init__(_parts(content), media_type=_TYPE, headers=headers)
        self._slots = slots

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._slots.release()


async def _parts(content: bytes) -> AsyncIterator[bytes]:
    for begin in range(0, len(content), _PART):
        yield content[begin : begin + _PART]


def routes(state: ServerState) -> APIRouter:
    """The routes of a server."""
    router = APIRouter(tags=["pictures"])

    async def answer(sent: Request, read: Callable[[bool], Awaitable[bytes]]) -> _Pixels:
        compressed = not state.settings.is_local and _takes_gzip(sent)  # which would only cost time on one computer
        await state.pictures.take()
        try:
            return _Pixels(await read(compressed), compressed, state.pictures)
        except BaseException:
            state.pictures.release()
            raise

    @router.get(
        "/api/worklist/{key}/pixels",
        response_class=StreamingResponse,
        responses={**_ANSWER, **described(404, 409, 413, 415, 422, 503)},
    )
    async def pixels(sent: Request, key: KeyInPath) -> _Pixels:
        """An image of the worklist at full resolution and depth, from the file that was screened.

        The file has to be where it was screened (404), and as it was (409).
        """
        files = await sources(state, key)
        return await answer(
            sent,
            lambda compressed: of_first_file(files, partial(state.decoders.at_full_depth, compressed=compressed)),
        )

    @router.post(
        PIXELS_PATH,
        response_class=StreamingResponse,
        responses={**_ANSWER, **described(400, 403, 408, 413, 415, 422, 503)},
    )
    async def pixels_of_upload(
        sent: Request,
        file: Annotated[UploadFile, File(description="JPEG, PNG, TIFF, BMP, WebP or DICOM; its content says which.")],
    ) -> _Pixels:
        """The same of an uploaded image, of which nothing is kept."""

        async def upload() -> Origin:
            return ContentOrigin(UPLOAD, await file.read())

        async def read(compressed: bool) -> bytes:
            found = await state.decoders.at_full_depth(upload, compressed=compressed)
            if isinstance(found, Unreadable):
                raise HTTPException(STATUS[found.cause], found.reason)
            return found

        return await answer(sent, read)

    return router


def _takes_gzip(sent: Request) -> bool:
    taken = (each.partition(";") for each in sent.headers.get("accept-encoding", "").lower().split(","))
    return any(name.strip() == "gzip" and rest.replace(" ", "") != "q=0" for name, _, rest in taken)
