"""Maps as pictures, and pictures as addresses: what a browser shows without asking again."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from cxrlens.inputs.readers import Pixels


def map_png(map_: Pixels) -> bytes:
    """A map [h, w] in [0, 1] as 8-bit grey PNG, 255 = highest."""
    stream = io.BytesIO()
    Image.fromarray(np.rint(map_ * 255).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def data_address(content: bytes, media_type: str) -> str:
    """A ``data:`` address that holds the content."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
