"""Small sources to prepare: pictures of two sizes, none square, with an object off the diagonal."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from cxrlens.inputs.annotations.shapes import BoolMask, Rectangle, rasterize

HEIGHT, WIDTH = 40, 100
BOX = Rectangle(70, 4, 90, 15)


def picture(seed: int, *, deep: bool = False, height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
    """A smooth ramp with a bright object at `BOX`."""
    y, x = np.indices((height, width))
    values = (x / width + y / height) / 4 + seed % 7 / 30
    values[4:16, 70:91] = 0.9
    return Image.fromarray((values * 65535).astype(np.uint16) if deep else (values * 255).astype(np.uint8))


def encoded(image: Image.Image, name: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, {".jpg": "JPEG", ".png": "PNG", ".tif": "TIFF", ".bmp": "BMP"}[Path(name).suffix.lower()])
    return stream.getvalue()


def files(*names: str) -> dict[str, bytes]:
    """A picture for each name, all different."""
    return {name: encoded(picture(seed), name) for seed, name in enumerate(names)}


def write(root: Path, contents: Mapping[str, bytes | str]) -> Path:
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def zipped(path: Path, contents: Mapping[str, bytes | str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def object_mask() -> BoolMask:
    return rasterize([BOX], height=HEIGHT, width=WIDTH)


def mask_file(*, empty: bool = False) -> bytes:
    mask = object_mask()
    return encoded(Image.fromarray((mask & (not empty)).astype(np.uint8)), "mask.png")
