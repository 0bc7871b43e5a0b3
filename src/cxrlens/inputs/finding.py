"""The image files of a folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath

from cxrlens.errors import UsageError
from cxrlens.inputs.readers import IMAGE_SUFFIXES, has_dicom_mark
from cxrlens.outputs import own_names

log = logging.getLogger(__name__)

# Folders that servers and systems keep beside a user's files: thumbnails, copies and what was deleted. In lower case.
_OF_STORAGE = frozenset((
    *("@eadir", "#recycle", "#snapshot", "@tmp", "@sharebin"),  # Synology
    *("@recycle", "@recently-snapshot", ".@__thumb"),  # QNAP
    *(".appledouble", ".appledb", ".appledesktop", "network trash folder", "temporary items", "__macosx"),  # Netatalk
    *("system volume information", "$recycle.bin", "recycler", "thumbs", "thumbs.db"),  # Windows
    *("lost+found", "~snapshot"),
))  # fmt: skip


def is_of_storage(name: str) -> bool:
    """True of the name of a folder (or file) in which a server or system keeps its own copies of images."""
    return name.lower() in _OF_STORAGE


def require_folder(path: Path) -> Path:
    """The path itself when it is a folder.

    Raises:
        UsageError: when it does not exist or is a file.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such folder; check the path")
    if not path.is_dir():
        raise UsageError(f"{path}: this is a file, a folder is needed")
    return path


def walk_images(
    folder: Path,
    *,
    recursive: bool = False,
    any_dicom: bool = False,
    left_out: Callable[[Path], object] = lambda _: None,
) -> Iterator[Path]:
    """The images in a folder: by their ending (any case), or DICOM files without one; hidden ones are left out, and
    folders of the storage's own (`is_of_storage`).

    So are results that this program wrote there, such as overlays, see `cxrlens.outputs`.

    Whatever has an image's name is given, also a pipe, a broken link or, unless it is searched, a folder, and so is
    a folder that cannot be searched: reading it tells the reason, and nothing is passed over in silence. Each folder
    is searched once, so that links in a circle do not matter, linked ones after all others; links up to a folder that
    holds this one are not followed. The order depends on names alone: a folder's own images, sorted, then its folders.

    Args:
        recursive: search folders in folders.
        any_dicom: also give DICOM files of any other ending.
        left_out: called with each file or folder of results, and each folder of the storage's own, that is left out;
            `log_left_out` says it.

    Raises:
        UsageError: when the folder itself cannot be searched.
    """
    todo, links, seen = [folder], list[Path](), set[Path]()
    holding = {folder.resolve(), *folder.resolve().parents}
    while todo or links:
        here = todo.pop() if todo else links.pop(0)
        target = here.resolve()
        if target in seen or (here != folder and target in holding):
            continue
        seen.add(target)
        try:
            with os.scandir(here) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            if here == folder:
                raise UsageError(f"{folder}: cannot be searched ({error.strerror}); check its rights") from error
            yield here
            continue
        folders: list[Path] = []
        results = own_names(here, {entry.name for entry in entries})
        for entry in entries:
            path = Path(entry.path)
            if is_of_storage(entry.name) and _is_folder(entry):
                if recursive:
                    left_out(path)
                continue
            if entry.name.startswith("."):
                continue
            if entry.name in results:
                left_out(path)
                continue
            if recursive and _is_folder(entry):
                (links if entry.is_symlink() else folders).append(path)
            elif _has_image_name(path) or _is_unnamed_dicom(path, any_dicom):
                yield path
        todo += reversed(folders)


def list_images(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The images in a folder, as `walk_images` finds them; sorted.

    Args:
        recursive: search folders in folders.

    Raises:
        UsageError: when the folder itself cannot be searched.
    """
    left_out: list[Path] = []
    found = sorted(walk_images(folder, recursive=recursive, left_out=left_out.append))
    log_left_out(left_out)
    return found


def log_left_out(paths: Sequence[Path]) -> None:
    """Say what was left out and where: how many folders of the storage's own, and how many images among results."""
    of_storage = [path for path in paths if is_of_storage(path.name)]
    if of_storage:
        what = "folders of the storage's own (thumbnails, deleted files)"
        log.info("%d %s are not searched: %s", len(of_storage), what, _first_of(of_storage))
    images = {path: count for path in paths if not is_of_storage(path.name) and (count := _count_images(path))}
    if images:
        count = sum(images.values())
        log.info("%d images are results that cxrlens wrote, and are left out: %s", count, _first_of([*images]))


def _first_of(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths[:3])) + (" ..." if len(paths) > 3 else "")


def _count_images(path: Path) -> int:
    if not path.is_dir():
        return int(_has_image_name(path))
    return sum(_has_image_name(Path(name)) for _, _, names in os.walk(path) for name in names)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _has_image_name(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def is_unnamed(path: PurePath) -> bool:
    """True where it may be a DICOM file as archives name them: without an ending, or by a UID, whose last number looks
    like one."""
    ending = path.suffix[1:]
    return (not ending or ending.isdigit()) and not _is_directory_of_dicom(path)


def _is_unnamed_dicom(path: Path, any_ending: bool) -> bool:
    possible = not _is_directory_of_dicom(path) if any_ending else is_unnamed(path)
    return possible and has_dicom_mark(path)


def _is_directory_of_dicom(path: PurePath) -> bool:
    return path.name.upper() == "DICOMDIR"
