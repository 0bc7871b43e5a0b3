"""The published counts of Object-CXR (JF Healthcare, MIDL 2020), where the data look like it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from cxrlens.dataset.check.contents import Contents
from cxrlens.dataset.check.findings import Finding, Severity, new_kind
from cxrlens.inputs.dataset.layouts import CLASS_NAMES, Split
from cxrlens.inputs.dataset.object_cxr import LIKE, PUBLISHED_IDS, published_id

_PART = 0.5

INCOMPLETE = new_kind(
    "published-incomplete",
    Severity.problem,
    "Object-CXR: images are missing",
    f"At least {_PART:.0%} of a split's published images are there, but not all.",
)
PART = new_kind(
    "published-part",
    Severity.note,
    "Object-CXR: a part of it",
    f"Fewer than {_PART:.0%} of a split's published images are there.",
)
CLASSES = new_kind(
    "published-classes",
    Severity.problem,
    "Object-CXR: classes differ",
    "All of a split's images are there, but not half of them affected.",
)
FOREIGN = new_kind(
    "published-foreign",
    Severity.problem,
    "Object-CXR: image of another origin",
    "A file name that is no published id, or the id of another split.",
)


def published_counts(split: str) -> dict[str, int]:
    """The number of images per class of a split: half are affected."""
    half = len(PUBLISHED_IDS[split]) // 2
    return dict.fromkeys(CLASS_NAMES, half)


def is_object_cxr(splits: Sequence[Split]) -> bool:
    """True where nine tenths of each split's images bear the ids that Object-CXR has in that split."""
    filled = [split for split in splits if split.items]
    return bool(filled) and all(
        split.name in PUBLISHED_IDS
        and sum(published_id(item.name) in PUBLISHED_IDS[split.name] for item in split.items) >= LIKE * len(split.items)
        for split in filled
    )


def published_findings(contents: Contents) -> Iterator[Finding]:
    """Differences of data that look like Object-CXR from what was published; none for other data."""
    if not is_object_cxr(contents.own):
        return
    for split in contents.own:
        ids = PUBLISHED_IDS[split.name]
        present = {number for item in split.items if (number := published_id(item.name)) in ids}
        for item in split.items:
            if published_id(item.name) not in ids:
                name = contents.name(item.origin)
                yield Finding(FOREIGN, f"{name}: is no image of Object-CXR's '{split.name}'", (name,))
        missing = sorted(set(ids) - present)
        if missing:
            kind = INCOMPLETE if len(present) >= _PART * len(ids) else PART
            message = f"{split.name}: {len(present)} of {len(ids)} published images are there"
            yield Finding(kind, f"{message}; missing: {_ranges(missing)}" if kind is INCOMPLETE else message)
        elif split.counts() != published_counts(split.name):
            found = " and ".join(f"{number} {name}" for name, number in split.counts().items())
            yield Finding(CLASSES, f"{split.name}: has {found}, published are {len(ids) // 2} of each")


def _ranges(numbers: Iterable[int], most: int = 10) -> str:
    """Sorted ids as "00003, 00007 to 00012"."""
    runs = [
        [number for _, number in run] for _, run in groupby(enumerate(numbers), key=lambda place: place[1] - place[0])
    ]
    texts = [f"{run[0]:05d}" if len(run) == 1 else f"{run[0]:05d} to {run[-1]:05d}" for run in runs]
    rest = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {rest} more gaps" if rest > 0 else "")
