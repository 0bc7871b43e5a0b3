"""The journal of a preparation: a line for each image that is finished, so that a run that was stopped goes on."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cxrlens.files import write_text
from cxrlens.inputs.remarked import from_json, to_json


@dataclass(frozen=True)
class PreparedImage:
    """One image as it lies in the data set.

    Attributes:
        path: below the data set's folder when it was written there, else empty.
        sha256: of the image's file there, or of the source's.
        height: of that image; likewise ``width``.
        source_sha256, source_height, source_width: of the image in the source.
        has_mask: whether a mask marks an object; None without a mask.
        mask_path, mask_sha256: of the mask that was written, else empty.
        remarks: on the image in the source, see `Radiograph.remarks`.
    """

    path: str
    sha256: str
    height: int
    width: int
    source_sha256: str
    source_height: int
    source_width: int
    has_mask: bool | None = None
    mask_path: str = ""
    mask_sha256: str = ""
    remarks: Sequence[str] = ()

    def files(self) -> dict[str, str]:
        """The files that were written, with their hash."""
        pairs = {self.path: self.sha256, self.mask_path: self.mask_sha256}
        return {path: digest for path, digest in pairs.items() if path}


class Journal:
    """The results of a run by a key that names a source file's state and what was to be made of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._made: dict[str, PreparedImage] = {}
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                made = PreparedImage(**entry["made"])
                self._made[entry["key"]] = replace(made, remarks=from_json(made.remarks))
            except (ValueError, TypeError, KeyError):
                continue  # the line at which a run was killed
        if text and not text.endswith("\n"):
            self.keep(self._made)

    def find(self, key: str) -> PreparedImage | None:
        return self._made.get(key)

    def add(self, key: str, made: PreparedImage) -> None:
        """Append a line; it is in the system's hands when this returns."""
        self._made[key] = made
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(_line(key, made))

    def files(self) -> dict[str, str]:
        """All files that were ever written, below the data set's folder, with the hash of each."""
        return {path: sha256 for made in self._made.values() for path, sha256 in made.files().items()}

    def keep(self, keys: Collection[str]) -> None:
        """Forget all but these."""
        self._made = {key: made for key, made in self._made.items() if key in keys}
        write_text(self._path, "".join(_line(key, made) for key, made in self._made.items()))


def _line(key: str, made: PreparedImage) -> str:
    return json.dumps({"key": key, "made": asdict(made) | {"remarks": to_json(made.remarks)}}) + "\n"
