"""Previews, maps as pictures, and contours: what a browser shows of an image."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from cxrlens.data.readers import Pixels

PREVIEW_SIDE = 1024
"""Longest side of a preview, in pixels."""

_QUALITY = 85


def preview(pixels: Pixels, height: int, width: int) -> bytes:
    """Pixels [H, W] in [0, 1] of an image of the stored height and width as grey JPEG of at most 1024 px."""
    shrink = min(1.0, PREVIEW_SIDE / max(height, width))
    size = max(round(width * shrink), 1), max(round(height * shrink), 1)
    image = Image.fromarray(_grey(pixels))
    if image.size != size:
        image = image.resize(size, Image.Resampling.BOX if shrink < 1 else Image.Resampling.BILINEAR)
    return _encoded(image, "JPEG", quality=_QUALITY)


def map_png(map_: Pixels) -> bytes:
    """A map [h, w] in [0, 1] as 8-bit grey PNG, 255 = highest."""
    return _encoded(Image.fromarray(_grey(map_)), "PNG")


def data_address(content: bytes, media_type: str) -> str:
    """A ``data:`` address that holds the content."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def _grey(values: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.rint(values * 255).astype(np.uint8)


def _encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()
