"""One look at every image: decoded once, in loader processes, and kept as a thumbnail and a few numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader, Dataset

from cxrlens.data.check.contents import Contents
from cxrlens.data.check.findings import Finding, Severity, new_kind
from cxrlens.data.check.statistics import GLOBAL_STATISTICS, Floats, global_statistics
from cxrlens.data.layouts import Item
from cxrlens.data.preprocessing import Preprocessing
from cxrlens.data.readers import read
from cxrlens.errors import UnreadableImageError

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
    """Open every image of a data set once.

    Memory holds 4 KB of thumbnail and the numbers per image, whatever the images' size.

    Args:
        contents: the images.
        workers: loader processes; 0 reads in this one.
        progress: called with (done, all) after each image.
    """
    where = [(split.name, item) for split in contents.splits for item in split.items]
    seen: list[Seen] = []
    thumbnails = np.zeros((len(where), THUMBNAIL, THUMBNAIL), dtype=np.uint8)
    statistics = np.zeros((len(where), len(GLOBAL_STATISTICS)))
    findings: list[Finding] = []
    unreadable: list[str] = []
    loader = DataLoader(_Files([item for _, item in where]), batch_size=None, num_workers=workers)
    for done, look in enumerate(loader, 1):
        split, item = where[look.index]
        name = contents.name(item.path)
        if look.reason is not None:
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
    reason: str | None = None
    height: int = 0
    width: int = 0
    file_size: int = 0
    digest: str = ""
    thumbnail: npt.NDArray[np.uint8] | None = None
    statistics: Floats | None = None


class _Files(Dataset[_Look]):
    def __init__(self, items: Sequence[Item]) -> None:
        self.items = list(items)
        self.preprocessing = Preprocessing(height=THUMBNAIL, width=THUMBNAIL)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> _Look:
        path = self.items[index].path
        try:
            image = read(path)
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
                file_size = stream.tell()
        except UnreadableImageError as error:
            return _Look(index, str(error))
        except OSError as error:  # gone since it was decoded
            return _Look(index, f"{path}: {error.strerror or error}")
        grey = self.preprocessing.resized(image.pixels)[0].numpy()
        span = max(float(np.ptp(grey)), 1 / 65535)
        thumbnail = np.rint((grey - grey.min()) / span * 255).astype(np.uint8)
        return _Look(
            index,
            None,
            image.height,
            image.width,
            file_size,
            digest,
            thumbnail,
            global_statistics(image.pixels),
        )
