"""The files to screen: of a folder, of a list, or of the standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from cxrlens.errors import UsageError
from cxrlens.inputs.finding import log_left_out, walk_images
from cxrlens.outputs import is_screened

STDIN = "-"


@dataclass(frozen=True)
class Sources:
    """The files and folders that a user named.

    Attributes:
        root: the one folder, or the working directory for a list of files; names are relative to it.
        given: absolute paths of files and folders.
        folders: which of them are folders, and stay such while they cannot be reached.
        from_stdin: whether paths come from the standard input instead.
    """

    root: Path
    given: tuple[Path, ...] = ()
    folders: frozenset[Path] = frozenset()
    from_stdin: bool = False
    _left_out: set[Path] = field(default_factory=set, init=False, repr=False, compare=False)

    def files(self) -> Iterator[Path]:
        """The files as they are found; of folders the images in them."""
        if self.from_stdin:
            for path in read_paths(sys.stdin.buffer):
                yield _absolute(path)
            return
        for path in self.given:
            yield from self.files_of(path)

    def files_of(self, given: Path) -> Iterator[Path]:
        """The files of one of the given paths; results of commands that lie among them are left out, and named once.

        Raises:
            UsageError: when a folder cannot be searched.
        """
        if given not in self.folders:
            yield given
            return
        left_out: list[Path] = []
        yield from walk_images(given, recursive=True, any_dicom=True, left_out=left_out.append)
        new = [path for path in left_out if path not in self._left_out]
        self._left_out.update(new)
        log_left_out(new)


def take_sources(texts: Sequence[str]) -> Sources:
    """Sources as a command line names them: a folder, files (and folders), or "-" for paths on the standard input.

    Raises:
        UsageError: when a path does not exist, or is the output of a screening, or "-" is not alone.
    """
    if STDIN in texts:
        if len(texts) > 1:
            raise UsageError("'-' takes paths from the standard input and stands alone; give it, or files, or a folder")
        return Sources(Path.cwd(), from_stdin=True)
    paths = tuple(_absolute(Path(text)) for text in texts)
    for path in paths:
        if not os.path.lexists(path):
            raise UsageError(f"{path}: no such file or folder; check the path")
        if is_screened(path):
            raise UsageError(f"{path}: is the output of a screening (screening.json); give the folder of the images")
    if len(paths) == 1 and paths[0].is_dir():
        root = paths[0].resolve()
        return Sources(root, (root,), frozenset((root,)))
    return Sources(Path.cwd(), paths, frozenset(path for path in paths if path.is_dir()))


def read_paths(stream: BinaryIO) -> Iterator[Path]:
    """Paths separated by zero bytes where the first bytes that hold a path hold one, else a line each."""
    separator, rest = b"", b""
    while chunk := os.read(stream.fileno(), 1 << 16):
        rest += chunk
        if not separator:
            separator = b"\0" if b"\0" in rest else b"\n" if b"\n" in rest else b""
        if separator:
            *whole, rest = rest.split(separator)
            yield from (path for part in whole if (path := _path(part, separator)))
    if path := _path(rest, separator):
        yield path


def _path(part: bytes, separator: bytes) -> Path | None:
    text = os.fsdecode(part if separator == b"\0" else part.removesuffix(b"\r"))
    return Path(text) if text else None


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 (links keep their own names)
