"""The image files below a folder, zip archives at its top counting as folders."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath

from cxrlens.data.layouts import is_unnamed, list_images
from cxrlens.data.manifest import safe_name
from cxrlens.data.prepare.origin import FileOrigin, Origin, ZipMember, list_members
from cxrlens.data.readers import IMAGE_SUFFIXES, starts_as_dicom
from cxrlens.errors import UnreadableImageError


@dataclass(frozen=True)
class Tree:
    """Image files by their name below ``root``, with ``/`` between folders, sorted.

    Attributes:
        root: the folder.
        files: without hidden ones.
        refused: a sentence for each archive member that cannot be used.
        remarks: what else was odd.
    """

    root: Path
    files: dict[str, Origin]
    refused: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def in_folder(self, folder: str) -> list[str]:
        """The names below a folder."""
        return [name for name in self.files if name.startswith(f"{folder}/")]

    def folders(self) -> list[str]:
        """The folders at the top that hold images."""
        return sorted({name.split("/")[0] for name in self.files if "/" in name})


def read_tree(root: Path) -> Tree:
    """List a folder as `list_images` does.

    The members of ``train.zip`` count as files of a folder ``train``, with or without such a folder in the archive,
    unless the folder itself is there and holds images.

    Raises:
        UsageError: when the folder cannot be searched, or an archive cannot be read.
    """
    found = list_images(root, recursive=True)
    files: dict[str, Origin] = {path.relative_to(root).as_posix(): FileOrigin(path) for path in found}
    refused: list[str] = []
    remarks: list[str] = []
    for archive in sorted(path for path in root.iterdir() if path.suffix.lower() == ".zip" and path.is_file()):
        if any(name.startswith(f"{archive.stem}/") for name in files):
            remarks.append(f"{archive.name} is not read: the folder '{archive.stem}' beside it holds images")
            continue
        members = [member for member in list_members(archive) if _is_image(member)]
        for member, name in _mounted(archive.stem, members):
            if name is None:
                refused.append(f"{member}: its name leads out of the archive or cannot be a file's name")
            elif name in files:
                refused.append(f"{member}: a second member of this name in the archive")
            else:
                files[name] = member
    return Tree(root, dict(sorted(files.items())), tuple(refused), tuple(remarks))


def shared_parts(paths: Collection[Sequence[str]]) -> int:
    """How many of their first parts all paths share."""
    return sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, zip(*paths, strict=False)))


def _is_image(member: ZipMember) -> bool:
    """By its ending, or a DICOM file without one; hidden members and what macOS adds to archives are none."""
    path = PurePosixPath(member.name.replace("\\", "/"))
    if any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in path.parts):
        return False
    return path.suffix.lower() in IMAGE_SUFFIXES or (is_unnamed(path) and _starts_as_dicom(member))


def _starts_as_dicom(member: ZipMember) -> bool:
    try:
        with member.open() as stream:
            return starts_as_dicom(stream)
    except UnreadableImageError:
        return False


def _mounted(folder: str, members: Sequence[ZipMember]) -> Iterator[tuple[ZipMember, str | None]]:
    """Each member with its name below ``folder``; folders that all share go as far as they end in that name."""
    names = [safe_name(member.name) for member in members]
    parents = [PurePosixPath(name).parent.parts for name in names if name is not None]
    shared = parents[0][: shared_parts(parents)] if parents else ()
    cut = len(shared) - shared[::-1].index(folder) if folder in shared else 0
    for member, name in zip(members, names, strict=True):
        yield member, None if name is None else "/".join((folder, *PurePosixPath(name).parts[cut:]))
