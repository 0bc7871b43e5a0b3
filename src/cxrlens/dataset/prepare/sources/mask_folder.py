"""Images with mask images: what is not black in a mask is an object.

A file is a mask when it lies below a folder called ``masks`` or ``mask``, or when its name ends in ``_mask``,
``-mask`` or ``.mask`` before its ending. It belongs to the image whose path is the same once these folders and
endings, and folders called ``images`` or ``image``, are taken away: ``train/masks/a.png`` and ``train/a_mask.png`` to
``train/images/a.jpg`` and to ``train/a.jpg``. An image without a mask is normal, unless it lies in a folder called
affected; a split is a folder called train, dev (val, valid ...) or test.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from cxrlens.dataset.prepare.record import ClassNames, Found, Record, split_of
from cxrlens.dataset.prepare.tree import Tree
from cxrlens.errors import UsageError
from cxrlens.inputs.dataset.layouts import AFFECTED, CLASS_NAMES, NORMAL
from cxrlens.inputs.matching import Differences, Likeness, Match, folded, path_parts, without_ending
from cxrlens.wording import counted

_MASK_FOLDERS = frozenset({"mask", "masks"})
_IMAGE_FOLDERS = frozenset({"image", "images"})
_MASK_END = re.compile(r"[._-]mask$", re.IGNORECASE)


def applies(source: Path, tree: Tree) -> bool:
    """True where a mask belongs to an image."""
    if not source.is_dir():
        return False
    keys = {True: set[str](), False: set[str]()}
    for name in tree.files:
        keys[_is_mask(name)].add(_key(name, Likeness.CASE))
    return not keys[True].isdisjoint(keys[False])


def scan(source: Path, tree: Tree, _names: ClassNames) -> Found:
    """The images, with their masks.

    Raises:
        UsageError: when no mask belongs to an image, or two belong to one.
    """
    images = [name for name in tree.files if not _is_mask(name)]
    masks = [name for name in tree.files if _is_mask(name)]
    by_image, doubtful, differences = _paired(source, images, masks)
    if not by_image and not doubtful:
        raise UsageError(f"{source}: no mask belongs to an image; see docs/data.md for how they are paired")
    records = []
    without = 0
    for name in images:
        if name in doubtful:
            continue
        mask = by_image.get(name)
        folders = [folded(part) for part in PurePosixPath(name).parent.parts]
        split = next((found for part in folders if (found := split_of(part))), "")
        label = None
        if mask is None:
            label = AFFECTED if CLASS_NAMES[AFFECTED] in folders else NORMAL
            without += label == NORMAL
        records.append(Record(name, tree.files[name], split, label, mask=None if mask is None else tree.files[mask]))
    remarks = [*tree.remarks, *differences.remarks("masks")]
    if without:
        remarks.append(
            f"{source}: {counted(without, 'image has no mask and counts', 'images have no mask and count')} as normal"
        )
    alone = sorted(set(masks) - set(by_image.values()) - {mask for pair in doubtful.values() for mask in pair})
    if alone:
        remarks.append(
            f"{source}: {counted(len(alone), 'mask belongs', 'masks belong')} to no image, such as {alone[0]}"
        )
    refused = [
        f"{source / name}: the mask {pair[0]} may be that of another image of this name; give them names of their own"
        for name, pair in doubtful.items()
    ]
    return Found(tuple(records), (*tree.refused, *refused), tuple(remarks))


def _paired(
    source: Path, images: Sequence[str], masks: Sequence[str]
) -> tuple[dict[str, str], dict[str, list[str]], Differences]:
    """The mask of each image; images whose masks may be another's, with these; and which names are not quite alike.

    Raises:
        UsageError: when two masks belong to one image.
    """
    by_image: dict[str, str] = {}
    doubtful: dict[str, list[str]] = {}
    differences = Differences()
    for likeness in (Likeness.EXACT, Likeness.ACCENTS, Likeness.CASE):
        groups: dict[str, tuple[list[str], list[str]]] = {}
        for place, names in enumerate((images, masks)):
            for name in names:
                groups.setdefault(_key(name, likeness), ([], []))[place].append(name)
        taken = set(by_image.values())
        for of_images, of_masks in groups.values():
            left = [name for name in of_images if name not in by_image and name not in doubtful]
            free = [mask for mask in of_masks if mask not in taken]
            if not left or not free:
                continue
            if len(of_images) == len(of_masks) == 1:
                by_image[left[0]] = free[0]
                differences.note(free[0], Match(free[0], likeness).difference, left[0])
            elif len(of_images) == 1:
                raise UsageError(
                    f"{source}: {of_masks[0]} and {of_masks[1]} are masks of one image; unite them, or remove one"
                )
            else:
                doubtful |= dict.fromkeys(left, free)
    return by_image, doubtful, differences


def _is_mask(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(_MASK_END.search(without_ending(path.name))) or any(
        part.lower() in _MASK_FOLDERS for part in path.parent.parts
    )


def _key(name: str, likeness: Likeness) -> str:
    """The part of its name that an image shares with its mask."""
    path = PurePosixPath(name)
    folders = [part for part in path.parent.parts if part.lower() not in _MASK_FOLDERS | _IMAGE_FOLDERS]
    stem = without_ending(path.name)
    return "/".join(path_parts("/".join([*folders, _MASK_END.sub("", stem) if _is_mask(name) else stem]), likeness))
