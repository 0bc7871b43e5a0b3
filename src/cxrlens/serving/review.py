"""The worklist of a screened folder, with the readers' verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cxrlens.files import to_csv
from cxrlens.inputs.dataset.layouts import CLASS_NAMES
from cxrlens.inputs.names import path_of
from cxrlens.screening.folder import ScreenedFolder, ScreeningInfo
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store.postgresql import Server
from cxrlens.screening.store.review import Show, worklist_part
from cxrlens.screening.store.store import Store
from cxrlens.screening.store.verdicts import GivenVerdict, Verdict
from cxrlens.serving.answers import Worklist, WorklistImage

VERDICT_COLUMNS = ("path", "label", "verdict", "name", "key", "probability", "time")
_LABELS = {"accept": CLASS_NAMES[0], "retake": CLASS_NAMES[1]}


class Review:
    """A screened folder under review; its results may still grow.

    Args:
        server: see `Store`.

    Attributes:
        folder: the screened folder.
        store: its results and verdicts.

    Raises:
        UsageError: when it is no screened folder, or its store cannot be opened.
    """

    def __init__(self, path: Path, model_name: str, model_sha256: str, server: Server | None = None) -> None:
        self.folder = ScreenedFolder(path)
        self._model = model_name, model_sha256
        self.folder.info()
        self.store = Store(self.folder, server)

    def remark(self, info: ScreeningInfo | None = None) -> str:
        """A remark on the folder that a reader must know, "" where there is none."""
        info = info or self.folder.info()
        name, digest = self._model
        if info.model_sha256 == digest:
            return ""
        return (
            f"the folder was screened with {info.model}, another model than {name}, which the server "
            "explains uploads with: their probabilities cannot be compared"
        )

    def part(self, *, show: Show = "all", offset: int = 0, limit: int = 200) -> Worklist:
        """A part of the worklist; ``show`` filters, "open" being images without a verdict."""
        part = worklist_part(self.store.database, show, offset, limit)
        info = self.folder.info()
        remark = self.remark(info)
        return Worklist(
            folder=self.folder.path.resolve().name,
            model=info.model,
            same_model=not remark,
            created=info.created,
            remark=remark,
            threshold=info.threshold,
            review_threshold=info.review_threshold,
            total=part.total,
            shown=part.shown,
            unreadable=part.unreadable,
            decided=part.decided,
            offset=offset,
            images=tuple(_answer(image, verdict) for image, verdict in part.images),
        )

    def give(
        self, key: str, verdict: Verdict, seen: Verdict | None = None, request: str | None = None
    ) -> GivenVerdict | None:
        """Let a verdict on an image stand, see `VerdictTable.give`; None where no image has this key."""
        return self.store.verdicts.give(key, verdict, lambda: self.folder.info().model_sha256, seen, request)

    def verdicts_csv(self) -> bytes:
        """The verdicts that stand, a line a file; ``cxrlens train --labels`` and ``data prepare`` take them.

        Files of the same content share a verdict. The image of a verdict that is no longer in the list is named as it
        was when the verdict was given. UTF-8, but for paths that are no text.
        """
        return to_csv(VERDICT_COLUMNS, self._verdict_rows(), paths=("path", "name")).encode("utf-8", "surrogateescape")

    def _verdict_rows(self) -> Iterator[dict[str, Any]]:
        root = path_of(self.folder.info().root, Path())
        for name, kept in self.store.verdicts.of_files():
            path, label = str(path_of(name, root)), _LABELS[kept.verdict]
            yield kept.model_dump() | {"path": path, "label": label, "name": name}

    def picture_file(self, key: str) -> Path | None:
        """The preview of the image of a key, None where there is none."""
        return self._file(self.folder.picture_file(key), key)

    def map_file(self, key: str) -> Path | None:
        """The map of the image of a key, None where there is none."""
        return self._file(self.folder.map_file(key), key)

    def _file(self, path: Path, key: str) -> Path | None:
        return path if path.is_file() and self.store.results.has(key) else None


def _answer(image: ScreenedImage, verdict: Verdict) -> WorklistImage:
    fields = image.model_dump(exclude={"tags", "picture", "map"})
    address = f"/api/worklist/{image.key}"
    return WorklistImage(
        **fields,
        picture=f"{address}/picture" if image.picture else "",
        map=f"{address}/map" if image.map else "",
        verdict=verdict,
    )
