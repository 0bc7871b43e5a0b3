"""What every job does with its inputs: take a data set or folder, and list what could not be read."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from cxrlens.errors import UnreadableImageError, UsageError
from cxrlens.files import write_text
from cxrlens.inputs.dataset.layouts import Item, Split, find_splits, load_folder, load_split, require_folder

log = logging.getLogger(__name__)

_SCORED_SPLITS = ("test", "dev")


def scored_split(data: Path, split: str | None) -> Split:
    """The split to score: the one asked for, else ``test``, else ``dev`` (Object-CXR's download has no test images).

    Raises:
        UsageError: when there is none.
    """
    if split is None:
        there = find_splits(data)
        split = next((name for name in _SCORED_SPLITS if name in there), None)
        if split is None:
            holds = f"it holds {', '.join(there)}" if there else "it holds no split folder"
            raise UsageError(f"{data}: neither 'test' nor 'dev' is there ({holds}); name one with --split")
        if split == "dev":
            log.info("%s has no test images: 'dev' is taken", data)
    return report_remarks(load_split(data, split))


def labelled(split: Split) -> list[Item]:
    """The items that have a label."""
    return [item for item in split.items if item.label is not None]


def is_data_set(folder: Path) -> bool:
    """Whether a folder holds split folders (train, dev, test) rather than images."""
    return bool(find_splits(require_folder(folder)))


def folder_or_split(folder: Path, annotations: Path | None, split: str | None) -> Split:
    """The images of a plain folder with an optional CSV, or one split of a data set folder, which brings its own CSVs.

    Raises:
        UsageError: when the options do not fit the folder, or it cannot be read.
    """
    if is_data_set(folder):
        if annotations is not None:
            raise UsageError(
                f"{folder} is a data set, whose own CSVs are read: leave --annotations out, or give one of its folders"
            )
        return scored_split(folder, split)
    if split is not None:
        raise UsageError(f"{folder}: holds none of train, dev and test, so --split cannot be used")
    return report_remarks(load_folder(folder, annotations))


def report_remarks(split: Split) -> Split:
    """Log what was odd about a split; gives the split back."""
    for remark in split.remarks:
        log.warning("%s", remark)
    return split


def list_unreadable(reasons: Sequence[str], out: Path, name: str = "unreadable.txt") -> Path:
    """Write the sentences to a file of that name in ``out``, a file a line; where there are none, an old list goes."""
    path = out / name
    if reasons:
        write_text(path, "".join(reason.replace("\n", "\\n") + "\n" for reason in reasons))
    else:
        path.unlink(missing_ok=True)
    return path


def report_unreadable(reasons: Sequence[str], out: Path, name: str = "unreadable.txt") -> None:
    """Write the list, see `list_unreadable`, and log the first of its lines."""
    path = list_unreadable(reasons, out, name)
    if not reasons:
        return
    log.warning("%d images could not be read and were left out; they are listed in %s", len(reasons), path)
    for reason in reasons[:5]:
        log.warning("  %s", reason)


def single_unreadable(reason: str) -> UnreadableImageError:
    """The error of a command whose only image cannot be read."""
    return UnreadableImageError(f"{reason}; copy the file again from its source, or give another image")


def default_workers() -> int:
    """Loader processes where the user names no number: half the processors, at most 8."""
    return min(8, max(1, (os.cpu_count() or 2) // 2))
