"""Output folders: which names in a folder this program wrote, the lock of a writer, and removing nothing else."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cxrlens.errors import UsageError
from cxrlens.files import is_partial, new_folder, refuse_folder, write_json

MARK = ".cxrlens.json"
"""A file that names what commands wrote into its folder: no command takes these for images, and `force` replaces them
alone."""

LOCK = ".lock"

_HEAD = 64
_OLD = 3600.0
_SCREENED = ("pictures", "maps", "report_files", "dicom")
_EXPLAINED = ("overlays", "maps", "dicom")


def make_private(path: Path) -> None:
    """Make a folder that its owner alone may read, whatever the umask; one that is there keeps its rights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_dir():
            raise


def new_private_folder(path: Path) -> None:
    """Make a folder as `make_private` does.

    Raises:
        UsageError: when it cannot be made.
    """
    try:
        make_private(path)
    except OSError as error:
        raise _not_made(path, error) from error


def new_output(
    path: Path,
    names: Collection[str],
    *,
    force: bool = False,
    known: Collection[str] = (),
    remedy: str = "give another name or `force`",
) -> Path:
    """Make a folder for results, readable by its owner alone, or take one for it.

    Args:
        names: of the files and folders that will be written right into it; the folder's `MARK` keeps them.
        force: take a folder that holds something. What this program wrote there before is replaced.
        known: names that it wrote there before, as something else than the mark says.

    Raises:
        UsageError: when the folder holds something and ``force`` is not given, when one of the names is there and was
            not written by this program, or when the folder cannot be made.
    """
    new_private_folder(path)
    own = _check_output(path, names, force=force, known=known, remedy=remedy)
    try:
        write_json(path / MARK, {"format": 1, "names": sorted(own | set(names))})
        remove_partials(path, names, unless_younger=_OLD)
    except OSError as error:
        raise _not_made(path, error) from error
    return path


def _check_output(
    path: Path, names: Collection[str], *, force: bool, known: Collection[str], remedy: str
) -> frozenset[str]:
    """Refuse a folder that may not be written into; the names in it that are this program's."""
    try:
        there = {entry.name for entry in path.iterdir()} - {MARK, LOCK}
    except OSError as error:
        raise _not_made(path, error) from error
    there = {name for name in there if not is_partial(name)}
    if there and not force:
        raise UsageError(f"{path}: already exists and is not empty; {remedy}")
    check_kinds(path, names)
    own = own_names(path) | set(known)
    if foreign := sorted(there & set(names) - own):
        raise UsageError(
            f"{path / foreign[0]}: is there already, and was not written by cxrlens; move it away, or give "
            "another folder"
        )
    return own


def check_kinds(folder: Path, names: Iterable[str]) -> None:
    """Make sure that no folder lies where a file will be written, and no file where a folder will be.

    Args:
        names: of files and folders right in the folder; a file's has a dot.

    Raises:
        UsageError: when one does; it is named.
    """
    for path in sorted(folder / name for name in names):
        is_file = "." in path.name
        if is_file:
            refuse_folder(path)
        elif os.path.lexists(path) and not path.is_dir():
            raise UsageError(f"{path}: is no folder, and one of this name is to be written; move it away")


def _not_made(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path}: cannot be made ({error.strerror or error}); choose another place")


@contextmanager
def output_folder(
    path: Path,
    names: Collection[str],
    *,
    force: bool = False,
    known: Collection[str] = (),
    remedy: str = "give another name or `force`",
) -> Iterator[Path]:
    """A folder as `new_output` takes it, into which no other process writes meanwhile.

    One that is refused gets no lock either.

    Raises:
        UsageError: as `new_output` and `locked` do.
    """
    if path.is_dir() and not os.path.lexists(path / LOCK):
        _check_output(path, names, force=force, known=known, remedy=remedy)
    with claimed(path, "writing", "an `out`"):
        yield new_output(path, names, force=force, known=known, remedy=remedy)


@contextmanager
def claimed(folder: Path, work: str, place: str, *, private: bool = True) -> Iterator[None]:
    """Make a folder where there is none, and hold its lock, see `locked`.

    What is refused, or fails, before it has written anything there leaves nothing: no lock, no `MARK`, no new folder.

    Args:
        private: a new folder is readable by its owner alone.

    Raises:
        UsageError: when it cannot be made; likewise as `locked` does.
    """
    new = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        if private:
            new_private_folder(folder)
        else:
            new_folder(folder, force=True)
        before = set(folder.iterdir())
        with locked(folder, work, place):
            try:
                yield
            except Exception:
                written = set(folder.iterdir()) - before
                for file in written if written <= {folder / MARK, folder / LOCK} else ():
                    with suppress(OSError):  # a lock that is held, on some systems
                        file.unlink()
                raise
    except Exception:
        for path in new:
            with suppress(OSError):  # it holds something
                path.rmdir()
        raise


