"""The output folder of a screening: where its files are, and how results are appended and read again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cxrlens.errors import UsageError
from cxrlens.files import write_json, write_text
from cxrlens.inspection.model_facts import ModelFacts
from cxrlens.screening.record import ScreenedImage


class ScreeningInfo(BaseModel):
    """What ``screening.json`` says: how a folder was screened.

    Attributes:
        root: the folder that names are relative to.
        model: name of the model file; ``model_sha256`` of its content.
        threshold: probability from which on an image is affected (a suggested retake).
        review_threshold: probability from which on an image is reviewed; None for a model that is not calibrated.
        method: id of the maps, "" where none are made; likewise ``layers``.
        maps: for which images maps are made.
        runtime: what runs the network.
        seed: of everything random.
        keep_tags: whether the records keep patient data.
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
    maps: Literal["all", "flagged", "none"] = "all"
    runtime: str = "torch"
    seed: int = 0
    keep_tags: bool = False
    cxrlens_version: str = ""
    created: str = ""

    @classmethod
    def of(cls, model: ModelFacts, **facts: Any) -> ScreeningInfo:
        """Of a model; ``facts`` are the other attributes."""
        return cls(**asdict(model), **facts)

    def model_facts(self) -> ModelFacts:
        """The part of it that is about the model."""
        return ModelFacts(**{field.name: getattr(self, field.name) for field in fields(ModelFacts)})


class ScreenedFolder:
    """Paths and results of a screening's output folder.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.info_file = path / "screening.json"
        self.results_file = path / "results.jsonl"
        self.committed_file = path / ".committed"
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

    def append(self, images: Sequence[ScreenedImage]) -> list[int]:
        """Add results, each a whole line, and wait until they are on the disk; gives the byte where each begins."""
        lines = [image.model_dump_json().encode() + b"\n" for image in images]
        try:
            with self.results_file.open("ab") as stream:
                begin = stream.tell()
                stream.write(b"".join(lines))
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            error.filename = error.filename or str(self.results_file)  # of a write to a full disk it has none
            raise
        return list(accumulate(map(len, lines), initial=begin))[:-1]

    def commit(self) -> None:
        """Say that all results so far, if any, belong to finished batches."""
        write_text(self.committed_file, f"{_size(self.results_file)}\n")

    def drop_unfinished(self) -> None:
        """Cut away what a killed process left of a batch; of a folder that never said what is finished, a torn line.

        A run that goes on then makes the very batches that it would have made, and their numbers to the last digit.
        """
        self.drop_torn_line()
        try:
            committed = int(self.committed_file.read_text("utf-8"))
        except (OSError, ValueError):
            return
        if 0 <= committed < _size(self.results_file):
            os.truncate(self.results_file, committed)
            self.drop_torn_line()  # where a person has changed the lines before

    def drop_torn_line(self) -> None:
        """Cut away what a killed process left behind the last whole line."""
        if not self.results_file.exists():
            return
        with self.results_file.open("r+b") as stream:
            whole = end = stream.seek(0, os.SEEK_END)
            while end:
                begin = max(end - (1 << 16), 0)
                stream.seek(begin)
                at = stream.read(end - begin).rfind(b"\n")
                if at >= 0:
                    end = begin + at + 1
                    break
                end = begin
            if end < whole:
                stream.truncate(end)

    def lines(self) -> Iterator[tuple[int, ScreenedImage]]:
        """Every result with the byte where its line begins, as they were appended; a torn last line is left out.

        Raises:
            UsageError: when another line cannot be read.
        """
        if not self.results_file.exists():
            return
        with self.results_file.open("rb") as stream:
            begin = 0
            for number, line in enumerate(stream, 1):
                if not line.endswith(b"\n"):
                    return
                try:
                    yield begin, ScreenedImage.model_validate_json(line)
                except ValidationError as error:
                    raise UsageError(
                        f"{self.results_file}: line {number} is damaged; delete that line, "
                        "and its image is screened again"
                    ) from error
                begin += len(line)

    def result_at(self, begin: int) -> ScreenedImage:
        """The result whose line begins at this byte."""
        with self.results_file.open("rb") as stream:
            stream.seek(begin)
            return ScreenedImage.model_validate_json(stream.readline())

    def results(self) -> dict[str, ScreenedImage]:
        """The newest result of each name, in the order of first appearance; a torn last line is left out.

        Raises:
            UsageError: when another line cannot be read.
        """
        return {image.name: image for _, image in self.lines()}


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
