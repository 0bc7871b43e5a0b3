"""Read one image, from a file or from memory, into a `Radiograph`."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from pydicom import Dataset, dcmread
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from cxrlens.errors import UnreadableImageError, UsageError

Pixels: TypeAlias = npt.NDArray[np.float32]

RASTER_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
IMAGE_SUFFIXES = RASTER_SUFFIXES | DICOM_SUFFIXES

_WIDE_MODES = {"I;16": 65535.0, "I;16L": 65535.0, "I;16B": 65535.0, "I": 65535.0}


@dataclass(frozen=True)
class Radiograph:
    """A radiograph in memory.

    Attributes:
        pixels: float32 [height, width] in [0, 1], bright = dense.
        source: the file it came from, or what stands for it in messages.
    """

    pixels: Pixels
    source: str

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])


def read(source: str | Path | bytes | Dataset) -> Radiograph:
    """Read a JPEG, PNG, TIFF, BMP, WebP or DICOM image.

    Raises:
        UnreadableImageError: when the file is missing, empty, damaged or no image.
    """
    if isinstance(source, Dataset):
        return _from_dicom(source, str(source.get("SOPInstanceUID", "DICOM dataset")))
    if isinstance(source, bytes):
        name, content = f"{len(source)} bytes", source
    else:
        name = str(source)
        try:
            content = Path(source).read_bytes()
        except OSError as error:
            raise UnreadableImageError(f"{name}: {error.strerror or error}") from error
    if not content:
        raise UnreadableImageError(f"{name}: the file is empty")
    if content[128:132] == b"DICM":
        return _from_dicom(content, name)
    return _from_raster(content, name)


def require_file(path: Path) -> Path:
    """The path itself when it is a file.

    Raises:
        UsageError: when it does not exist.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file or folder; check the path")
    return path


def from_array(pixels: npt.ArrayLike, name: str = "array") -> Radiograph:
    """Take a grey [H, W] or colour [H, W, 3] array: any float array in [0, 1], or uint8 / uint16.

    Raises:
        UnreadableImageError: when the shape, the type or the value range is none of these.
    """
    array = np.asarray(pixels)
    if array.ndim == 3 and array.shape[2] == 3:
        array = array @ np.array([0.299, 0.587, 0.114]) if array.dtype.kind == "f" else _luma(array)
    if array.ndim != 2 or 0 in array.shape:
        raise UnreadableImageError(f"{name}: an image has the shape [H, W] or [H, W, 3], not {list(array.shape)}")
    if array.dtype in (np.uint8, np.uint16):
        scaled = array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)
    elif array.dtype.kind == "f":
        scaled = array.astype(np.float32)
        if not (np.isfinite(scaled).all() and scaled.min() >= 0 and scaled.max() <= 1):
            raise UnreadableImageError(f"{name}: values of a float image must lie in [0, 1]")
    else:
        raise UnreadableImageError(f"{name}: {array.dtype} pixels are not supported; give uint8, uint16 or float")
    return Radiograph(scaled, name)


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of the image as `read` gives it, without decoding a raster file's pixels.

    Raises:
        UnreadableImageError: as `read` does, but for damage that only decoding would show.
    """
    if path.suffix.lower() in RASTER_SUFFIXES:
        try:
            with Image.open(path) as image:
                turned = image.getexif().get(0x0112, 1) >= 5  # orientations 5 to 8 swap the sides
                return image.size if turned else (image.height, image.width)
        except UnidentifiedImageError:
            pass  # may still be DICOM under a wrong ending
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise UnreadableImageError(f"{path}: {_reason(error)}") from error
    radiograph = read(path)
    return radiograph.height, radiograph.width


def _from_raster(content: bytes, name: str) -> Radiograph:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as opened:
                image = ImageOps.exif_transpose(opened)
                pixels = _grey(image)
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise UnreadableImageError(f"{name}: {_reason(error)}") from error
    return Radiograph(pixels, name)


def _grey(image: Image.Image) -> Pixels:
    if image.mode in _WIDE_MODES:
        return np.clip(np.asarray(image, dtype=np.float32) / np.float32(_WIDE_MODES[image.mode]), 0, 1)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layered.size, (0, 0, 0, 255)), layered)
    if image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    return np.asarray(image.convert("L"), dtype=np.float32) / np.float32(255)


def _luma(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    weighted = array.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    rounded: npt.NDArray[Any] = np.rint(weighted).astype(array.dtype)
    return rounded


def _from_dicom(source: bytes | Dataset, name: str) -> Radiograph:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom warns of every small deviation from the standard
            dataset = dcmread(io.BytesIO(source)) if isinstance(source, bytes) else source
            return Radiograph(_dicom_pixels(dataset, name), name)
    except UnreadableImageError:
        raise
    except Exception as error:  # pydicom names no set of errors; a damaged element raises nearly anything
        raise UnreadableImageError(f"{name}: its pixels cannot be decoded: {_reason(error)}") from error


def _dicom_pixels(dataset: Dataset, name: str) -> Pixels:
    """Stored values -> modality LUT -> first VOI LUT or window -> polarity, scaled to [0, 1] (DICOM PS3.3 C.11)."""
    if "PixelData" not in dataset:
        raise UnreadableImageError(f"{name}: this DICOM file holds no image")
    if int(dataset.get("NumberOfFrames", 1) or 1) > 1:
        raise UnreadableImageError(f"{name}: a multi-frame DICOM file is no single radiograph")
    stored = dataset.pixel_array
    values = np.asarray(apply_voi_lut(apply_modality_lut(stored, dataset), dataset, index=0), dtype=np.float64)
    if values.ndim == 3:
        values = values @ np.array([0.299, 0.587, 0.114])
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise UnreadableImageError(f"{name}: its rescale or window values give pixels that are not finite")
    scaled = np.zeros(values.shape) if high <= low else (values - low) / (high - low)
    inverse = str(dataset.get("PresentationLUTShape", "")) == "INVERSE"
    if inverse or dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        scaled = 1 - scaled
    return scaled.astype(np.float32)


def _reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "the file is no image that can be read"
    return str(error).splitlines()[0].strip().rstrip(".") if str(error) else type(error).__name__
