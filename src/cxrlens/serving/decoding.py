"""Uploads become pictures in processes of their own, which may die or hang: each costs its own upload alone."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import OversizedImageError, UnknownFormatError, content_size, decode
from cxrlens.inputs.workers import call, process_pool
from cxrlens.inspection.inspector import GreyBatch
from cxrlens.screening.reading import PREVIEW_SIDE, preview
from cxrlens.serving.settings import ServerSettings

_NAME = "the upload"  # stands for the file in messages; its own name may be a patient's


@dataclass(frozen=True, eq=False)
class Picture:
    """An upload that could be read.

    Attributes:
        grey: float32 [1, h, w] in [0, 1] at the network's input size.
        height: of the stored image as seen upright; likewise ``width``.
        origin: the kind of file, see `Radiograph.origin`.
        preview: grey JPEG.
    """

    grey: GreyBatch
    height: int
    width: int
    origin: str
    preview: bytes


@dataclass(frozen=True)
class Refusal:
    """Why an upload could not be read: the HTTP status and a sentence."""

    status: int
    reason: str


@dataclass(frozen=True)
class Decode:
    """What a process does with the content of an upload; it sees the picture that every command sees."""

    preprocessing: Preprocessing
    max_pixels: int

    def __call__(self, content: bytes) -> Picture | Refusal:
        try:
            height, width = content_size(content, _NAME)
            if height * width > self.max_pixels:
                return Refusal(
                    413,
                    f"{_NAME}: the picture is {width} x {height} pixels, more than the {self.max_pixels / 1e6:g} "
                    "million that this server decodes",
                )
            image = decode(content, _NAME, at_least=self.preprocessing.decoded_at_least)
            grey = self.preprocessing.resized(image.pixels, (image.height, image.width))
            shown = image.pixels
            if max(shown.shape) < min(PREVIEW_SIDE, max(height, width)):  # was reduced below the preview
                shown = decode(content, _NAME, at_least=(PREVIEW_SIDE, PREVIEW_SIDE)).pixels
            return Picture(grey, image.height, image.width, image.origin, preview(shown))
        except OversizedImageError as error:
            return Refusal(413, str(error))
        except UnknownFormatError as error:
            return Refusal(415, str(error))
        except UnreadableImageError as error:
            return Refusal(422, str(error))
        except MemoryError:
            return Refusal(413, f"{_NAME}: there is not enough memory to read it")


@dataclass(frozen=True, eq=False)
class _Process:
    """A pool of one process, and what is done as soon as that has started."""

    pool: ProcessPoolExecutor
    started: Future[int]


class Decoders:
    """So many processes, each of which decodes one upload at a time; an asynchronous context manager."""

    def __init__(self, decode: Decode, settings: ServerSettings) -> None:
        self._decode = decode
        self._settings = settings
        # Never a fork of this process, whose threads may hold locks.
        self._context = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
        if sys.platform != "win32":
            self._context.set_forkserver_preload([__name__])
        self._free: asyncio.Queue[_Process] = asyncio.Queue()
        self._all: set[_Process] = set()

    async def __aenter__(self) -> Decoders:
        for _ in range(self._settings.decoders):
            self._free.put_nowait(self._new())
        return self

    async def __aexit__(self, *_: object) -> None:
        # The interpreter waits for them at its end anyway, and complains about pools that are half shut down.
        ends = (asyncio.to_thread(process.pool.shutdown, cancel_futures=True) for process in self._all)
        await asyncio.gather(*ends)

    async def picture(self, read: Callable[[], Awaitable[bytes]]) -> Picture | Refusal:
        """Decode an upload as soon as a process is free; ``read`` gives its content, which is not held before."""
        process = await self._free.get()
        try:
            content = await read()
            for _ in range(2):  # the first process may have died of something else
                began = None
                try:
                    await asyncio.wrap_future(process.started)
                    began = time.monotonic()
                    return await asyncio.wrap_future(process.pool.submit(call, content))
                except BrokenProcessPool:
                    process = self._replaced(process)
                    if began is not None and time.monotonic() - began >= self._settings.decode_seconds:
                        return Refusal(422, f"{_NAME}: reading it took longer than {self._settings.decode_seconds:g} s")
            return Refusal(422, f"{_NAME}: reading it ended the process (badly damaged, or too large for the memory)")
        finally:
            self._free.put_nowait(process)

    def _new(self) -> _Process:
        pool = process_pool(self._decode, 1, seconds=self._settings.decode_seconds, context=self._context)
        process = _Process(pool, pool.submit(os.getpid))
        self._all.add(process)
        return process

    def _replaced(self, broken: _Process) -> _Process:
        self._all.remove(broken)
        broken.pool.shutdown(wait=False)
        return self._new()
