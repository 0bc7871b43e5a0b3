"""JPEG, PNG, TIFF, BMP and WebP: unusual kinds, turned pictures, reduced decoding, and what is refused."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.readers import doubts, image_size, radiograph, read
from cxrlens.inputs.readers.jpeg import structure_of
from cxrlens.inputs.readers.quiet import without_warnings
from image_files import encoded
from waiting import PATIENCE

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
RAMP = np.linspace(0, 255, 40 * 60).reshape(40, 60).astype(np.uint8)  # no symmetry
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=2)


def tagged(pixels: npt.NDArray[np.generic], **tags: int) -> bytes:
    """A TIFF with tags set."""
    names = {"photometric": 262, "orientation": 274}
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in tags.items():
        directory[names[name]] = value
    return encoded(Image.fromarray(pixels), "TIFF", tiffinfo=directory)


def turned(kind: str, orientation: int, pixels: npt.NDArray[np.uint8] = RAMP) -> bytes:
    if kind == "TIFF":
        return tagged(pixels, orientation=orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(Image.fromarray(pixels), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("JPEG", {"quality": 97}, 0.01),
        ("JPEG", {"quality": 97, "subsampling": 0, "progressive": True}, 0.01),
        ("JPEG", {"quality": 97, "keep_rgb": True}, 0.01),
        ("PNG", {}, 0.0021),  # half a level
        ("BMP", {}, 0.0021),
        ("WEBP", {"lossless": True}, 0.0021),
        ("TIFF", {"compression": "tiff_lzw"}, 0.0021),
        ("TIFF", {"compression": "jpeg", "quality": 97}, 0.01),
    ],
)
def test_colours_of_every_kind_become_luma(kind: str, options: dict[str, object], tolerance: float) -> None:
    image = read(encoded(Image.fromarray(COLOURS), kind, **options))
    np.testing.assert_allclose(image.pixels, COLOURS @ np.array(LUMA) / 255, rtol=0, atol=tolerance)
    assert (image.origin, image.bit_depth) == ("WebP" if kind == "WEBP" else kind, 8)
    assert (image.polarity, image.orientation, image.spacing) == ("bright = dense", None, None)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_16_bit_tiff_equals_the_8_bit_one(compression: str) -> None:
    deep = read(encoded(Image.fromarray(RAMP.astype(np.uint16) * 257), "TIFF", compression=compression))
    np.testing.assert_allclose(deep.pixels, RAMP / 255, rtol=0, atol=1e-6)
    assert deep.bit_depth == 16


@given(st.integers(0, 65535), st.integers(4096, 65535))
@settings(max_examples=30, deadline=None)
def test_a_16_bit_png_equals_the_8_bit_one_up_to_quantisation(low: int, high: int) -> None:
    deep = np.linspace(low, high, 77).reshape(7, 11).astype(np.uint16)
    shallow = np.rint(deep / 257).astype(np.uint8)
    both = [read(encoded(Image.fromarray(pixels), "PNG")).pixels for pixels in (deep, shallow)]
    np.testing.assert_allclose(*both, rtol=0, atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(both[0], deep / 65535, rtol=0, atol=1e-6)


def test_fractions_in_tiff() -> None:
    fractions = (RAMP / 255).astype(np.float32)
    image = read(encoded(Image.fromarray(fractions), "TIFF"))
    np.testing.assert_array_equal(image.pixels, fractions)
    assert image.bit_depth == 32


@pytest.mark.parametrize("kind", ["8", "16", "fractions"])
def test_white_is_zero_in_tiff_is_turned_round(kind: str) -> None:
    pixels = {"8": RAMP, "16": RAMP.astype(np.uint16) * 257, "fractions": (RAMP / 255).astype(np.float32)}[kind]
    content = tagged(pixels, photometric=0)
    with Image.open(io.BytesIO(content)) as opened:
        start = opened.tag_v2[273][0]
    stored = np.frombuffer(content[start : start + pixels.nbytes], pixels.dtype).reshape(pixels.shape)
    assert stored[0, 0] != stored[-1, -1]
    image = read(content)
    np.testing.assert_allclose(image.pixels, 1 - stored / pixels.max(), rtol=0, atol=1e-6)
    assert image.polarity == "white is zero"


@pytest.mark.parametrize("kind", ["TIFF", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_pictures_of_every_kind_stand_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    """The EXIF table: where the stored row 0 and column 0 belong (Exif 2.32, tag 0x0112)."""
    image = read(turned(kind, orientation))
    row_0, column_0 = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[orientation]
    # The ramp grows by rows, and slowly within a row: its first sample is darkest, its last brightest.
    means = {
        "top": image.pixels[0].mean(),
        "bottom": image.pixels[-1].mean(),
        "left": image.pixels[:, 0].mean(),
        "right": image.pixels[:, -1].mean(),
    }
    assert min(means, key=lambda side: means[side]) == row_0
    along = {"top": "bottom", "bottom": "top", "left": "right", "right": "left"}
    assert means[column_0] < means[along[column_0]]
    path = tmp_path / "turned"
    path.write_bytes(turned(kind, orientation))
    assert image_size(path) == image.pixels.shape == (image.height, image.width)
    assert image.pixels.shape == ((40, 60) if orientation < 5 else (60, 40))
    assert image.orientation == f"EXIF {orientation}"


@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(1, 100), st.integers(1, 100)),
    st.sampled_from([1, 3, 6, 8]),
)
@settings(max_examples=60, deadline=None)
def test_a_reduced_jpeg_is_large_enough_and_keeps_its_record(
    size: tuple[int, int], at_least: tuple[int, int], orientation: int
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    content = turned("JPEG", orientation, pixels)
    whole, reduced = read(content), read(content, at_least=at_least)
    assert (reduced.height, reduced.width) == (whole.height, whole.width) == whole.pixels.shape
    assert (reduced.origin, reduced.orientation) == (whole.origin, whole.orientation)
    for got, full, wanted in zip(reduced.pixels.shape, whole.pixels.shape, at_least, strict=True):
        assert got >= min(wanted, full)
    assert reduced.pixels.shape in {
        (max(int(whole.height / s + 0.5), 1), max(int(whole.width / s + 0.5), 1)) for s in (1, 2, 4, 8)
    }
    if min(full / wanted for full, wanted in zip(whole.pixels.shape, at_least, strict=True)) < 2:
        np.testing.assert_array_equal(reduced.pixels, whole.pixels)


def test_a_reduced_jpeg_is_the_average_of_its_blocks() -> None:
    smooth = np.add.outer(np.linspace(0, 120, 96), np.linspace(0, 130, 160)).astype(np.uint8)
    content = encoded(Image.fromarray(smooth), "JPEG", quality=98)
    for factor in (2, 4, 8):
        reduced = read(content, at_least=(96 // factor, 160 // factor)).pixels
        blocks = smooth.reshape(96 // factor, factor, 160 // factor, factor).mean(axis=(1, 3)) / 255
        np.testing.assert_allclose(reduced, blocks, rtol=0, atol=0.01)


def test_other_kinds_are_never_reduced() -> None:
    for kind in ("PNG", "TIFF", "BMP", "WEBP"):
        assert read(encoded(Image.fromarray(RAMP), kind), at_least=(2, 2)).pixels.shape == (40, 60)


def test_a_phone_s_two_pictures_in_one_jpeg_are_the_first() -> None:
    content = encoded(
        Image.fromarray(RAMP), "MPO", quality=97, save_all=True, append_images=[Image.fromarray(255 - RAMP)]
    )
    image = read(content)
    np.testing.assert_allclose(image.pixels, RAMP / 255, rtol=0, atol=0.01)
    assert image.origin == "JPEG"


def png_header(width: int, height: int) -> bytes:
    """A PNG that says to be of some size, and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (encoded(Image.fromarray(RAMP), "TIFF", save_all=True, append_images=[Image.fromarray(RAMP)]),
         "holds 2 pictures; save the radiograph as a file of its own"),
        (encoded(Image.fromarray(RAMP), "WEBP", save_all=True, append_images=[Image.fromarray(255 - RAMP)]),
         "holds 2 pictures"),
        (encoded(Image.fromarray(RAMP), "PNG", save_all=True, append_images=[Image.fromarray(255 - RAMP)]),
         "holds 2 pictures"),
        (encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), r"do not lie in \[0, 1\]; scale them"),
        (encoded(Image.fromarray(np.full((3, 4), np.nan, np.float32)), "TIFF"), r"do not lie in \[0, 1\]"),
        (encoded(Image.fromarray(RAMP.astype(np.int32)), "TIFF"), "a sign or 32 bits; save it with 8 or 16 bits"),
        (encoded(Image.fromarray(RAMP), "GIF"), r"no image that can be read \(JPEG, PNG, TIFF, BMP, WebP, DICOM\)"),
        (png_header(10_001, 10_000), "10001 x 10000 pixels, more than 100 million; save it at a smaller size"),
        (png_header(60_000, 60_000), "more than 100 million pixels; save it at a smaller size"),
        (png_header(100, 100), "truncated"),
    ],
    ids=["pages", "film", "moving", "fractions", "NaN", "32 bits", "GIF", "large", "bomb", "hollow"],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=f"^{path}: .*{reason}"):
        read(path)
    if "pictures" in reason or "million" in reason:
        with pytest.raises(UnreadableImageError, match=reason):
            image_size(path)


