"""Images with mask images: what is not black in a mask is an object.

A file is a mask when it lies below a folder called ``masks`` or ``mask``, or when its name ends in ``_mask``,
``-mask`` or ``.mask`` before its ending. It belongs to the image whose path is the same once these folders and
endings, and folders called ``images`` or ``image``, are taken away: ``train/masks/a.png`` and ``train/a_mask.png`` to
``train/images/a.jpg`` and to ``train/a.jpg``. An image without a mask is normal, unless it lies in a folder called
affected; a split is a folder called train, dev (val, valid ...) or test.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from cxrlens.dataset.prepare.record import ClassNames, Found, Record, split_of
from cxrlens.dataset.prepare.tree import Tree
from cxrlens.errors import UsageError
from cxrlens.inputs.dataset.layouts import AFFECTED, CLASS_NAMES, NORMAL

_MASK_FOLDERS = frozenset({"mask", "masks"})
_IMAGE_FOLDERS = frozenset({"image", "images"})
_MASK_END = re.compile(r"[._-]mask$", re.IGNORECASE)


def applies(source: Path, tree: Tree) -> bool:
    """True where a mask belongs to an image."""
    if not source.is_dir():
        return False
    keys = {True: set[str](), False: set[str]()}
    for name in tree.files:
        keys[_is_mask(name)].add(_key(name))
    return not keys[True].isdisjoint(keys[False])


def scan(source: Path, tree: Tree, _names: ClassNames) -> Found:
    """The images, with their masks.

    Raises:
        UsageError: when no mask belongs to an image, or two belong to one.
    """
    masks: dict[str, str] = {}
    for name in filter(_is_mask, tree.files):
        other = masks.setdefault(_key(name), name)
        if other != name:
            raise UsageError(f"{source}: {other} and {name} are masks of one image; unite them, or remove one")
    images = [name for name in tree.files if not _is_mask(name)]
    if not any(_key(name) in masks for name in images):
        raise UsageError(f"{source}: no mask belongs to an image; see docs/data.md for how they are paired")
    records = []
    without = 0
    for name in images:
        mask = masks.get(_key(name))
        folders = [part.lower() for part in PurePosixPath(name).parent.parts]
        split = next((found for part in folders if (found := split_of(part))), "")
        label = None
        if mask is None:
            label = AFFECTED if CLASS_NAMES[AFFECTED] in folders else NORMAL
            without += label == NORMAL
        records.append(Record(name, tree.files[name], split, label, mask=None if mask is None else tree.files[mask]))
    remarks = list(tree.remarks)
    if without:
        remarks.append(f"{source}: {without} images have no mask and count as normal")
    alone = set(masks) - {_key(name) for name in images}
    if alone:
        remarks.append(f"{source}: {len(alone)} masks belong to no image, such as {masks[min(alone)]}")
    return Found(tuple(records), tree.refused, tuple(remarks))


def _is_mask(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(_MASK_END.search(path.stem)) or any(part.lower() in _MASK_FOLDERS for part in path.parent.parts)


def _key(name: str) -> str:
    """The part of its name that an image shares with its mask."""
    path = PurePosixPath(name)
    folders = [part for part in path.parent.parts if part.lower() not in _MASK_FOLDERS | _IMAGE_FOLDERS]
    stem = _MASK_END.sub("", path.stem) if _is_mask(name) else path.stem
    return "/".join([*folders, stem]).casefold()
