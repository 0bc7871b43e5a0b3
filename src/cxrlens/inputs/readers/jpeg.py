"""JPEGs of which a part is missing: libjpeg makes pictures of them all the same, and Pillow hears no warning.

A picture of one scan is checked while it is decoded, see `ScanStream`; one of several scans by its structure, and by
decoding it once more.
"""

from __future__ import annotations

import contextlib
import io
import struct
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

from cxrlens.inputs.readers.codestream import DamagedCodestreamError, is_frame, jpeg_segments

Bytes: TypeAlias = npt.NDArray[np.uint8]
Component: TypeAlias = tuple[int, int, int]  # its name, and how often it is sampled along a row and a column

_TAIL = 64  # last bytes of a scan, without which no decoder may be done with it
_FILL = bytes(16), bytes(range(0x31, 0x41))  # what a decoder may look ahead into; the second one for comparison
_HOLE = 64  # zero bytes in a row, in codes that put runs of empty blocks together
_LONG_HOLE = 4096  # in others
_BEHIND_SCANS = {0xC4, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE}  # markers (T.81, B.2.1)


_COMPRESSION, _TIFF_JPEG, _JPEG_TABLES = 259, 7, 347  # tags of TIFF, and a value of the first
_TIFF_PARTS = (324, 273), (325, 279)  # tags of the offsets of tiles, and of strips; of their lengths


@dataclass(frozen=True)
class Scan:
    """A scan of a JPEG.

    Attributes:
        components: the names of those that it holds.
        first: of the coefficients that it holds, in zigzag order; likewise ``last``.
        before: lowest bit that earlier scans gave of them, plus one; 0 where it is the first to do so.
        bit: lowest bit that it gives.
        begin: offset of its codes; ``end`` is that of the marker behind.
        restart: blocks (MCUs) between restart markers; 0 for none.
    """

    components: tuple[int, ...]
    first: int
    last: int
    before: int
    bit: int
    begin: int
    end: int
    restart: int


@dataclass
class Structure:
    """The frame and the scans of a JPEG; ``ended`` where an end follows them."""

    process: int = 0
    height: int = 0
    width: int = 0
    components: list[Component] = field(default_factory=list)
    scans: list[Scan] = field(default_factory=list)
    ended: bool = False


def structure_of(content: bytes) -> Structure:
    """The structure of the first picture in a JPEG file, as far as it goes."""
    found = Structure()
    with contextlib.suppress(DamagedCodestreamError):
        _take_segments(content, found)
    return found


def _take_segments(content: bytes, found: Structure) -> None:
    restart = 0
    for marker, begin, end in jpeg_segments(content):
        if found.scans and found.scans[-1].end == len(content):  # up to here, as is now known
            found.scans[-1] = replace(found.scans[-1], end=begin if marker == 0xD9 else begin - 4)
        if found.scans and marker not in _BEHIND_SCANS:
            return
        segment = content[begin:end]
        if is_frame(marker) and len(segment) >= 6:
            _, found.height, found.width, count = struct.unpack_from(">BHHB", segment)
            found.process = marker
            triples = [segment[6 + 3 * i : 9 + 3 * i] for i in range(count)]
            found.components = [(t[0], t[1] >> 4, t[1] & 15) for t in triples if len(t) == 3]
        elif marker == 0xDD and len(segment) >= 2:
            restart = int.from_bytes(segment[:2], "big")
        elif marker == 0xDA and segment and len(segment) >= 4 + 2 * segment[0]:
            first, last, bits = segment[1 + 2 * segment[0] :][:3]
            names = tuple(segment[1 : 1 + 2 * segment[0] : 2])
            found.scans.append(Scan(names, first, last, bits >> 4, bits & 15, end, len(content), restart))
        found.ended = marker == 0xD9


class ScanStream(io.BytesIO):
    """The bytes of a JPEG of one scan for Pillow, by whose reading it shows whether they make a whole picture.

    Pillow decodes as it reads. Here the scan's codes come without the marker that ends them, and the last few apart
    from the others. Where codes are missing, Pillow asks for more, there is none, and that is an error to it. Where
    codes were overwritten, those that are left make another number of blocks: too few, or so many that Pillow has the
    whole picture before it has asked for the last codes.
    """

    def __init__(self, content: bytes, scan: Scan) -> None:
        super().__init__(content[: scan.end] + _FILL[0])
        self._tail = max(scan.begin, scan.end - _TAIL)
        self._asked = False

    def read(self, size: int | None = -1) -> bytes:
        """Bytes up to the last ones of the scan, or these."""
        at = self.tell()
        if at >= self._tail:
            self._asked = True
            return super().read(size)
        left = self._tail - at
        return super().read(left if size is None or size < 0 else min(size, left))

    def check(self) -> None:
        """To be called after decoding.

        Raises:
            DamagedCodestreamError: when the codes are more than those of the picture.
        """
        if not self._asked:
            raise DamagedCodestreamError("they are not those of one picture: codes are left over at its end")


def stream_of(content: bytes) -> io.BytesIO:
    """The stream from which Pillow reads a JPEG, checked as far as that goes without decoding it as it is.

    A `ScanStream`, which has to be asked afterwards, or for several scans the whole file.

    Raises:
        DamagedCodestreamError: when a part is missing.
    """
    structure = structure_of(content)
    if not structure.ended and content.endswith(bytes(_HOLE)):
        raise DamagedCodestreamError("they have no end, and zeros in the place of their last part")
    if not structure.scans or not structure.components:
        return io.BytesIO(content)  # of which Pillow makes nothing
    if structure.ended:
        _check_restarts(content, structure)
    names = {name for name, _, _ in structure.components}
    only = structure.scans[0]
    if structure.process in (0xC0, 0xC1) and len(structure.scans) == 1 and set(only.components) == names:
        return ScanStream(content, only)
    if structure.process in (0xC0, 0xC1, 0xC2):
        if not structure.ended:
            raise DamagedCodestreamError("they have no end, or bytes among their codes that are none")
        _check_scans(content, structure)
        _check_codes(content, structure)
    return io.BytesIO(content)


