"""A picture at full resolution and depth as one body: a line of JSON, then the levels."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, fields

from cxrlens.inputs.readers.full_depth import FullDepth

_GZIP = 16 + zlib.MAX_WBITS


def packed(picture: FullDepth, *, compressed: bool) -> bytes:
    """A line of JSON, the fields of `FullDepth` and the size; then the levels, 16 bits, little-endian, row by row.

    Blanks fill the line, so that the levels begin at an even byte.

    Args:
        compressed: with gzip.
    """
    height, width = picture.levels.shape
    told = {field.name: getattr(picture, field.name) for field in fields(picture) if field.name != "levels"}
    told |= {name: value and asdict(value) for name, value in told.items() if name in ("window", "spacing")}
    told["windows"] = [asdict(window) for window in picture.windows]
    line = json.dumps({"width": width, "height": height} | told).encode()
    body = b"".join((line, b" " * (1 - len(line) % 2), b"\n", picture.levels.astype("<u2", copy=False).tobytes()))
    if not compressed:
        return body
    compressing = zlib.compressobj(1, wbits=_GZIP)
    return compressing.compress(body) + compressing.flush()
