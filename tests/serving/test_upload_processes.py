"""Uploads are decoded in processes: one that dies or hangs costs its own upload alone."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
from serving_files import Poisoned, encoded, pixels

from cxrlens.inputs.origin import ContentOrigin
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.reading import Unreadable, attempt
from cxrlens.serving.decoding import STATUS, Decode, DecodedUpload, Decoders
from cxrlens.serving.settings import ServerSettings
from waiting import PATIENCE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


def read(content: bytes) -> Callable[[], Awaitable[ContentOrigin]]:
    async def reading() -> ContentOrigin:
        return ContentOrigin("the upload", content)

    return reading


def decode_all(contents: list[bytes], settings: ServerSettings) -> list[DecodedUpload | Unreadable]:
    async def run() -> list[DecodedUpload | Unreadable]:
        async with Decoders(Poisoned(), settings) as decoders:
            return list(await asyncio.gather(*(decoders.decoded(read(content)) for content in contents)))

    return asyncio.run(run())


def test_deaths_among_good_uploads() -> None:
    contents = [b"a" * length for length in range(1, 7)]
    mixed = [*contents[:2], b"die", *contents[2:4], b"die", *contents[4:]]
    answers = decode_all(mixed, ServerSettings(decoders=2, decode_seconds=PATIENCE))
    for content, answer in zip(mixed, answers, strict=True):
        if content == b"die":
            assert isinstance(answer, Unreadable)
            assert STATUS[answer.cause] == 422
            assert "ended the process" in answer.reason
        else:
            assert isinstance(answer, DecodedUpload)
            assert answer.preview == content
            assert answer.grey[0, 0, 0] == len(content)


def test_one_that_hangs_is_given_up_and_the_next_one_is_decoded() -> None:
    async def run() -> DecodedUpload | Unreadable:
        async with Decoders(Poisoned(), ServerSettings(decoders=1, decode_seconds=0.5)) as decoders:
            hanging = await decoders.decoded(read(b"hang"))
            while isinstance(answer := await decoders.decoded(read(b"good")), Unreadable):
                assert "longer than 0.5 s" in answer.reason  # of a machine that is so slow
            assert answer.preview == b"good"
            return hanging

    answer = asyncio.run(asyncio.wait_for(run(), PATIENCE))
    assert isinstance(answer, Unreadable)
    assert STATUS[answer.cause] == 422
    assert "longer than 0.5 s" in answer.reason


def test_a_process_that_died_of_something_else_is_replaced() -> None:
    async def run() -> DecodedUpload | Unreadable:
        before = set(multiprocessing.active_children())
        async with Decoders(Poisoned(), ServerSettings(decoders=1)) as decoders:
            assert isinstance(await decoders.decoded(read(b"x")), DecodedUpload)
            (process,) = set(multiprocessing.active_children()) - before
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            return await decoders.decoded(read(b"yy"))

    assert isinstance(asyncio.run(run()), DecodedUpload)


def test_a_content_is_read_when_its_turn_has_come() -> None:
    """So that waiting uploads take no memory."""
    held, most = 0, 0

    async def run() -> None:
        async def reading() -> ContentOrigin:
            nonlocal held, most
            held += 1
            most = max(most, held)
            return ContentOrigin("the upload", b"x")

        async def one(decoders: Decoders) -> None:
            nonlocal held
            await decoders.decoded(reading)
            held -= 1

        async with Decoders(Poisoned(), ServerSettings(decoders=1)) as decoders:
            await asyncio.gather(*(one(decoders) for _ in range(6)))

    asyncio.run(run())
    assert most <= 2  # the one before may not have counted itself out yet


def test_limits_and_kinds() -> None:
    decode = Decode(Preprocessing(height=24, width=32, resize="letterbox"), max_pixels=10_000)
    picture = decode(ContentOrigin("the upload", encoded(pixels(shape=(90, 100)))))
    assert isinstance(picture, DecodedUpload)
    assert picture.grey.shape == (1, 24, 32)
    assert picture.grey.dtype == np.float32
    large = attempt(decode, ContentOrigin("the upload", encoded(pixels(shape=(100, 101)))))
    assert isinstance(large, Unreadable)
    assert STATUS[large.cause] == 413
    assert "101 x 100" in large.reason