def test_no_picture_is_decoded_before_its_size_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", never)
    monkeypatch.setattr(radiograph, "MAX_PIXELS", 2399)
    with pytest.raises(UnreadableImageError, match="60 x 40 pixels, more than"):
        read(encoded(Image.fromarray(RAMP), "PNG"))


def test_no_warning_is_heard_and_the_filters_are_put_back() -> None:
    """Also where two threads read at once, the one that began first ending first."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        first_inside, second_inside, first_left = (threading.Event() for _ in range(3))
        heard: list[Warning] = []

        def first() -> None:
            with without_warnings():
                first_inside.set()
                second_inside.wait(PATIENCE)
            first_left.set()

        def second() -> None:
            first_inside.wait(PATIENCE)
            with without_warnings():
                second_inside.set()
                first_left.wait(PATIENCE)
                try:
                    warnings.warn("a small deviation", stacklevel=1)
                except UserWarning as warning:
                    heard.append(warning)

        threads = [threading.Thread(target=each) for each in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert heard == []
        assert list(warnings.filters) == before


# -- damaged JPEGs ----------------------------------------------------------------------------------------------------

BLURRED = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40), dtype=np.uint8)).resize((320, 240))
BLACK_BELOW = Image.fromarray(np.pad(np.asarray(BLURRED), ((0, 200), (30, 60))))  # as behind a collimator
KINDS: dict[str, dict[str, object]] = {
    "sequential": {},
    "optimised": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts by row": {"restart_marker_rows": 1},
    "restarts by block": {"restart_marker_blocks": 5},
    "progressive with restarts": {"progressive": True, "restart_marker_rows": 2},
    "coarse": {"quality": 5},
}
PICTURES = {
    "grey": BLURRED,
    "black below": BLACK_BELOW,
    "black": Image.new("L", (700, 500)),
    "colours": Image.merge("RGB", [BLURRED, BLURRED.transpose(Image.Transpose.ROTATE_180), BLURRED]),
    "CMYK": BLURRED.convert("RGB").convert("CMYK"),
    "tiny": BLURRED.crop((0, 0, 9, 5)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("picture", PICTURES)
def test_sound_jpegs_of_every_kind_are_read(picture: str, kind: str) -> None:
    """Also with bytes behind their end, and when they are decoded at a smaller size."""
    content = encoded(PICTURES[picture], "JPEG", **KINDS[kind])
    with Image.open(io.BytesIO(content)) as opened:
        expected = np.asarray(opened.convert("L") if opened.mode == "RGB" else opened)
    for behind in (b"", bytes(100), b"\xff\xd9 and more", content):
        whole = read(content + behind)
        if opened.mode == "L":
            np.testing.assert_array_equal(whole.pixels, expected.astype(np.float32) / np.float32(255))
        assert read(content + behind, at_least=(20, 20)).width == whole.width


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("picture", ["grey", "colours", "black below"])
@pytest.mark.parametrize("damage", ["half and an end", "zeros", "half written", "half written with an end"])
def test_jpegs_of_which_a_part_is_missing_are_refused(picture: str, kind: str, damage: str) -> None:
    content = encoded(PICTURES[picture], "JPEG", **KINDS[kind])
    begin, size = content.index(b"\xff\xda"), len(content)
    first, last = begin + (size - begin) * 3 // 10, begin + (size - begin) * 6 // 10
    broken = {
        "half and an end": content[: size // 2] + b"\xff\xd9",
        "zeros": content[:first] + bytes(last - first) + content[last:],
        "half written": content[: size // 2] + bytes(size - size // 2),
        "half written with an end": content[: size // 2] + bytes(size - size // 2 - 2) + b"\xff\xd9",
    }[damage]
    for at_least in (None, (20, 20)):
        with pytest.raises(UnreadableImageError, match=r"damaged|truncated"):
            read(broken, at_least=at_least)


@pytest.mark.parametrize("rows", [240, 64], ids=["one strip", "strips"])
@pytest.mark.parametrize("picture", ["grey", "colours"])
@pytest.mark.parametrize("damage", ["zeros", "an end", "half written"])
def test_a_tiff_of_damaged_jpegs_is_refused(damage: str, picture: str, rows: int) -> None:
    content = encoded(PICTURES[picture], "TIFF", compression="jpeg", quality=80, tiffinfo={278: rows})
    with Image.open(io.BytesIO(content)) as opened:
        offsets, sizes = opened.tag_v2[273], opened.tag_v2[279]  # type: ignore[attr-defined]
        expected = np.asarray(opened.convert("L"), np.float32) / np.float32(255)
    assert len(offsets) == -(-240 // rows)
    np.testing.assert_array_equal(read(content).pixels, expected)
    begin, end = offsets[-1] + sizes[-1] // 2, offsets[-1] + sizes[-1]
    fill = {"zeros": bytes(sizes[-1] // 3), "an end": b"\xff\xd9", "half written": bytes(end - begin)}[damage]
    with pytest.raises(UnreadableImageError, match=r"damaged|truncated"):
        read(content[:begin] + fill + content[begin + len(fill) :])


def test_a_progressive_jpeg_is_read_wherever_its_codes_are_parted() -> None:
    """A byte of 255 among codes and the zero behind it belong together, also where the last codes begin."""
    parted = []
    for seed in range(500):
        blocks = np.random.default_rng(seed).integers(0, 256, (12, 12), dtype=np.uint8)
        content = encoded(Image.fromarray(blocks.repeat(8, 0).repeat(8, 1)), "JPEG", progressive=True, quality=98)
        scan = structure_of(content).scans[0]
        if scan.end - scan.begin > 65 and content[scan.end - 65 : scan.end - 63] == b"\xff\0":
            parted.append(content)
    assert parted
    for content in parted:
        assert read(content).pixels.shape == (96, 96)


def test_a_progressive_jpeg_with_a_strange_marker_among_its_codes_is_refused() -> None:
    content = encoded(BLURRED, "JPEG", progressive=True)
    middle = (content.index(b"\xff\xda") + len(content)) // 2
    for marker in (b"\xff\xd8", b"\xff\x80\x00\x02", b"\xff\xf3\x00\x02"):
        with pytest.raises(UnreadableImageError, match="damaged"):
            read(content[:middle] + marker + content[middle + len(marker) :])


# -- what is displayed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize(("top", "bits"), [(255, 8), (256, 12), (4095, 12), (4096, 16), (65535, 16)])
def test_values_of_fewer_bits_in_words_of_16(kind: str, top: int, bits: int) -> None:
    deep = np.rint(RAMP / 255 * top).astype(np.uint16)
    image = read(encoded(Image.fromarray(deep), kind))
    np.testing.assert_allclose(image.pixels, deep / (2**bits - 1), rtol=0, atol=1e-6)
    assert image.bit_depth == bits
    taken = f"It is said to have 16 bits, and its values reach {top}; the range of {bits} bits was taken."
    assert (taken in image.remarks) == (bits < 16)
    assert taken not in doubts(image.remarks)
    assert any("nearly black" in remark for remark in image.remarks) == (top in (256, 4096))


def test_a_sound_picture_has_no_remarks() -> None:
    for kind in ("JPEG", "PNG", "TIFF", "BMP", "WEBP"):
        assert read(encoded(BLURRED, kind)).remarks == ()
    flat = read(encoded(Image.new("L", (30, 20), 51), "PNG")).remarks
    assert flat[-1] == "All its pixels have the same value, 20 % of the full range: nothing is to be seen."


def test_pixels_that_lie_between_the_samples_count() -> None:
    """Of a picture of 600 rows and columns every second one is looked at, and where these are dark, all."""
    for value in (40, 255):  # most pixels are dark in either case
        pixels = np.full((600, 600), 51, dtype=np.uint8)
        pixels[1::2, 1::2] = value
        remarks = " ".join(read(encoded(Image.fromarray(pixels), "PNG")).remarks)
        assert "same value" not in remarks
        assert "nearly black" in remarks
    pixels = np.full((600, 600), 110, dtype=np.uint8)
    pixels[::4, ::4] = 20
    assert "nearly black" in " ".join(read(encoded(Image.fromarray(pixels), "PNG")).remarks)
    pixels[1, 1] = 255
    assert "nearly black" not in " ".join(read(encoded(Image.fromarray(pixels), "PNG")).remarks)
