"""Maps as files: 8-bit grey PNG, 255 = highest."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from cxrlens.inputs.readers import Pixels


def map_png(values: Pixels, *, compress_level: int = 6) -> bytes:
    """A map [h, w] in [0, 1] as the content of a PNG file; ``compress_level`` from 0 (fast) to 9 (small)."""
    stream = io.BytesIO()
    levels = np.rint(values * np.float32(255)).astype(np.uint8)
    Image.fromarray(levels).save(stream, "PNG", compress_level=compress_level)
    return stream.getvalue()


def read_map_png(file: Path) -> Pixels:
    """The map [h, w] in [0, 1] of a PNG file, float32."""
    with Image.open(file) as image:
        return np.asarray(image.convert("L"), dtype=np.float32) / np.float32(255)
