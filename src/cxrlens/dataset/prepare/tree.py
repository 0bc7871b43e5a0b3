"""The image files below a folder, zip archives at its top counting as folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.dataset.manifest import safe_name
from cxrlens.inputs.finding import is_of_storage, is_unnamed, list_images
from cxrlens.inputs.matching import shared_parts
from cxrlens.inputs.origin import FileOrigin, Origin, ZipMember, list_members
from cxrlens.inputs.readers import IMAGE_SUFFIXES, starts_as_dicom


class Tree:
    """Image files by their name below ``root``, with ``/`` between folders, as `list_images` finds them.

    The members of ``train.zip`` count as files of a folder ``train``, with or without such a folder in the archive,
    unless the folder itself is there and holds images. The folder is searched when its files are asked for.

    Args:
        root: the folder.
        without: a folder that is passed over.
    """

    def __init__(self, root: Path, without: Path | None = None) -> None:
        self.root = root
        self._without = without
        self._refused: list[str] = []
        self._remarks: list[str] = []

    @cached_property
    def files(self) -> dict[str, Origin]:
        """Sorted by name, without hidden ones.

        Raises:
            UsageError: when the folder cannot be searched, or an archive cannot be read.
        """
        found = [path for path in list_images(self.root, recursive=True) if self._without not in path.parents]
        files: dict[str, Origin] = {path.relative_to(self.root).as_posix(): FileOrigin(path) for path in found}
        for archive in sorted(path for path in self.root.iterdir() if path.suffix.lower() == ".zip" and path.is_file()):
            if any(name.startswith(f"{archive.stem}/") for name in files):
                self._remarks.append(f"{archive.name} is not read: the folder '{archive.stem}' beside it holds images")
                continue
            members = list_members(archive)
            own = [member for member in members if not _is_of_storage(member)]
            if len(own) < len(members):
                self._remarks.append(
                    f"{archive.name}: {len(members) - len(own)} members in folders of a storage's own (thumbnails, "
                    "deleted files) are left out"
                )
            for member, name in _mounted(archive.stem, [each for each in own if _is_image(each)]):
                if name is None:
                    self._refused.append(f"{member}: its name leads out of the archive or cannot be a file's name")
                elif name in files:
                    self._refused.append(f"{member}: a second member of this name in the archive")
                else:
                    files[name] = member
        return dict(sorted(files.items()))

    @property
    def refused(self) -> tuple[str, ...]:
        """A sentence for each archive member that cannot be used; none before the folder was searched."""
        return tuple(self._refused)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Other oddities of the folder; none before the folder was searched."""
        return tuple(self._remarks)

    def in_folder(self, folder: str) -> list[str]:
        """The names below a folder."""
        return [name for name in self.files if name.startswith(f"{folder}/")]

    def folders(self) -> list[str]:
        """The folders at the top that hold images."""
        return sorted({name.split("/")[0] for name in self.files if "/" in name})


def _is_image(member: ZipMember) -> bool:
    """By its ending, or a DICOM file without one; hidden members and what macOS adds to archives are none."""
    path = _path(member)
    if any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in path.parts):
        return False
    return path.suffix.lower() in IMAGE_SUFFIXES or (is_unnamed(path) and _starts_as_dicom(member))


def _is_of_storage(member: ZipMember) -> bool:
    return any(is_of_storage(part) and part != "__MACOSX" for part in _path(member).parts[:-1])


def _path(member: ZipMember) -> PurePosixPath:
    return PurePosixPath(member.name.replace("\\", "/"))


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
