"""Headers of compressed images, and checks that all their data are there, without decoding them."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_J2K = b"\xff\x4f\xff\x51"
_JP2 = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_JPEG = b"\xff\xd8"
_SIZ = struct.Struct(">HHIIIIIIIIHB")  # length, Rsiz, right, bottom, left, top, 4 of tiles, components, first precision
_SOT, _EOC = b"\xff\x90", b"\xff\xd9"
_MARKER = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")  # none of them is a restart marker, or stands among codes
_HOLE = 4096  # zero bytes in a row, which codes give only of large flat areas with a code for each place


class DamagedCodestreamError(ValueError):
    """A compressed picture is not whole; the message says of its data what is wrong, beginning with "they"."""


@dataclass(frozen=True)
class Header:
    """The size that a compressed image states.

    Attributes:
        precision: bits per sample.
        process: second byte of a JPEG's frame marker, 0xC0 to 0xCF or 0xF7 (JPEG-LS); 0 for JPEG 2000.
    """

    height: int
    width: int
    components: int
    precision: int
    process: int = 0


def header_of(content: bytes) -> Header | None:
    """The size that a JPEG, JPEG-LS or JPEG 2000 image, in boxes (JP2) or without, states; None for anything else.

    Raises:
        DamagedCodestreamError: when its header is not whole.
    """
    stream = _unboxed(content)
    if stream[:4] == _J2K:
        if len(stream) < 4 + _SIZ.size:
            raise DamagedCodestreamError("they end within their header")
        _, _, right, bottom, left, top, *_, components, precision = _SIZ.unpack_from(stream, 4)
        return Header(bottom - top, right - left, components, (precision & 0x7F) + 1)
    if stream[:2] != _JPEG:
        return None
    for marker, begin, end in jpeg_segments(stream):
        if is_frame(marker):
            if end - begin < 6:
                raise DamagedCodestreamError("they end within their header")
            precision, height, width, components = struct.unpack_from(">BHHB", stream, begin)
            return Header(height, width, components, precision, marker)
    raise DamagedCodestreamError("they say nothing of their size")


def check_whole(content: bytes) -> None:
    """Find what is missing by a picture's structure: tile parts of JPEG 2000, the end of a JPEG, zeros for codes.

    Raises:
        DamagedCodestreamError: when something is missing.
    """
    stream = _unboxed(content)
    if stream[:4] == _J2K:
        _check_tile_parts(stream)
    else:
        for _ in jpeg_segments(stream):
            pass
    header = header_of(stream)
    codes_for_flat_areas = header is not None and 0xC0 <= header.process <= 0xCF
    if not codes_for_flat_areas and bytes(_HOLE) in stream.rstrip(b"\0"):
        raise DamagedCodestreamError("a part of them is zero")


def _unboxed(content: bytes) -> bytes:
    """The codestream of a JP2 file, from its box "jp2c" on; anything else as it is."""
    if content[:12] != _JP2:
        return content
    at = 0
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        head = 16 if length == 1 else 8
        if kind == b"jp2c":
            return content[at + head :]
        if length == 1 and at + 16 <= len(content):
            length = int.from_bytes(content[at + 8 : at + 16], "big")
        if length < head:
            break
        at += length
    raise DamagedCodestreamError("they hold no picture")


def _check_tile_parts(stream: bytes) -> None:
    """Every tile part ends where it says, before another one or the end (T.800, A.4.2), and every tile is there."""
    _, _, right, bottom, _, _, width, height, left, top, *_ = _SIZ.unpack_from(stream, 4)
    if not width or not height:
        raise DamagedCodestreamError("they have tiles of no size")
    tiles = -(-(right - left) // width) * -(-(bottom - top) // height)
    at, found = 2, set()
    while stream[at : at + 2] != _SOT:
        length = int.from_bytes(stream[at + 2 : at + 4], "big")
        if stream[at : at + 1] != b"\xff" or length < 2:
            raise DamagedCodestreamError("they end within their header")
        at += 2 + length
    while stream[at : at + 2] == _SOT:
        tile, length = struct.unpack(">HI", stream[at + 4 : at + 10].ljust(6, b"\0"))
        found.add(tile)
        at = at + length if length else len(stream)
        if at > len(stream):
            raise DamagedCodestreamError("they end before the picture does")
    if stream[at : at + 2] not in (_EOC, b"") or len(found) < tiles:
        raise DamagedCodestreamError("parts of the picture are missing in them")


def is_frame(marker: int) -> bool:
    """True for the second byte of a marker that begins a frame: SOF0 to SOF15 (T.81), SOF55 (T.87)."""
    return marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC))


def jpeg_segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """(second byte of its marker, first and last offset of its content) of each segment, up to the picture's end.

    Codes after a scan's header are passed over. The last one is that of the end (0xD9), at its place.

    Raises:
        DamagedCodestreamError: when the data end before.
    """
    at = 2
    while True:
        at = _marker_at(content, at)
        marker = content[at + 1]
        if marker == 0xD9:
            yield marker, at, at
            return
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        if length < 2 or at + 2 + length > len(content):
            raise DamagedCodestreamError("they end within their header")
        yield marker, at + 4, at + 2 + length
        at += 2 + length


def _marker_at(content: bytes, at: int) -> int:
    """Offset of the next marker that is no restart marker."""
    found = _MARKER.search(content, at)
    if found is None:
        raise DamagedCodestreamError("they have no end")
    return found.start()
