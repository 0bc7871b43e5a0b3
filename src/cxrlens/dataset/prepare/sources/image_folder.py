"""A folder for each class, as torchvision's ImageFolder has them: ``[SPLIT/]CLASS/.../image``.

Folders that all images share are looked through. Where every folder below them is called train, dev (val, valid ...)
or test, the classes lie within.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

from cxrlens.dataset.prepare.classes import label_classes
from cxrlens.dataset.prepare.record import ClassNames, Found, Record, split_of
from cxrlens.dataset.prepare.tree import Tree
from cxrlens.errors import UsageError
from cxrlens.inputs.matching import shared_parts
from cxrlens.wording import are, counted


def applies(source: Path, tree: Tree) -> bool:
    """True where images lie in at least two class folders."""
    return source.is_dir() and len({name for _, name in _places(tree).values()} - {""}) > 1


def scan(source: Path, tree: Tree, names: ClassNames) -> Found:
    """The images of all classes.

    Raises:
        UsageError: when there is no class folder, or a class is neither affected nor normal.
    """
    places = _places(tree)
    classes = {name for _, name in places.values()} - {""}
    if not classes:
        raise UsageError(f"{source}: holds no images in class folders; put the images of each class into one")
    labels = label_classes(sorted(classes), names, where=str(source))
    records = []
    left_out: Counter[str] = Counter()
    for name, (split, class_name) in places.items():
        label = labels.get(class_name)
        if label is None:
            left_out[class_name] += 1
        else:
            records.append(Record(name, tree.files[name], split, label))
    remarks = list(tree.remarks)
    for class_name, count in sorted(left_out.items()):
        where = f"in the class '{class_name}'" if class_name else "in no class folder"
        remarks.append(f"{source}: {counted(count, 'image lies', 'images lie')} {where} and {are(count)} left out")
    return Found(tuple(records), tree.refused, tuple(remarks))


def _places(tree: Tree) -> dict[str, tuple[str, str]]:
    """Split and class of each image, empty where it lies in none."""
    parents = {name: PurePosixPath(name).parent.parts for name in tree.files}
    shared = shared_parts(parents.values())
    above = next(iter(parents.values()), ())[:shared]
    split = next((found for part in reversed(above) if (found := split_of(part))), "")
    below = {name: parts[shared:] for name, parts in parents.items()}
    if not split and all(parts and split_of(parts[0]) for parts in below.values()):
        return {name: (split_of(parts[0]), parts[1] if len(parts) > 1 else "") for name, parts in below.items()}
    return {name: (split, parts[0] if parts else "") for name, parts in below.items()}
