"""Uploads decoded in processes of their own, which may die or hang: each costs its own upload alone."""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from cxrlens.inputs.origin import ContentOrigin, Origin
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.processes import LostTaskError, WorkerProcess
from cxrlens.inputs.readers import OversizedImageError, decode, stream_size
from cxrlens.inputs.reading import Cause, Unreadable, attempt, lost
from cxrlens.inspection.inspector import GreyBatch
from cxrlens.screening.reading import PREVIEW_SIDE, preview
from cxrlens.serving.settings import ServerSettings

STATUS = {
    Cause.DAMAGED: 422,
    Cause.LOST: 422,
    Cause.UNKNOWN_FORMAT: 415,
    Cause.TOO_LARGE: 413,
    Cause.NO_MEMORY: 413,
}
"""The HTTP status of an upload that cannot be read."""

_PATIENCE = 2.0  # seconds
_NAME = "the upload"  # stands for the file in messages; its own name may be a patient's


@dataclass(frozen=True, eq=False)
class DecodedUpload:
    """An upload that could be read.

    Attributes:
        grey: float32 [1, h, w] in [0, 1] at the network's input size.
        height: of the stored image as seen upright; likewise ``width``.
        origin: the kind of file, see `Radiograph.origin`.
        preview: grey JPEG.
        remarks: see `Radiograph.remarks`.
    """

    grey: GreyBatch
    height: int
    width: int
    origin: str
    preview: bytes
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decode:
    """Decodes an upload, in a process, to the image that every command sees."""

    preprocessing: Preprocessing
    max_pixels: int

    def __call__(self, origin: Origin) -> DecodedUpload:
        content, name = origin.read(), str(origin)
        with origin.open() as stream:
            height, width = stream_size(stream, name)
        if height * width > self.max_pixels:
            raise OversizedImageError(
                f"{name}: the picture is {width} x {height} pixels, more than the {self.max_pixels / 1e6:g} "
                "million that this server decodes"
            )
        image = decode(content, name, at_least=self.preprocessing.decoded_at_least)
        grey = self.preprocessing.resized(image.pixels, (image.height, image.width))
        shown = image.pixels
        if max(shown.shape) < min(PREVIEW_SIDE, max(height, width)):  # was reduced below the preview
            shown = decode(content, name, at_least=(PREVIEW_SIDE, PREVIEW_SIDE)).pixels
        return DecodedUpload(grey, image.height, image.width, image.origin, preview(shown), image.remarks)


@dataclass(frozen=True, eq=False)
class _Decoder:
    """A process, and the one thread that speaks with it."""

    process: WorkerProcess[Origin, DecodedUpload | Unreadable]
    thread: ThreadPoolExecutor


class Decoders:
    """So many processes, each of which decodes one upload at a time; an asynchronous context manager."""

    def __init__(self, decode: Callable[[Origin], DecodedUpload], settings: ServerSettings) -> None:
        self._decode = decode
        self._settings = settings
        # Never a fork of this process, whose threads may hold locks.
        self._context = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
        if sys.platform != "win32":
            self._context.set_forkserver_preload([__name__])
        self._free: asyncio.Queue[_Decoder] = asyncio.Queue()
        self._all: list[_Decoder] = []

    async def __aenter__(self) -> Decoders:
        for _ in range(self._settings.decoders):
            process = WorkerProcess(
                partial(attempt, self._decode),
                seconds=self._settings.decode_seconds,
                context=self._context,
                patience=_PATIENCE,
            )
            decoder = _Decoder(process, ThreadPoolExecutor(1, thread_name_prefix="decoder"))
            decoder.thread.submit(int).result()  # it is there from now on, whatever becomes short
            self._all.append(decoder)
            self._free.put_nowait(decoder)
        return self

    async def __aexit__(self, *_: object) -> None:
        for decoder in self._all:
            decoder.process.close()
        for decoder in self._all:
            await asyncio.to_thread(decoder.thread.shutdown)

    async def decoded(self, read: Callable[[], Awaitable[bytes]]) -> DecodedUpload | Unreadable:
        """Decode an upload as soon as a process is free; ``read`` gives its content, which is not held before.

        Raises:
            NoProcessError: when a process has ended and the system gives no other one; the next upload tries again.
        """
        decoder = await self._free.get()
        try:
            origin = ContentOrigin(_NAME, await read())
            answer = decoder.thread.submit(decoder.process, origin)
        except BaseException:
            self._free.put_nowait(decoder)
            raise
        loop = asyncio.get_running_loop()  # the process is free when it has answered, also one who waits no more
        answer.add_done_callback(lambda _: loop.call_soon_threadsafe(self._free.put_nowait, decoder))
        try:
            return await asyncio.wrap_future(answer)
        except LostTaskError as error:
            return lost(origin, str(error))
