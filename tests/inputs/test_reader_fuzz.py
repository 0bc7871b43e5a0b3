"""Damaged files: each gives a picture or a reason, nothing else, and none keeps the reader busy."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.readers import read
from image_files import dicom, dicom_bytes, encoded
from waiting import PATIENCE

SECONDS = round(PATIENCE)  # a picture of this size takes milliseconds
PIXELS = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (31, 24), dtype=np.uint8)).resize((94, 122))
)
DEEP = PIXELS.astype(np.uint16) * 257
COLOURS = np.stack([PIXELS, PIXELS[::-1], PIXELS[:, ::-1]], axis=2)


def seeds() -> dict[str, bytes]:
    """A sound file of each kind."""
    dataset = dicom(PIXELS.astype(np.uint16), WindowCenter="127", WindowWidth="255", RescaleSlope=1,
                    RescaleIntercept=0, PixelPaddingValue=0, Modality="DX", ViewPosition="PA")  # fmt: skip
    shipped = Path(pydicom.__file__).with_name("data") / "test_files"
    return {
        "JPEG": encoded(Image.fromarray(PIXELS), "JPEG"),
        "progressive JPEG": encoded(Image.fromarray(COLOURS), "JPEG", progressive=True),
        "PNG": encoded(Image.fromarray(PIXELS), "PNG"),
        "16-bit PNG": encoded(Image.fromarray(DEEP), "PNG"),
        "TIFF": encoded(Image.fromarray(PIXELS), "TIFF"),
        "LZW TIFF": encoded(Image.fromarray(DEEP), "TIFF", compression="tiff_lzw"),
        "JPEG TIFF": encoded(Image.fromarray(COLOURS), "TIFF", compression="jpeg"),
        "WebP": encoded(Image.fromarray(PIXELS), "WEBP"),
        "BMP": encoded(Image.fromarray(PIXELS), "BMP"),
        "DICOM": dicom_bytes(dataset),
        "implicit DICOM": dicom_bytes(dataset, ImplicitVRLittleEndian),
        "deflated DICOM": dicom_bytes(dataset, DeflatedExplicitVRLittleEndian),
        "RLE DICOM": (shipped / "MR_small_RLE.dcm").read_bytes(),
        "JPEG 2000 DICOM": (shipped / "MR_small_jp2klossless.dcm").read_bytes(),
        "palette DICOM": (shipped / "examples_palette.dcm").read_bytes(),
    }


def damaged(content: bytes, dice: random.Random) -> bytes:
    """Cut short, or with bytes changed, in the header more than elsewhere."""
    if dice.random() < 0.3:
        content = content[: dice.randrange(1, len(content))]
    changed = bytearray(content)
    for _ in range(dice.choice((1, 3, 20))):
        changed[dice.randrange(len(changed) if dice.random() < 0.5 else min(len(changed), 1500))] = dice.randrange(256)
    return bytes(changed)


@contextmanager
def at_most(seconds: int, what: str) -> Iterator[None]:
    def late(_signal: int, _frame: FrameType | None) -> None:
        pytest.fail(f"{what}: took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", seeds())
def test_damaged_files_are_pictures_or_reasons(kind: str) -> None:
    content = seeds()[kind]
    assert read(content).pixels.any()
    dice = random.Random(kind)
    reasons: list[str] = []
    for _ in range(40):
        broken = damaged(content, dice)
        with at_most(SECONDS, kind):
            try:
                image = read(broken)
            except UnreadableImageError as error:
                reasons.append(str(error))
                continue
        assert image.pixels.dtype == np.float32
        assert image.pixels.shape == (image.height, image.width)
        assert 0 <= image.pixels.min() <= image.pixels.max() <= 1  # false for NaN
    assert len(reasons) > 5
    assert all(reason.isprintable() for reason in reasons)


@pytest.mark.parametrize("name", ["MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jpeg_gdcm.dcm"])
def test_damage_that_ends_a_codec_s_process(name: str) -> None:
    """gdcm, which may crash: fewer files, as each costs a process."""
    pytest.importorskip("gdcm")
    content = (Path(pydicom.__file__).with_name("data") / "test_files" / name).read_bytes()
    dice = random.Random(3)
    reasons = 0
    for _ in range(3):
        changed = bytearray(content)
        for _ in range(6):
            changed[content.index(b"\xff\xd8") + dice.randrange(2, 60)] = dice.randrange(256)
        try:
            assert read(bytes(changed)).pixels.min() >= 0
        except UnreadableImageError:
            reasons += 1
    assert reasons


@pytest.mark.skipif(sys.platform != "linux", reason="the bound is kept on Linux")
def test_the_memory_of_a_reading_process_is_bounded() -> None:
    script = (
        "from cxrlens.inputs.readers.memory import limit_memory\nimport numpy as np\n"
        "assert limit_memory(300 << 20)\nnp.ones(100 << 20, np.uint8)\n"
        "try: np.ones(400 << 20, np.uint8)\nexcept MemoryError: print('bounded')\n"
        "assert limit_memory(900 << 20)\n"  # a lower bound stays
        "try: np.ones(400 << 20, np.uint8)\nexcept MemoryError: print('still')"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["bounded", "still"]