def checked(content: bytes, *, reduced: bool = False) -> Bytes:
    """The values of a JPEG, [rows, columns] or [rows, columns, samples], or of its reduction to an eighth.

    Raises:
        DamagedCodestreamError: when a part is missing.
        OSError: likewise, in Pillow's words.
    """
    stream = stream_of(content)
    found = _decoded(stream, reduced=reduced)
    if isinstance(stream, ScanStream):
        stream.check()
    return found


def check_parts(image: TiffImagePlugin.TiffImageFile, content: bytes) -> None:
    """Every strip or tile of a TIFF picture that is compressed as JPEG is whole; ``content`` is that of the file.

    Each is a JPEG whose tables stand in the file's header (TIFF, technical note 2).

    Raises:
        DamagedCodestreamError: when a part is missing.
        OSError: likewise, in Pillow's words.
    """
    tags = image.tag_v2
    if tags.get(_COMPRESSION) != _TIFF_JPEG:
        return
    tables = bytes(tags.get(_JPEG_TABLES, b"")).removesuffix(b"\xff\xd9")
    offsets, counts = (tags.get(tile, tags.get(strip, ())) for tile, strip in _TIFF_PARTS)
    for offset, count in zip(offsets, counts, strict=True):
        part = content[offset : offset + count]
        checked(tables + part[2:] if tables else part, reduced=True)


def _check_restarts(content: bytes, structure: Structure) -> None:
    """The restart markers of a scan count up, and are as many as its blocks need (T.81, B.2.1 and E.1.4)."""
    if not structure.height:  # said behind the first scan (DNL)
        return
    for scan in structure.scans:
        if not scan.restart:
            continue
        codes = np.frombuffer(content, np.uint8, scan.end - scan.begin, scan.begin)
        at = np.flatnonzero(codes[:-1] == 0xFF)
        found = codes[at + 1]
        found = found[(found >= 0xD0) & (found <= 0xD7)] - 0xD0
        needed = -(-_blocks(structure, scan) // scan.restart) - 1
        if not needed <= len(found) <= needed + 1 or (found != np.arange(len(found)) % 8).any():
            raise DamagedCodestreamError("parts of the picture are missing in them")
        if bytes(_LONG_HOLE) in content[scan.begin : scan.end]:
            raise DamagedCodestreamError("a part of them is zero")


def _blocks(structure: Structure, scan: Scan) -> int:
    """Units that a scan is made of (T.81, A.2)."""
    sampled = {name: (across, down) for name, across, down in structure.components}
    most_across = max(across for across, _ in sampled.values()) or 1
    most_down = max(down for _, down in sampled.values()) or 1
    if len(scan.components) == 1:
        across, down = sampled.get(scan.components[0], (most_across, most_down))
        width = -(-structure.width * across // most_across)
        height = -(-structure.height * down // most_down)
        return -(-width // 8) * -(-height // 8)
    return -(-structure.width // (8 * most_across)) * -(-structure.height // (8 * most_down))


def _check_scans(content: bytes, structure: Structure) -> None:
    """Every coefficient of every component is there to its last bit."""
    progressive = structure.process == 0xC2
    lowest: dict[int, list[int]] = {name: [-1] * 64 for name, _, _ in structure.components}
    for scan in structure.scans:
        first, last, bit = (scan.first, min(scan.last, 63), scan.bit) if progressive else (0, 63, 0)
        for name in set(scan.components) & lowest.keys():
            lowest[name][first : last + 1] = [bit] * (last + 1 - first)
        if not progressive or first:  # a scan of means has a zero for each place of a flat area
            hole = bytes(_HOLE if progressive and not scan.before else _LONG_HOLE)
            if hole in content[scan.begin : scan.end]:
                raise DamagedCodestreamError("a part of them is zero")
    if any(bit != 0 for bits in lowest.values() for bit in bits):
        raise DamagedCodestreamError("parts of the picture are missing in them")


def _check_codes(content: bytes, structure: Structure) -> None:
    """The codes of each scan are as many as its blocks need, which shows in pictures made of altered bytes.

    No scan goes on into bytes that stand behind its codes: with other such bytes the picture is the same. And a scan of
    means needs its last codes: with others the picture is another one.
    """
    pictures: list[Bytes] = []
    for fill in _FILL:
        parts, at = [], 0
        for scan in structure.scans:
            parts += [content[at : scan.end], fill]
            at = scan.end
        pictures.append(_decoded(io.BytesIO(b"".join([*parts, content[at:]]))))
    if not np.array_equal(pictures[0], pictures[1]):
        raise DamagedCodestreamError("they end before the picture does")
    for scan in structure.scans:
        if structure.process == 0xC2 and scan.first == scan.before == 0:
            begin = max(scan.begin, scan.end - _TAIL)
            begin += content[begin - 1] == 0xFF  # and the byte behind are one code
            other = bytes((code ^ 0x55) % 0xFF for code in content[begin : scan.end])
            ends = content[begin : scan.end], other
            first, second = (_decoded(io.BytesIO(content[:begin] + end + b"\xff\xd9"), reduced=True) for end in ends)
            if np.array_equal(first, second):
                raise DamagedCodestreamError("they are not those of one picture: codes are left over")


def _decoded(stream: io.BytesIO, *, reduced: bool = False) -> Bytes:
    with Image.open(stream, formats=("JPEG", "MPO")) as image:
        if reduced:
            image.draft(None, (1, 1))
        return np.asarray(image)
