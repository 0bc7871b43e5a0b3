"""The images of a data set, each decoded once, in loader processes, and kept as a thumbnail and a few numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrlens.dataset.check.contents import Contents
from cxrlens.dataset.check.findings import Finding, FindingKind, Severity, new_kind
from cxrlens.dataset.check.statistics import GLOBAL_STATISTICS, Floats, global_statistics
from cxrlens.inputs.dataset.layouts import Item
from cxrlens.inputs.origin import Origin
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import decode, doubts, refusals
from cxrlens.inputs.reading import Unreadable, read_each
from cxrlens.inputs.remarked import remarked

THUMBNAIL = 64  # side in pixels; the aspect is not kept
_THUMBNAILS = Preprocessing(height=THUMBNAIL, width=THUMBNAIL)

UNREADABLE = new_kind("unreadable", Severity.problem, "File that cannot be read", "The reader refuses the file.")
NOT_ASSESSABLE = new_kind(
    "not-assessable",
    Severity.problem,
    "Image that cannot be judged",
    "The reader refuses a judgement: it surely is no frontal chest radiograph, or shows nothing (docs/screening.md).",
)
REMARKED = new_kind(
    "displayed-oddly",
    Severity.note,
    "Image that is displayed oddly",
    "The reader has a doubt: the picture looks wrong, or may not be displayed as it was meant (docs/images.md).",
)
NOTED = new_kind(
    "taken-otherwise",
    Severity.note,
    "Image that is not taken as its file says",
    "The reader has a note: it took the file to mean something else than it says, and surely rightly (docs/images.md).",
)


@dataclass(frozen=True)
class CheckedImage:
    """One readable image: its name in findings, its split, and what its file is."""

    name: str
    split: str
    item: Item
    height: int
    width: int
    file_size: int
    digest: str


@dataclass(frozen=True)
class CheckedImages:
    """The readable images of a data set.

    Attributes:
        images: the readable ones, by split and in the split's order.
        thumbnails: uint8 [n, 64, 64], each from its darkest (0) to its brightest (255) value.
        statistics: float64 [n, statistics], the columns of `GLOBAL_STATISTICS`.
        unreadable: a sentence per file that could not be read.
        findings: the same as findings, and those on images with remarks.
    """

    images: tuple[CheckedImage, ...]
    thumbnails: npt.NDArray[np.uint8]
    statistics: Floats
    unreadable: tuple[str, ...]
    findings: tuple[Finding, ...]


def read_images(
    contents: Contents, *, workers: int = 0, progress: Callable[[int, int], None] | None = None
) -> CheckedImages:
    """Read every image of a data set once; one of dev that is listed in test too (dev as test) counts for dev.

    Memory holds 4 KB of thumbnail and the numbers per image, whatever the images' size.

    Args:
        contents: the images.
        workers: processes that read; 0 reads in this one.
        progress: called with (done, all) after each image.
    """
    where = [(split.name, item) for split in contents.own for item in split.items]
    images: list[CheckedImage] = []
    thumbnails = np.zeros((len(where), THUMBNAIL, THUMBNAIL), dtype=np.uint8)
    statistics = np.zeros((len(where), len(GLOBAL_STATISTICS)))
    findings: list[Finding] = []
    unreadable: list[str] = []
    results = read_each(_summarised, [item.origin for _, item in where], workers=workers)
    for done, ((split, item), (_, read)) in enumerate(zip(where, results, strict=True), 1):
        name = contents.name(item.origin)
        if isinstance(read, Unreadable):
            unreadable.append(read.reason)
            findings.append(Finding(UNREADABLE, read.reason, (name,)))
        else:
            thumbnails[len(images)] = read.thumbnail
            statistics[len(images)] = read.statistics
            images.append(CheckedImage(name, split, item, read.height, read.width, read.file_size, read.digest))
            if read.remarks:
                findings.append(Finding(_kind_of(read.remarks), remarked(name, read.remarks), (name,)))
        if progress:
            progress(done, len(where))
    count = len(images)
    return CheckedImages(tuple(images), thumbnails[:count], statistics[:count], tuple(unreadable), tuple(findings))


def _kind_of(remarks: Sequence[str]) -> FindingKind:
    if refusals(remarks):
        return NOT_ASSESSABLE
    return REMARKED if doubts(remarks) else NOTED


@dataclass(frozen=True)
class _Summary:
    """Summary of an image that is kept in place of its pixels."""

    height: int
    width: int
    file_size: int
    digest: str
    thumbnail: npt.NDArray[np.uint8]
    statistics: Floats
    remarks: tuple[str, ...]


def _summarised(origin: Origin) -> _Summary:
    content = origin.read()
    image = decode(content, str(origin))
    grey = _THUMBNAILS.resized(image.pixels)[0]
    span = max(float(np.ptp(grey)), 1 / 65535)
    thumbnail = np.rint((grey - grey.min()) / span * 255).astype(np.uint8)
    digest = hashlib.sha256(content).hexdigest()
    statistics = global_statistics(image.pixels)
    return _Summary(image.height, image.width, len(content), digest, thumbnail, statistics, image.remarks)
