"""How a name in a table meets a file on a disk: the one place that says when two names mean the same file.

Of several ways to read a name the strictest that finds a file counts (`Likeness`). What fits several files, or is
wanted by several names alike, is a `Doubt` and never a guess. Folders count: ``p1/view.jpg`` is not ``p2/view.jpg``. A
name may begin anywhere above its file (``view.jpg``, ``p1/view.jpg``, ``/data/p1/view.jpg``), as long as one file fits.
Folders of another place or computer are left away only where all names of the table share them and no file lies there.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Generic, TypeAlias, TypeVar

from cxrlens.inputs.readers import IMAGE_SUFFIXES

File = TypeVar("File")
Parts: TypeAlias = tuple[str, ...]  # of a path; an absolute one begins with "/" or a drive

_OTHER_ENDINGS = frozenset((
    *(".gif", ".jp2", ".j2k", ".jpx", ".jls", ".jfif", ".heic", ".avif", ".pgm", ".ppm", ".pnm", ".dic", ".ima"),
    *(".nii", ".mha", ".mhd", ".nrrd", ".img", ".raw", ".npy", ".npz", ".dat"),
))  # fmt: skip
_ENDINGS = IMAGE_SUFFIXES | _OTHER_ENDINGS


class Likeness(IntEnum):
    """How like two names are; a later one forgives what those before it do, too.

    ``/`` and ``\\`` are one separator, and ``./``, ``//`` and ``x/..`` say nothing, always.
    """

    EXACT = 0
    BLANKS = 1  # around the name and around its folders'
    ACCENTS = 2  # apart from their letters, as macOS stores them, or in one character with them
    CASE = 3
    ENDING = 4


_DIFFERENCE = {
    Likeness.ACCENTS: "with its accents in another Unicode form",
    Likeness.CASE: "in another letter case",
    Likeness.ENDING: "with another ending",
}


@dataclass(frozen=True)
class Match(Generic[File]):
    """A file that a name means.

    Attributes:
        is_moved: True where the name has folders of which none is that of the file.
    """

    file: File
    likeness: Likeness
    is_moved: bool = False

    @property
    def difference(self) -> str:
        """How name and file differ, to stand behind "names its image"; empty for what needs no remark."""
        return "in another folder" if self.is_moved else _DIFFERENCE.get(self.likeness, "")


@dataclass(frozen=True)
class Doubt(Generic[File]):
    """A name that fits several files, or a file for which several names fit equally loosely."""

    files: tuple[File, ...]


def ending_of(name: str) -> str:
    """The ending of an image's name, of those that are known; a UID, as DICOM files are called, has none."""
    ending = PurePosixPath(name).suffix
    return ending if ending.lower() in _ENDINGS else ""


def without_ending(name: str) -> str:
    """The name, or path, without its `ending_of`."""
    return name.removesuffix(ending_of(name))


def composed(text: str) -> str:
    """The text with each accent in one character with its letter."""
    return unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    """The text without letter case, its accents in one form."""
    return composed(unicodedata.normalize("NFD", text).casefold())


def plain_path(text: str) -> str:
    """A path without blanks around it, with ``/`` between its folders and none of ``./``, ``//`` and ``x/..``."""
    parts = path_parts(text, Likeness.BLANKS)
    return "/".join(parts).replace("//", "/", 1) if parts[:1] == ("/",) else "/".join(parts)


@lru_cache(maxsize=1 << 17)
def path_parts(text: str, likeness: Likeness) -> Parts:
    """The parts of a path in the form in which they are compared; none of an empty path."""
    text = text.replace("\\", "/")
    if likeness > Likeness.EXACT:
        text = text.strip()
    parts = ["/"] if text.startswith("/") else []
    for part in text.split("/"):
        if likeness > Likeness.EXACT:
            part = part.strip()
        if part == ".." and parts and parts[-1] not in ("..", "/"):
            parts.pop()
        elif part not in ("", "."):
            parts.append(_form(part, likeness))
    if likeness == Likeness.ENDING and parts:
        parts[-1] = without_ending(parts[-1])
    return tuple(parts)


