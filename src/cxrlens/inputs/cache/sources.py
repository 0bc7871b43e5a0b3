"""Known source files: the digest of their content, by place and state, so that unchanged files are not read."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

from cxrlens.files import write_text
from cxrlens.inputs.origin import Origin, State

# A file changed twice within one tick of its file system's clock (2 s on FAT) keeps its times.
_SETTLED_NS = 2_000_000_000


class SourceIndex:
    """Digests by place and state.

    It trusts that a change leaves a trace: a file whose inode, size and times are those noted has the content noted.
    Files that changed in the last two seconds before they were read are not noted. There is a file for each source
    folder, replaced as a whole: of two processes that note something at once one may be lost, and costs a reading.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, dict[str, list[int | str]]] = {}
        self._changed: set[str] = set()

    def digest(self, origin: Origin, state: State) -> str | None:
        """The digest that was noted for the file in this state."""
        shelf, name = _place(origin)
        noted = self._shelf(shelf).get(name)
        return str(noted[-1]) if noted and noted[:-1] == list(state.marks) else None

    def note(self, origin: Origin, state: State, digest: str) -> None:
        """Keep the digest of a file that had this state before and after it was read."""
        if time.time_ns() - state.changed < _SETTLED_NS:
            return
        shelf, name = _place(origin)
        self._shelf(shelf)[name] = [*state.marks, digest]
        self._changed.add(shelf)

    def save(self) -> None:
        """Write what was noted."""
        for shelf in self._changed:
            merged = self._read(shelf) | self._known[shelf]
            write_text(self.folder / f"{shelf}.json", json.dumps(merged, separators=(",", ":")), private=True)
        self._changed.clear()

    def _shelf(self, shelf: str) -> dict[str, list[int | str]]:
        if shelf not in self._known:
            self._known[shelf] = self._read(shelf)
        return self._known[shelf]

    def _read(self, shelf: str) -> dict[str, list[int | str]]:
        try:
            loaded = json.loads((self.folder / f"{shelf}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none yet, or damaged by a power failure: files are read again
            return {}
        return loaded if isinstance(loaded, dict) else {}


def _place(origin: Origin) -> tuple[str, str]:
    """Names for the file's folder and for the file that do not show patients' names."""
    whole = origin.place
    folder, name = (hashlib.sha256(os.fsencode(part)).hexdigest()[:20] for part in (whole.parent, whole.name))
    return folder, name
