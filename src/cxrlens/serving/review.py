"""The worklist of a screened folder, with the readers' verdicts."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Literal, TypeAlias

from cxrlens.data.layouts import CLASS_NAMES
from cxrlens.files import to_csv
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.record import ScreenedImage, worklist_order
from cxrlens.serving.answers import GivenVerdict, Verdict, Worklist, WorklistImage
from cxrlens.serving.verdicts import FILE, VerdictStore

Show: TypeAlias = Literal["all", "open", "decided", "affected", "unreadable"]

VERDICT_COLUMNS = ("path", "label", "verdict", "name", "key", "probability", "time")
_LABELS = {"accept": CLASS_NAMES[0], "retake": CLASS_NAMES[1]}


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
        self.info = self.folder.info()
        self.same_model = self.info.model_sha256 == model_sha256
        self.remark = (
            ""
            if self.same_model
            else f"the folder was screened with {self.info.model}, another model than {model_name}, which the server "
            "explains uploads with: their probabilities cannot be compared"
        )
        self._lock = threading.Lock()
        self._read: tuple[tuple[int, int], list[ScreenedImage], dict[str, list[ScreenedImage]]] | None = None
        self.images()
        self.verdicts = VerdictStore(path / FILE)

    def images(self) -> list[ScreenedImage]:
        """All results in the order of the worklist; read again when there are new ones."""
        return self._results()[0]

    def find(self, key: str) -> ScreenedImage | None:
        """The first image of this content, None where there is none."""
        found = self._results()[1].get(key)
        return found[0] if found else None

    def part(self, *, show: Show = "all", offset: int = 0, limit: int = 200) -> Worklist:
        """A part of the worklist; ``show`` filters, "open" being images without a verdict."""
        images = self.images()
        standing = self.verdicts.standing()
        shown = [image for image in images if _is_shown(image, show, standing)]
        return Worklist(
            folder=self.folder.path.resolve().name,
            model=self.info.model,
            same_model=self.same_model,
            remark=self.remark,
            threshold=self.info.threshold,
            review_threshold=self.info.review_threshold,
            total=len(images),
            shown=len(shown),
            unreadable=sum(image.status == "unreadable" for image in images),
            decided=sum(image.key in standing for image in images),
            offset=offset,
            images=tuple(
                self._image(image, standing[image.key].verdict if image.key in standing else "none")
                for image in shown[offset : offset + limit]
            ),
        )

    def give(self, image: ScreenedImage, verdict: Verdict) -> GivenVerdict:
        """Let a verdict on an image stand, see `VerdictStore.give`."""
        return self.verdicts.give(
            image.key, image.name, verdict, probability=image.probability, model_sha256=self.info.model_sha256
        )

    def verdicts_csv(self) -> str:
        """The verdicts that stand, a line a file: ``cxrlens train --labels`` and ``data prepare`` take them.

        Files of the same content share a verdict. The image of a verdict that is no longer in the list is named as it
        was when the verdict was given.
        """
        by_key = self._results()[1]
        rows: list[dict[str, Any]] = []
        for key, kept in self.verdicts.standing().items():
            names = [image.name for image in by_key.get(key, ())] or [kept.name]
            rows += [
                {
                    "path": str(Path(self.info.root, name)),
                    "label": _LABELS[kept.verdict],
                    "verdict": kept.verdict,
                    "name": name,
                    "key": key,
                    "probability": kept.probability,
                    "time": kept.time,
                }
                for name in names
            ]
        return to_csv(VERDICT_COLUMNS, rows)

    def picture_file(self, key: str) -> Path | None:
        """The preview of the image of a key, None where there is none."""
        return self._file(self.folder.picture_file(key), key)

    def map_file(self, key: str) -> Path | None:
        """The map of the image of a key, None where there is none."""
        return self._file(self.folder.map_file(key), key)

    def _file(self, path: Path, key: str) -> Path | None:
        return path if self.find(key) is not None and path.is_file() else None

    def _results(self) -> tuple[list[ScreenedImage], dict[str, list[ScreenedImage]]]:
        with self._lock:
            try:
                found = self.folder.results_file.stat()
                state = found.st_size, found.st_mtime_ns
            except FileNotFoundError:
                state = 0, 0
            if self._read is None or self._read[0] != state:
                images = worklist_order(self.folder.results().values())
                by_key: dict[str, list[ScreenedImage]] = {}
                for image in images:
                    if image.key:
                        by_key.setdefault(image.key, []).append(image)
                self._read = state, images, by_key
            return self._read[1], self._read[2]

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


def _is_shown(image: ScreenedImage, show: Show, standing: dict[str, Any]) -> bool:
    match show:
        case "open":
            return image.key not in standing and image.status == "ok"
        case "decided":
            return image.key in standing
        case "affected":
            return image.decision == "affected"
        case "unreadable":
            return image.status == "unreadable"
    return True