def _form(part: str, likeness: Likeness) -> str:
    if likeness >= Likeness.CASE:
        return folded(part)
    return composed(part) if likeness == Likeness.ACCENTS else part


def is_absolute(text: str) -> bool:
    """True of a path from a root on, of this computer or of one with drives."""
    return bool(re.match(r"\s*([/\\]|[A-Za-z]:)", text))


def shared_parts(paths: Collection[Sequence[str]]) -> int:
    """How many of their first parts all paths share."""
    return sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, zip(*paths, strict=False)))


def canonical(path: Path) -> Path:
    """One spelling for all paths of a file: of its folder, links are followed; the file's own name is kept."""
    return Path(_real_folder(os.path.abspath(path.parent)), path.name)  # noqa: PTH100 (a path need not exist)


@lru_cache(maxsize=1 << 14)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


class FileNames:
    """Files below a folder, found by what a table calls them.

    Args:
        root: the folder.
        names: of the files, from it on, with ``/`` between folders.
        silent: folders that a name may leave out, such as those of classes.
    """

    def __init__(self, root: Path, names: Iterable[str], *, silent: Collection[str] = ()) -> None:
        self.names = tuple(names)
        self._known = frozenset(self.names)
        self.is_flat = not any("/" in name for name in self.names)
        self._root = tuple(dict.fromkeys(path.as_posix() for path in (root.absolute(), root.resolve())))
        self._silent = silent
        self._indexes: dict[Likeness, tuple[_Index, _Index]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def find(self, text: str, cut: int = 0) -> Match[str] | Doubt[str] | None:
        """The file that a name means, by the strictest `Likeness` that finds one.

        Args:
            cut: folders at the name's beginning that are left away.
        """
        before = None
        for likeness in Likeness:
            parts, indexes = path_parts(text, likeness)[cut:], self._index(likeness)
            if before == (parts, id(indexes)):
                continue
            before = parts, id(indexes)
            for index in indexes:
                if found := index.find(parts):
                    match = Match(found[0], likeness, is_moved=bool(cut) and len(parts) == 1)
                    return match if len(found) == 1 else Doubt(found)
        return None

    def namesakes(self, text: str, match: Match[str]) -> set[str]:
        """The other files below the root that a name could mean, were it not a path from the root on."""
        found: set[str] = set()
        for index in self._index(match.likeness):
            found |= index.ending_in(path_parts(text, match.likeness))
        return found - {match.file}

    def _index(self, likeness: Likeness) -> tuple[_Index, _Index]:
        """By the whole names, and by those without silent folders."""
        if likeness not in self._indexes:
            roots = tuple(path_parts(root, min(likeness, Likeness.CASE)) for root in self._root)
            whole = {name: path_parts(name, likeness) for name in self.names}
            if likeness in (Likeness.BLANKS, Likeness.ACCENTS):
                stricter = Likeness(likeness - 1)
                if all(parts == path_parts(name, stricter) for name, parts in whole.items()):
                    self._indexes[likeness] = self._index(stricter)
                    return self._indexes[likeness]
            silent = {folded(name) for name in self._silent}
            short = {
                name: (*(part for part in parts[:-1] if folded(part) not in silent), *parts[-1:])
                for name, parts in (whole.items() if silent else ())
            }
            shorter = {name: parts for name, parts in short.items() if parts != whole[name]}
            self._indexes[likeness] = _Index(roots, whole), _Index(roots, shorter)
        return self._indexes[likeness]


class _Index:
    """Names by their parts in one form."""

    def __init__(self, roots: Sequence[Parts], names: Mapping[str, Parts]) -> None:
        self._roots = roots
        self._whole: dict[Parts, list[str]] = defaultdict(list)
        self._ends: dict[Parts, list[str]] = defaultdict(list)
        for name, parts in names.items():
            self._whole[parts].append(name)
            for start in range(1, len(parts)):
                self._ends[parts[start:]].append(name)

    def find(self, parts: Parts) -> tuple[str, ...]:
        """The names of these parts, counted from the root or from a folder above it on; else those that end in them."""
        found = self._whole.get(parts, []).copy()
        for root in self._roots:
            for start in range(1, min(len(parts), len(root) + 1)):
                if parts[:start] == root[-start:]:
                    found += self._whole.get(parts[start:], [])
        return tuple(dict.fromkeys(found or self._ends.get(parts, [])))

    def ending_in(self, parts: Parts) -> set[str]:
        """The names that end in these parts, or consist of them."""
        return {*self._whole.get(parts, ()), *self._ends.get(parts, ())}


def match_all(
    texts: Sequence[str], files: FileNames, *, base: Path | None = None, is_settled: bool = False
) -> list[Match[str] | Doubt[str] | None]:
    """The file of each name of a table.

    Folders that all names share are left away, as few as needed, only where no name has a file otherwise; all folders
    only where none has one then either and the files, several, lie in one folder.

    Args:
        base: the table's folder, from which on a name with ``..`` counts.
        is_settled: the table names files where they lie, so that no folder is left away.
    """
    found: list[Match[str] | Doubt[str] | None] = [None] * len(texts)
    texts = [f"{base.absolute()}/{text}" if base and path_parts(text, Likeness.CASE)[:1] == ("..",) else text
             for text in texts]  # fmt: skip
    by_start: dict[str, list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        by_start[path_parts(text, Likeness.CASE)[0] if is_absolute(text) else ""].append(place)
    for start, places in by_start.items():
        shared = shared_parts([path_parts(texts[place], Likeness.CASE)[:-1] for place in places])
        for cut in range(1 if is_settled else shared + 1):
            for place in places:
                found[place] = files.find(texts[place], cut)
                if found[place] is None and not cut and start == "/":
                    found[place] = files.find(str(canonical(Path(plain_path(texts[place])))))
            if any(found[place] for place in places):
                break
    if not is_settled and not any(found) and files.is_flat and len(files.names) > 1:
        found = [files.find(text, max(len(path_parts(text, Likeness.CASE)) - 1, 0)) for text in texts]
    return found


@dataclass
class Pairing:
    """Names of a table and the files that they mean, one name for a file.

    Attributes:
        names: the place of its name by file.
        matches: by the place of the name.
        repeated: (name that counts for nothing, name of the same file that counts), as places.
        doubtful_names: places of names that fit several files, with these.
        doubtful_files: files for which several names fit equally loosely, with the places of these.
        unmet: places of names that mean no file, or one for which another name fits better.
    """

    names: dict[str, int] = field(default_factory=dict)
    matches: dict[int, Match[str]] = field(default_factory=dict)
    repeated: list[tuple[int, int]] = field(default_factory=list)
    doubtful_names: dict[int, tuple[str, ...]] = field(default_factory=dict)
    doubtful_files: dict[str, list[int]] = field(default_factory=dict)
    unmet: list[int] = field(default_factory=list)


def pair(texts: Sequence[str], files: FileNames, *, base: Path | None = None) -> Pairing:
    """Give each file the one name of a table that means it; of several equally good ones the last.

    Args:
        base: see `match_all`.
    """
    pairing = Pairing()
    claims: dict[str, list[int]] = defaultdict(list)
    for place, found in enumerate(match_all(texts, files, base=base)):
        if found is None:
            pairing.unmet.append(place)
        elif isinstance(found, Doubt):
            pairing.doubtful_names[place] = found.files
        else:
            pairing.matches[place] = found
            claims[found.file].append(place)
    for file, places in [*claims.items()]:  # "a.jpg" is a path, or else a bare name that "p1/a.jpg" has, too
        for place in places:
            others = {other for other in files.namesakes(texts[place], pairing.matches[place]) if other not in claims}
            if others:
                pairing.doubtful_names[place] = (file, *sorted(others))
        claims[file] = [place for place in places if place not in pairing.doubtful_names]
    for file, places in claims.items():
        if not places:
            continue
        quality = {place: (pairing.matches[place].is_moved, pairing.matches[place].likeness) for place in places}
        best = min(quality.values())
        chosen = [place for place in places if quality[place] == best]
        pairing.unmet += [place for place in places if quality[place] != best]
        if len(chosen) > 1 and pairing.matches[chosen[0]].difference:
            pairing.doubtful_files[file] = chosen
        else:
            pairing.names[file] = chosen[-1]
            pairing.repeated += [(place, chosen[-1]) for place in chosen[:-1]]
    pairing.unmet.sort()
    pairing.repeated.sort()
    return pairing


class Disk:
    """Files by path, each folder listed once, at the first name that lies in it."""

    def __init__(self) -> None:
        self._listed: dict[str, frozenset[str] | None] = {}
        self._forms: dict[tuple[str, Likeness], Mapping[Parts, Sequence[str]]] = {}

    def find(self, text: str, base: Path, *, strict: bool = False) -> Match[Path] | Doubt[Path] | None:
        """The file or folder at a path.

        Args:
            text: the path, from ``base`` on or absolute.
            strict: only by `Likeness` that needs no remark.
        """
        for likeness, spelling in ((Likeness.EXACT, text), (Likeness.EXACT, "/".join(text.split("\\"))),
                                   (Likeness.BLANKS, plain_path(text))):  # fmt: skip
            path = Path(base, spelling)
            if spelling and "\0" not in spelling and self._holds(path):
                return Match(path, likeness)
        if strict or "\0" in text:
            return None
        for likeness in Likeness:
            like = self._like(path_parts(text, Likeness.BLANKS), base, likeness)
            found = tuple(path for path in like if not path.is_dir())
            if found:
                return Match(found[0], likeness) if len(found) == 1 else Doubt(found)
        return None

    def _like(self, parts: Parts, base: Path, likeness: Likeness) -> tuple[Path, ...]:
        """The paths that are like one; an absolute one is followed by its exact name as far as that is there."""
        start = 0
        if parts[:1] == ("/",):
            while start < len(parts) and os.path.isdir(Path(*parts[: start + 1])):  # noqa: PTH112 (takes any name)
                start += 1
            base = Path(*parts[:start])
        folders = [base]
        for place, part in enumerate(parts[start:], start + 1):
            how = likeness if place == len(parts) else min(likeness, Likeness.CASE)
            folders = [
                folder / name
                for folder in folders
                for name in ((part,) if part == ".." else self._by_form(folder, how).get(path_parts(part, how), ()))
            ]
        return tuple(folders) if len(parts) > start else ()

    def _holds(self, path: Path) -> bool:
        if path.name in ("", ".."):
            return os.path.exists(path)  # noqa: PTH110 (takes any name)
        names = self.names(path.parent)
        return os.path.lexists(path) if names is None else path.name in names

    def _by_form(self, folder: Path, likeness: Likeness) -> Mapping[Parts, Sequence[str]]:
        """The names in a folder by the form in which they are compared."""
        place = str(folder), likeness
        if place not in self._forms:
            forms: dict[Parts, list[str]] = defaultdict(list)
            for name in sorted(self.names(folder) or ()):
                forms[path_parts(name, likeness)].append(name)
            self._forms[place] = forms
        return self._forms[place]

    def names(self, folder: Path) -> frozenset[str] | None:
        """The names in a folder; None where it may not be listed."""
        place = str(folder)
        if place not in self._listed:
            try:
                self._listed[place] = frozenset(entry.name for entry in folder.iterdir())
            except PermissionError:
                self._listed[place] = None
            except OSError:
                self._listed[place] = frozenset()
        return self._listed[place]


@dataclass
class Differences:
    """What was matched only loosely, to be said with a count and an example of each kind."""

    _found: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def note(self, text: str, difference: str, file: str) -> None:
        """Keep a name, its file, and the `Match.difference` of the two, where there is one."""
        if difference:
            self._found[difference].append(f"{text} for {file}")

    def remarks(self, where: str) -> list[str]:
        """A sentence for each kind.

        Args:
            where: begins the sentence, such as "rows of dev.csv".
        """
        return [
            f"{len(examples)} {where} name their image {difference}, such as {examples[0]}"
            for difference, examples in sorted(self._found.items())
        ]
