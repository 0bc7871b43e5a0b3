"""The kinds of objects that images show, from a table beside the data set."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from cxrlens.errors import UsageError
from cxrlens.inputs.annotations.table import NAME_COLUMNS
from cxrlens.inputs.csv_files import lower_columns, open_csv
from cxrlens.inputs.dataset.layouts import CLASS_NAMES, Item
from cxrlens.inputs.matching import FileNames, pair
from cxrlens.study.plan import Kinds

log = logging.getLogger(__name__)


def kinds_of(kinds: Kinds, items: Sequence[Item], *, root: Path, split: str) -> tuple[frozenset[str], ...]:
    """The kinds that each image shows; none of an image without a row.

    Rows are matched as those of annotations are (`cxrlens.inputs.matching`); rows of another split do not count where
    the table has a column ``split``.

    Raises:
        UsageError: when the table cannot be read, lacks a column, or has a row of none of the images.
    """
    texts, values = _rows(kinds, split)
    names = [item.name_in(root) for item in items]
    found = pair(texts, FileNames(root, names, silent=(split, *CLASS_NAMES)), base=kinds.table.parent)
    places = [found.names.get(name) for name in names]
    lacking = places.count(None)
    if lacking == len(items):
        raise UsageError(f"{kinds.table}: no row is sure to mean an image with objects of '{split}'; check its names")
    if lacking:
        log.warning(
            "%s: %d of %d images with objects have no row that is sure to mean them, and are of no kind",
            kinds.table.name, lacking, len(items),
        )  # fmt: skip
    return tuple(frozenset() if place is None else values[place] for place in places)


def _rows(kinds: Kinds, split: str) -> tuple[list[str], list[frozenset[str]]]:
    """The images' names and their kinds."""
    column = kinds.column.strip().lower()
    texts: list[str] = []
    values: list[frozenset[str]] = []
    with open_csv(kinds.table, missing="check 'kinds' of the plan") as reader:
        columns = lower_columns(kinds.table, reader, (*NAME_COLUMNS, "split", column))
        name = next((each for each in NAME_COLUMNS if each in columns), None)
        if name is None or column not in columns:
            wanted = repr(column) if name else " or ".join(map(repr, NAME_COLUMNS)) + ", which names the image"
            raise UsageError(
                f"{kinds.table}: has no column {wanted}, but {', '.join(columns)}; correct it, or 'kinds' of the plan"
            )
        for row in reader:
            if row.get("split") not in (None, "", split):
                continue
            texts.append(row[name] or "")
            parts = (row[column] or "").split(kinds.separator)
            values.append(frozenset(part.strip() for part in parts if part.strip()))
    return texts, values