def own_names(folder: Path, there: Collection[str] | None = None) -> frozenset[str]:
    """The names of what this program wrote right into a folder; none in a folder that is not its own.

    Known by the folder's `MARK`, by a ``screening.json`` that says how images were screened, and by the table of
    explanations of an earlier version.

    Args:
        there: names in the folder, where they are known.
    """
    names = {MARK, "screening.json", "explanations.csv"} if there is None else set(there)
    found: set[str] = set()
    if MARK in names:
        found |= _marked(folder / MARK)
    if "screening.json" in names and is_screened(folder):
        found |= set(_SCREENED)
    if "explanations.csv" in names and _head(folder / "explanations.csv").startswith(b"image,probability,decision,"):
        found |= {*_EXPLAINED, "explanations.csv", "unreadable.txt"}
    return frozenset(found)


def _marked(path: Path) -> set[str]:
    content = _json(path)
    if content.get("format") != 1 or not isinstance(content.get("names"), list):
        return set()
    return {name for name in content["names"] if isinstance(name, str) and Path(name).name == name}


def is_screened(folder: Path) -> bool:
    """True where ``screening.json`` says how the folder was screened, and not just any file of that name."""
    info = _json(folder / "screening.json")
    is_whole = {"format", "root", "model", "threshold"} <= info.keys()
    return is_whole and re.fullmatch("[0-9a-f]{64}", str(info.get("model_sha256"))) is not None


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_HEAD)
    except OSError:
        return b""


@contextmanager
def locked(folder: Path, work: str, place: str) -> Iterator[None]:
    """No other process writes into the folder meanwhile; the system takes the lock from one that is killed.

    Args:
        work: what is done, such as "training".
        place: the argument that names another folder, such as "`run_dir`".

    Raises:
        UsageError: when another process holds it, or the file system has no locks.
    """
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise UsageError(
            f"{folder}: another process is {work} into this folder; wait for it, or give another"
        ) from error
    except (OSError, NotImplementedError) as error:
        raise UsageError(
            f"{lock.lock_file}: cannot be locked ({getattr(error, 'strerror', None) or error}), so that two processes "
            f"could write into this folder; check the rights, or give {place} on a local disk: some network shares "
            "have no locks"
        ) from error
    try:
        yield
    finally:
        lock.release()


def starts_with(*heads: bytes) -> Callable[[Path], bool]:
    """A check of a file's first bytes."""
    return lambda path: _head(path).startswith(heads)


def require_own(path: Path, check: Callable[[Path], bool]) -> None:
    """Make sure that a file may be replaced: there is none, or one that this program wrote.

    Raises:
        UsageError: when something else is there.
    """
    if os.path.lexists(path) and not (path.is_file() and check(path)):
        raise UsageError(
            f"{path}: is there already, and was not written by cxrlens; move it away, or give another name"
        )


def remove_own(folder: Path, own: Mapping[str, Callable[[Path], bool] | None], *, last: Collection[str] = ()) -> None:
    """Remove all files of a folder, and its folders; or nothing, where a file was not written by this program.

    Links are removed, never followed.

    Args:
        own: patterns of the paths of its own files from the folder on, each with a check of the file's content.
        last: paths of files that go after all others, and after the folders, so that a killed process leaves a folder
            that is still known, or an empty one.

    Raises:
        UsageError: when something else is there; it is named.
    """
    files, folders = list[Path](), list[Path]()
    for parent, inner, names in os.walk(folder):
        linked = [name for name in inner if Path(parent, name).is_symlink()]
        folders += [Path(parent, name) for name in inner if name not in linked]
        files += [Path(parent, name) for name in (*names, *linked)]
    files = [file for file in files if file != folder / LOCK]
    for file in files:
        if not _is_own(file, file.relative_to(folder).as_posix(), own):
            raise UsageError(
                f"{file}: was not written by cxrlens, and its folder would be replaced; move it away, or give another "
                "name"
            )
    kept_longest = [file for file in files if file.relative_to(folder).as_posix() in last]
    for file in sorted(set(files).difference(kept_longest), key=lambda file: not file.is_symlink()):
        file.unlink(missing_ok=True)  # links before what they point to
    for inside in reversed(folders):
        with suppress(OSError):  # another process has written into it since
            inside.rmdir()
    for file in kept_longest:
        file.unlink(missing_ok=True)


def _is_own(file: Path, name: str, own: Mapping[str, Callable[[Path], bool] | None]) -> bool:
    if is_partial(file.name):
        return True
    for pattern, check in own.items():
        if re.fullmatch(pattern, name):
            return file.is_symlink() or (file.is_file() and (check is None or check(file)))
    return False


def remove_partials(folder: Path, names: Iterable[str], *, unless_younger: float = 0.0) -> None:
    """Remove what killed writers left half written right in a folder, and anywhere in its folders of these names.

    Call it where no other process writes, or leave those alone that were last written less than so many seconds ago.
    """
    now = time.time()
    places = [folder, *(Path(parent) for name in names for parent, _, _ in os.walk(folder / name))]
    for file in (file for place in places for file in place.iterdir() if is_partial(file.name)):
        with suppress(OSError):
            if now - file.lstat().st_mtime >= unless_younger:
                file.unlink()
