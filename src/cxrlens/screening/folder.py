"""The output folder of a screening: where its files are, and how results are appended and read again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cxrlens.errors import UsageError
from cxrlens.files import write_json
from cxrlens.screening.record import ScreenedImage


class ScreeningInfo(BaseModel):
    """What ``screening.json`` says: how a folder was screened.

    Attributes:
        root: the folder that names are relative to.
        model: name of the model file; ``model_sha256`` of its content.
        threshold: probability from which on an image is affected (a suggested retake).
        review_threshold: probability from which on an image is reviewed; None for a model that is not calibrated.
        method: id of the maps, "" where none are made; likewise ``layers``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    root: str
    model: str
    model_sha256: str
    threshold: float
    review_threshold: float | None
    method: str
    layers: str
    cxrlens_version: str = ""
    created: str = ""


class ScreenedFolder:
    """Paths and results of a screening's output folder.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.info_file = path / "screening.json"
        self.results_file = path / "results.jsonl"
        self.worklist_file = path / "worklist.csv"
        self.report_file = path / "report.html"

    def picture_file(self, key: str) -> Path:
        """Where the preview of an image of this content is: grey JPEG, at most 1024 px."""
        return self.path / "pictures" / f"{key}.jpg"

    def map_file(self, key: str) -> Path:
        """Where the map of an image of this content is: 8-bit grey PNG of the picture at the network's scale."""
        return self.path / "maps" / f"{key}.png"

    def write_info(self, info: ScreeningInfo) -> None:
        """Write ``screening.json``."""
        write_json(self.info_file, info.model_dump())

    def info(self) -> ScreeningInfo:
        """How the folder was screened.

        Raises:
            UsageError: when it is no screened folder, or one of another version.
        """
        try:
            return ScreeningInfo.model_validate_json(self.info_file.read_text("utf-8"))
        except OSError as error:
            raise UsageError(
                f"{self.path}: is no screened folder (screening.json: {error.strerror or error}); "
                "make one with 'cxrlens screen'"
            ) from error
        except ValidationError as error:
            raise UsageError(
                f"{self.info_file}: cannot be understood (from another version of cxrlens?); screen the folder again"
            ) from error

    def append(self, images: Sequence[ScreenedImage]) -> None:
        """Add results, each a whole line, and wait until they are on the disk."""
        with self.results_file.open("ab") as stream:
            stream.write(b"".join(image.model_dump_json().encode() + b"\n" for image in images))
            stream.flush()
            os.fsync(stream.fileno())

    def drop_torn_line(self) -> None:
        """Cut away what a killed process left behind the last whole line."""
        if not self.results_file.exists():
            return
        with self.results_file.open("r+b") as stream:
            content = stream.read()
            stream.truncate(content.rfind(b"\n") + 1)

    def results(self) -> dict[str, ScreenedImage]:
        """The newest result of each name, in the order of first appearance; a torn last line is left out.

        Raises:
            UsageError: when another line cannot be read.
        """
        if not self.results_file.exists():
            return {}
        found: dict[str, ScreenedImage] = {}
        for number, line in enumerate(self.results_file.read_bytes().split(b"\n")[:-1], 1):
            try:
                image = ScreenedImage.model_validate_json(line)
            except ValidationError as error:
                raise UsageError(
                    f"{self.results_file}: line {number} is damaged; delete that line, and its image is screened again"
                ) from error
            found[image.name] = image
        return found
