"""Images decoded in processes of their own, which may die or hang: each costs its own request alone."""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from cxrlens.inputs.origin import Origin
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.processes import LostTaskError, WorkerProcess
from cxrlens.inputs.readers import OversizedImageError, decode, stream_size
from cxrlens.inputs.readers.full_depth import read_full_depth
from cxrlens.inputs.reading import Cause, Unreadable, attempt, lost
from cxrlens.inspection.inspector import GreyBatch
from cxrlens.screening.reading import PREVIEW_SIDE, preview
from cxrlens.serving.depth import packed
from cxrlens.serving.settings import ServerSettings

STATUS = {
    Cause.DAMAGED: 422,
    Cause.LOST: 422,
    Cause.UNKNOWN_FORMAT: 415,
    Cause.TOO_LARGE: 413,
    Cause.NO_MEMORY: 413,
    Cause.CHANGED: 409,
}
"""The HTTP status of an image that cannot be read."""

_PATIENCE = 2.0  # seconds


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
class AtFullDepth:
    """An image that is wanted at full resolution and depth, as `packed` gives it, ``compressed`` or not."""

    origin: Origin
    compressed: bool

    def __str__(self) -> str:
        return str(self.origin)


Wanted: TypeAlias = Origin | AtFullDepth


@dataclass(frozen=True)
class Decode:
    """Decodes an image, in a process: to what every command sees of it, or at full resolution and depth."""

    preprocessing: Preprocessing
    max_pixels: int

    def __call__(self, wanted: Wanted) -> DecodedUpload | bytes:
        origin = wanted.origin if isinstance(wanted, AtFullDepth) else wanted
        content, name = origin.read(), str(origin)
        height, width = stream_size(io.BytesIO(content), name)
        if height * width > self.max_pixels:
            raise OversizedImageError(
                f"{name}: the picture is {width} x {height} pixels, more than the {self.max_pixels / 1e6:g} "
                "million that this server decodes"
            )
        if isinstance(wanted, AtFullDepth):
            return packed(read_full_depth(content, name), compressed=wanted.compressed)
        return self._decoded(content, name, height, width)

    def _decoded(self, content: bytes, name: str, height: int, width: int) -> DecodedUpload:
        image = decode(content, name, at_least=self.preprocessing.decoded_at_least)
        grey = self.preprocessing.resized(image.pixels, (image.height, image.width))
        shown = image.pixels
        if max(shown.shape) < min(PREVIEW_SIDE, max(height, width)):  # was reduced below the preview
            shown = decode(content, name, at_least=(PREVIEW_SIDE, PREVIEW_SIDE)).pixels
        return DecodedUpload(grey, image.height, image.width, image.origin, preview(shown), image.remarks)


@dataclass(frozen=True, eq=False)
class _Decoder:
    """A process, and the one thread that speaks with it."""

    process: WorkerProcess[Wanted, DecodedUpload | bytes | Unreadable]
    thread: ThreadPoolExecutor


class Decoders:
    """So many processes, each of which decodes one image at a time; an asynchronous context manager."""

    def __init__(self, decode: Callable[[Wanted], DecodedUpload | bytes], settings: ServerSettings) -> None:
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

    async def decoded(self, find: Callable[[], Awaitable[Origin]]) -> DecodedUpload | Unreadable:
        """Decode an image as soon as a process is free; ``find`` gives it, and what it holds is not held before.

        Raises:
            NoProcessError: when a process has ended and the system gives no other one; the next image tries again.
        """
        found = await self._answer(find)
        assert not isinstance(found, bytes)
        return found

    async def at_full_depth(self, find: Callable[[], Awaitable[Origin]], *, compressed: bool) -> bytes | Unreadable:
        """An image at full resolution and depth, see `packed`; else as `decoded`."""

        async def wanted() -> AtFullDepth:
            return AtFullDepth(await find(), compressed)

        found = await self._answer(wanted)
        assert not isinstance(found, DecodedUpload)
        return found

    async def _answer(self, find: Callable[[], Awaitable[Wanted]]) -> DecodedUpload | bytes | Unreadable:
        decoder = await self._free.get()
        try:
            wanted = await find()
            answer = decoder.thread.submit(decoder.process, wanted)
        except BaseException:
            self._free.put_nowait(decoder)
            raise
        loop = asyncio.get_running_loop()  # the process is free when it has answered, also one who waits no more
        answer.add_done_callback(lambda _: loop.call_soon_threadsafe(self._free.put_nowait, decoder))
        try:
            return await asyncio.wrap_future(answer)
        except LostTaskError as error:
            return lost(wanted, str(error))
