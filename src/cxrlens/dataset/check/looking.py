"""One look at every image: decoded once, in loader processes, and kept as a thumbnail and a few numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxrlens.dataset.check.contents import Contents
from cxrlens.dataset.check.findings import Finding, Severity, new_kind
from cxrlens.dataset.check.statistics import GLOBAL_STATISTICS, Floats, global_statistics
from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.dataset.layouts import Item
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import decode, read_content
from cxrlens.inputs.workers import in_order

THUMBNAIL = 64  # side in pixels; the aspect is not kept

UNREADABLE = new_kind("unreadable", Severity.problem, "File that cannot be read", "The reader refuses the file.")


@dataclass(frozen=True)
class Seen:
    """One readable image: its name in findings, its split, and what its file is."""

    name: str
    split: str
    item: Item
    height: int
    width: int
    file_size: int
    digest: str


@dataclass(frozen=True)
class Looks:
    """The readable images of a data set.

    Attributes:
        seen: the images, by split and in the split's order.
        thumbnails: uint8 [n, 64, 64], each from its darkest (0) to its brightest (255) value.
        statistics: float64 [n, statistics], the columns of `GLOBAL_STATISTICS`.
        unreadable: a sentence per file that could not be read.
        findings: the same as findings.
    """

    seen: tuple[Seen, ...]
    thumbnails: npt.NDArray[np.uint8]
    statistics: Floats
    unreadable: tuple[str, ...]
    findings: tuple[Finding, ...]


def look_at(contents: Contents, *, workers: int = 0, progress: Callable[[int, int], None] | None = None) -> Looks:
    """Open every image of a data set once; one of dev that is listed in test too (dev as test) counts for dev.

    Memory holds 4 KB of thumbnail and the numbers per image, whatever the images' size.

    Args:
        contents: the images.
        workers: processes that read; 0 reads in this one.
        progress: called with (done, all) after each image.
    """
    where = [(split.name, item) for split in contents.own for item in split.items]
    seen: list[Seen] = []
    thumbnails = np.zeros((len(where), THUMBNAIL, THUMBNAIL), dtype=np.uint8)
    statistics = np.zeros((len(where), len(GLOBAL_STATISTICS)))
    findings: list[Finding] = []
    unreadable: list[str] = []
    look_at_file = _Files([item.path for _, item in where])
    looks = in_order(look_at_file, range(len(where)), workers=workers, lost=look_at_file.lost)
    for done, look in enumerate(looks, 1):
        split, item = where[look.index]
        name = contents.name(item.path)
        if look.thumbnail is None:
            unreadable.append(look.reason)
            findings.append(Finding(UNREADABLE, look.reason, (name,)))
        else:
            thumbnails[len(seen)] = look.thumbnail
            statistics[len(seen)] = look.statistics
            seen.append(Seen(name, split, item, look.height, look.width, look.file_size, look.digest))
        if progress:
            progress(done, len(where))
    return Looks(tuple(seen), thumbnails[: len(seen)], statistics[: len(seen)], tuple(unreadable), tuple(findings))


@dataclass(frozen=True)
class _Look:
    """What comes back from a loader process."""

    index: int
    reason: str = ""
    height: int = 0
    width: int = 0
    file_size: int = 0
    digest: str = ""
    thumbnail: npt.NDArray[np.uint8] | None = None
    statistics: Floats | None = None


class _Files:
    """Looks at the file of an index."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self.preprocessing = Preprocessing(height=THUMBNAIL, width=THUMBNAIL)

    def lost(self, index: int, reason: str) -> _Look:
        """What stands for a file whose reading failed together with its process."""
        return _Look(index, f"{self.paths[index]}: {reason}")

    def __call__(self, index: int) -> _Look:
        name = str(self.paths[index])
        try:
            content = read_content(self.paths[index], name)
            image = decode(content, name)
        except UnreadableImageError as error:
            return _Look(index, str(error))
        except MemoryError:
            return self.lost(index, "there is not enough memory to read it")
        grey = self.preprocessing.resized(image.pixels)[0]
        span = max(float(np.ptp(grey)), 1 / 65535)
        thumbnail = np.rint((grey - grey.min()) / span * 255).astype(np.uint8)
        return _Look(
            index,
            "",
            image.height,
            image.width,
            len(content),
            hashlib.sha256(content).hexdigest(),
            thumbnail,
            global_statistics(image.pixels),
        )
