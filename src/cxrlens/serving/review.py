"""The worklist of a screened folder, with the readers' verdicts."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import ValidationError

from cxrlens.errors import CxrlensError
from cxrlens.files import to_csv
from cxrlens.inputs.dataset.layouts import AFFECTED, CLASS_NAMES
from cxrlens.inputs.names import path_of
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.record import ScreenedImage, worklist_key
from cxrlens.screening.worklist import name_cell
from cxrlens.serving.answers import GivenVerdict, Verdict, Worklist, WorklistImage
from cxrlens.serving.verdicts import FILE, VerdictStore

Show: TypeAlias = Literal["all", "open", "decided", "affected", "unreadable"]

VERDICT_COLUMNS = ("path", "label", "verdict", "name", "key", "probability", "time")
_LABELS = {"accept": CLASS_NAMES[0], "retake": CLASS_NAMES[1]}


@dataclass(frozen=True, slots=True)
class _Row:
    """What is held in memory of a result: enough to sort, filter and find it. Its line begins at byte ``begin``."""

    name: str
    key: str
    probability: float | None
    is_read: bool
    is_affected: bool
    begin: int

    @classmethod
    def of(cls, image: ScreenedImage, begin: int) -> _Row:
        is_affected = image.decision == CLASS_NAMES[AFFECTED]
        return cls(image.name, image.key, image.probability, image.status == "ok", is_affected, begin)


class Review:
    """A screened folder under review; its results may still grow.

    Attributes:
        folder: the screened folder.
        info: how it was screened.
        verdicts: where verdicts are kept.
        remark: what a reader must know of it, "" where there is nothing.

    Raises:
        UsageError: when it is no screened folder, its results are damaged, or verdicts cannot be kept there.
    """

    def __init__(self, path: Path, model_name: str, model_sha256: str) -> None:
        self.folder = ScreenedFolder(path)
        self._model = model_name, model_sha256
        self._take_info()
        self._lock = threading.Lock()
        self._state: tuple[int, ...] | None = None
        self._rows: list[_Row] = []
        self._by_key: dict[str, list[_Row]] = {}
        self._results()
        self.verdicts = VerdictStore(path / FILE)

    def _take_info(self) -> None:
        name, digest = self._model
        self.info = self.folder.info()
        self.same_model = self.info.model_sha256 == digest
        self.remark = (
            ""
            if self.same_model
            else f"the folder was screened with {self.info.model}, another model than {name}, which the server "
            "explains uploads with: their probabilities cannot be compared"
        )

    def part(self, *, show: Show = "all", offset: int = 0, limit: int = 200) -> Worklist:
        """A part of the worklist; ``show`` filters, "open" being images without a verdict."""
        rows, _ = self._results()
        standing = self.verdicts.standing()
        shown = [row for row in rows if _is_shown(row, show, row.key in standing)]
        part = [self._image_of(row) for row in shown[offset : offset + limit]]
        return Worklist(
            folder=self.folder.path.resolve().name,
            model=self.info.model,
            same_model=self.same_model,
            remark=self.remark,
            threshold=self.info.threshold,
            review_threshold=self.info.review_threshold,
            total=len(rows),
            shown=len(shown),
            unreadable=sum(not row.is_read for row in rows),
            decided=sum(row.key in standing for row in rows),
            offset=offset,
            images=tuple(
                self._image(image, standing[image.key].verdict if image.key in standing else "none") for image in part
            ),
        )

    def give(self, key: str, verdict: Verdict) -> GivenVerdict | None:
        """Let a verdict on an image stand, see `VerdictStore.give`; None where no image has this key."""
        found = self._results()[1].get(key)
        if not found:
            return None
        return self.verdicts.give(
            key, found[0].name, verdict, probability=found[0].probability, model_sha256=self.info.model_sha256
        )

    def verdicts_csv(self) -> bytes:
        """The verdicts that stand, a line a file; ``cxrlens train --labels`` and ``data prepare`` take them.

        Files of the same content share a verdict. The image of a verdict that is no longer in the list is named as it
        was when the verdict was given. UTF-8, but for paths that are no text.
        """
        by_key = self._results()[1]
        rows: list[dict[str, Any]] = []
        for key, kept in self.verdicts.standing().items():
            names = [row.name for row in by_key.get(key, ())] or [kept.name]
            rows += [
                {
                    "path": str(path_of(name, path_of(self.info.root, Path()))),
                    "label": _LABELS[kept.verdict],
                    "verdict": kept.verdict,
                    "name": name_cell(name),
                    "key": key,
                    "probability": kept.probability,
                    "time": kept.time,
                }
                for name in names
            ]
        return to_csv(VERDICT_COLUMNS, rows).encode("utf-8", "surrogateescape")

    def picture_file(self, key: str) -> Path | None:
        """The preview of the image of a key, None where there is none."""
        return self._file(self.folder.picture_file(key), key)

    def map_file(self, key: str) -> Path | None:
        """The map of the image of a key, None where there is none."""
        return self._file(self.folder.map_file(key), key)

    def _file(self, path: Path, key: str) -> Path | None:
        return path if key in self._results()[1] and path.is_file() else None

    def _results(self) -> tuple[list[_Row], dict[str, list[_Row]]]:
        """All results in the order of the worklist, and by key; read again when the file has changed."""
        with self._lock:
            state = *_state_of(self.folder.results_file), *_state_of(self.folder.info_file)
            if self._state != state:
                self._take_info()
                newest = {image.name: _Row.of(image, begin) for begin, image in self.folder.lines()}
                self._rows = sorted(newest.values(), key=lambda row: worklist_key(row.name, row.probability))
                self._by_key = {}
                for row in self._rows:
                    if row.key:
                        self._by_key.setdefault(row.key, []).append(row)
                self._state = state
            return self._rows, self._by_key

    def _image_of(self, row: _Row) -> ScreenedImage:
        try:
            image = self.folder.result_at(row.begin)
        except (ValidationError, OSError):
            image = None
        if image is None or image.name != row.name:
            raise CxrlensError(f"{self.folder.results_file}: was written anew at this moment; ask again")
        return image

    @staticmethod
    def _image(image: ScreenedImage, verdict: Verdict) -> WorklistImage:
        fields = image.model_dump(exclude={"tags", "picture", "map"})
        address = f"/api/worklist/{image.key}"
        return WorklistImage(
            **fields,
            picture=f"{address}/picture" if image.picture else "",
            map=f"{address}/map" if image.map else "",
            verdict=verdict,
        )


def _state_of(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _is_shown(row: _Row, show: Show, is_decided: bool) -> bool:
    match show:
        case "open":
            return row.is_read and not is_decided
        case "decided":
            return is_decided
        case "affected":
            return row.is_affected
        case "unreadable":
            return not row.is_read
    return True
