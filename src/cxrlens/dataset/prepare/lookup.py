"""Finding the images that a table names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrlens.dataset.prepare.tree import Tree
from cxrlens.inputs.dataset.manifest import safe_name
from cxrlens.inputs.matching import (
    Differences,
    Disk,
    Doubt,
    FileNames,
    Match,
    canonical,
    is_absolute,
    match_all,
    plain_path,
)
from cxrlens.inputs.origin import FileOrigin, Origin


@dataclass(frozen=True)
class NamedImages:
    """What a table's names mean.

    Attributes:
        origins: for each name the file, or why there is none.
        matches: how like a name is to its file; None where there is none.
        remarks: a sentence for each kind of names that were matched loosely.
    """

    origins: Sequence[Origin | str]
    matches: Sequence[Match[Path] | Match[str] | None]
    remarks: Sequence[str]

    def by_file(self) -> list[list[int]]:
        """The places of the names that mean one file, for each file; those that fit it best come first."""
        places: dict[Origin, list[int]] = {}
        for place, origin in enumerate(self.origins):
            if not isinstance(origin, str):
                same = FileOrigin(canonical(origin.path)) if isinstance(origin, FileOrigin) else origin
                places.setdefault(same, []).append(place)
        return [sorted(each, key=self.quality) for each in places.values()]

    def quality(self, place: int) -> tuple[bool, int]:
        """Smaller for a name that fits its file better."""
        match = self.matches[place]
        assert match is not None, "the name means a file"
        return match.is_moved, match.likeness

    def is_doubtful(self, places: Sequence[int]) -> bool:
        """True where the first two of a file's names, see `by_file`, are equally unlike it."""
        first = self.matches[places[0]]
        assert first is not None, "the name means a file"
        return len(places) > 1 and bool(first.difference) and self.quality(places[0]) == self.quality(places[1])


def find_images(
    tree: Tree, texts: Sequence[str], *, table: str, beside: str = "", anywhere: bool = False
) -> NamedImages:
    """Find the files of a tree by what a CSV or JSON calls them.

    Each is looked for from a folder of the tree on, from the tree's root on, and then as `cxrlens.inputs.matching`
    says. The tree is searched only for what lies at none of the places named.

    Args:
        texts: paths, or bare names.
        table: what the remarks call the CSV or JSON.
        beside: a folder of the tree.
        anywhere: also take files outside the tree.
    """
    disk = Disk()
    found: list[Match[Path] | Match[str] | Doubt[Path] | Doubt[str] | None] = [
        _in_place(disk, tree, text, beside, anywhere=anywhere) for text in texts
    ]
    if None in found:
        names = FileNames(tree.root, tree.files)
        settled = any(match is not None for match in found)
        inside = match_all([_from_folder(text, beside, names) for text in texts], names, is_settled=settled)
        found = [match or other for match, other in zip(found, inside, strict=True)]
    if anywhere:
        found = [
            disk.find(text, tree.root) if match is None and _leads_out(text) else match
            for text, match in zip(texts, found, strict=True)
        ]
    differences = Differences()
    origins: list[Origin | str] = []
    for text, match in zip(texts, found, strict=True):
        if isinstance(match, Match):
            differences.note(text, match.difference, str(match.file))
        origins.append(_origin(match, tree))
    matches = [match if isinstance(match, Match) else None for match in found]
    return NamedImages(origins, matches, differences.remarks(f"entries of {table}"))


def _in_place(disk: Disk, tree: Tree, text: str, beside: str, *, anywhere: bool) -> Match[Path] | None:
    """The file where the name says it is, from the folder or the root on."""
    for start in dict.fromkeys((beside, "")):
        if anywhere or safe_name(plain_path(text)):
            match = disk.find(text, tree.root / start, strict=True)
            if isinstance(match, Match) and match.file.exists() and not match.file.is_dir():
                return match
    return None


def _from_folder(text: str, beside: str, names: FileNames) -> str:
    """The name from the root on where it is that of a file in the folder, such as a member of an archive."""
    below = plain_path(f"{beside}/{text}") if beside and not is_absolute(text) else text
    return below if below in names else text


def _leads_out(text: str) -> bool:
    return is_absolute(text) or plain_path(text).startswith("..")


def _origin(match: Match[Path] | Match[str] | Doubt[Path] | Doubt[str] | None, tree: Tree) -> Origin | str:
    if match is None:
        return f"there is no such image in {tree.root}"
    if isinstance(match, Doubt):
        return f"there are {len(match.files)} images of this name, such as {match.files[0]} and {match.files[1]}"
    return FileOrigin(match.file) if isinstance(match.file, Path) else tree.files[match.file]
