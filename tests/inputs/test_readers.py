"""Readers: every kind of file gives the same grey picture, and damage gives one kind of error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.readers import IMAGE_SUFFIXES, Radiograph, from_array, image_size, read
from image_files import dicom, dicom_bytes, encoded

ODD = Path(__file__).parents[3] / "shared" / "data" / "odd"
GREY = np.random.default_rng(0).integers(0, 256, (13, 21), dtype=np.uint8)
GREY[0, :2] = 0, 255


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_grey_8_bit_is_exact(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(encoded(Image.fromarray(GREY), kind))
    image = read(path)
    assert image.pixels.dtype == np.float32
    np.testing.assert_array_equal(image.pixels, GREY.astype(np.float32) / 255)
    assert (image.height, image.width, image.source) == (13, 21, str(path))
    assert image_size(path) == (13, 21)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_16_bit_keeps_its_levels(kind: str) -> None:
    deep = np.random.default_rng(1).integers(0, 65536, (9, 5), dtype=np.uint16)
    deep[0, :3] = 0, 1, 65535
    np.testing.assert_allclose(read(encoded(Image.fromarray(deep), kind)).pixels, deep / 65535, atol=1e-7)
    same = GREY.astype(np.uint16) * 257  # the 8-bit picture in 16 bits
    np.testing.assert_allclose(read(encoded(Image.fromarray(same), kind)).pixels, GREY / 255, atol=1e-7)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "1"])
def test_grey_in_other_modes_is_the_same_picture(mode: str) -> None:
    source = GREY if mode != "1" else np.where(GREY > 127, 255, 0).astype(np.uint8)
    pixels = read(encoded(Image.fromarray(source).convert(mode), "PNG")).pixels
    np.testing.assert_allclose(pixels, source / 255, atol=1e-6)


def test_colours_become_luma() -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [12, 200, 90]]], dtype=np.uint8)
    expected = colours.astype(float) @ np.array([0.299, 0.587, 0.114]) / 255  # ITU-R BT.601
    for mode in ("RGB", "RGBA"):
        pixels = read(encoded(Image.fromarray(colours).convert(mode), "PNG")).pixels
        np.testing.assert_allclose(pixels, expected, atol=1 / 255)
    palette = Image.fromarray(colours).quantize(5)
    np.testing.assert_allclose(read(encoded(palette, "PNG")).pixels, expected, atol=1 / 255)


def test_cmyk_is_not_inverted() -> None:
    smooth = np.linspace(0, 255, 32 * 32).reshape(32, 32).astype(np.uint8)
    content = encoded(Image.fromarray(smooth).convert("RGB").convert("CMYK"), "JPEG", quality=95)
    np.testing.assert_allclose(read(content).pixels, smooth / 255, atol=0.03)


def test_transparent_pixels_are_black() -> None:
    layers = np.full((4, 4, 4), 200, dtype=np.uint8)
    layers[..., 3] = 255
    layers[:2, :, 3] = 0
    expected = np.zeros((4, 4))
    expected[2:] = 200 / 255
    np.testing.assert_allclose(read(encoded(Image.fromarray(layers), "PNG")).pixels, expected, atol=1e-6)
    palette = Image.new("P", (3, 1), 0)
    palette.putpalette([255, 255, 255, 100, 100, 100])
    palette.putpixel((1, 0), 1)
    pixels = read(encoded(palette, "PNG", transparency=0)).pixels
    np.testing.assert_allclose(pixels, [[0, 100 / 255, 0]], atol=1e-6)


# How the stored picture must be turned to be upright, by EXIF orientation (Exif 2.32, tag 0x0112)
UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_rotation_is_honoured_by_reader_and_size(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    path.write_bytes(encoded(Image.fromarray(GREY), "PNG", exif=exif))
    image = read(path)
    np.testing.assert_array_equal(image.pixels, UPRIGHT[orientation](GREY).astype(np.float32) / 255)
    assert image_size(path) == (image.height, image.width)


def test_one_pixel(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.new("L", (1, 1), 51), "PNG"))
    np.testing.assert_allclose(read(path).pixels, [[0.2]], atol=1e-7)
    assert image_size(path) == (1, 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"These are not pixels\n", "the file is no image that can be read"),
        (encoded(Image.fromarray(GREY), "JPEG")[:-40], "truncated"),
        (encoded(Image.fromarray(GREY), "PNG")[:100], "truncated"),
        (encoded(Image.fromarray(GREY), "JPEG")[:10], "Truncated File"),
        (b"\0" * 128 + b"DICM" + b"\0" * 9, "its pixels cannot be decoded|holds no image"),
    ],
    ids=["empty", "text", "cut JPEG", "cut PNG", "JPEG header", "DICOM header"],
)
def test_unreadable_files_name_themselves_and_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=reason) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message


def test_missing_files_and_folders_are_unreadable(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "absent.png", "No such file"), (tmp_path, "this is a folder")):
        with pytest.raises(UnreadableImageError, match=reason):
            read(path)
    for name in ("absent.png", "absent.dcm"):
        with pytest.raises(UnreadableImageError, match="No such file"):
            image_size(tmp_path / name)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(UnreadableImageError, match="no image that can be read"):
        image_size(tmp_path / "text.png")


def test_the_content_counts_not_the_ending(tmp_path: Path) -> None:
    (tmp_path / "jpeg.dcm").write_bytes(encoded(Image.fromarray(GREY), "PNG"))
    (tmp_path / "dicom.jpg").write_bytes(dicom_bytes(dicom(GREY.astype(np.uint16))))
    for path in tmp_path.iterdir():
        assert read(path).pixels.shape == image_size(path) == GREY.shape


def test_arrays() -> None:
    deep = GREY.astype(np.uint16) * 257
    colour = np.repeat(GREY[..., None], 3, axis=2)
    for array in (GREY, deep, GREY / 255, (GREY / 255).astype(np.float16), colour, colour / 255):
        image = from_array(array)
        assert isinstance(image, Radiograph)
        assert image.pixels.dtype == np.float32
        np.testing.assert_allclose(image.pixels, GREY / 255, atol=1e-3 if array.dtype == np.float16 else 1e-6)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((3, 4, 5), np.uint8), r"not \[3, 4, 5\]"),
        (np.zeros(7, np.uint8), r"not \[7\]"),
        (np.zeros((0, 4), np.uint8), r"not \[0, 4\]"),
        (np.full((2, 2), 255.0), r"must lie in \[0, 1\]"),
        (np.full((2, 2), np.nan), r"must lie in \[0, 1\]"),
        (np.full((2, 2), -0.1), r"must lie in \[0, 1\]"),
        (np.zeros((2, 2), np.int32), "int32 pixels are not supported"),
        (np.zeros((2, 2), bool), "bool pixels are not supported"),
    ],
)
def test_unfit_arrays(array: npt.NDArray[np.generic], reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=f"given: .*{reason}"):
        from_array(array, "given")


@pytest.mark.skipif(not ODD.is_dir(), reason="the odd files are not at hand")
class TestOddFiles:
    def test_every_file_is_read_or_refused_as_expected(self) -> None:
        damaged = {"09_truncated.jpg", "10_zero_bytes.jpg", "11_text.png", "12_no_pixel_data.dcm"}
        for path in sorted(p for p in ODD.iterdir() if p.suffix in IMAGE_SUFFIXES):
            if path.name in damaged:
                with pytest.raises(UnreadableImageError, match=path.name):
                    read(path)
                continue
            image = read(path)
            assert (image.height, image.width) == image_size(path), path.name
            assert image.pixels.dtype == np.float32
            assert 0 <= image.pixels.min() <= image.pixels.max() <= 1, path.name
            if path.name not in ("08_1x1.png", "16_constant_gray.png"):
                assert image.pixels.std() > 0.05, path.name

    def test_the_polarities_agree(self) -> None:
        """Bright is dense in both; MONOCHROME1 taken as it is would be anticorrelated with its mirror image."""
        for name in ("02_mono1_12bit.dcm", "03_mono2_12bit.dcm"):
            pixels = read(ODD / name).pixels
            height, width = pixels.shape
            middle = pixels[height // 4 : 3 * height // 4, 9 * width // 20 : 11 * width // 20].mean()  # the spine
            lungs = pixels[height // 4 : height // 2]
            beside = np.concatenate([lungs[:, width // 5 : 2 * width // 5], lungs[:, 3 * width // 5 : 4 * width // 5]])
            assert middle > beside.mean(), name

    def test_known_sizes(self) -> None:
        assert image_size(ODD / "08_1x1.png") == (1, 1)
        assert image_size(ODD / "13_4000x4000.png") == (4000, 4000)
        assert image_size(ODD / "14_wide_2000x200.png") == (200, 2000)
