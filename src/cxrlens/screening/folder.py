"""The output folder of a screening: where its files are, and how it was screened."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cxrlens.errors import UsageError
from cxrlens.files import write_json
from cxrlens.inspection.model_facts import ModelFacts
from cxrlens.saliency.recorded_resize import RecordedGrid, RecordedInterpolation, with_former_resize
from cxrlens.screening.reasons import DEFAULT_REASONS, Reasons, read_reasons, write_reasons


class StoreInDatabase(BaseModel):
    """Where a database holds the store of a screening.

    Attributes:
        screening: its number there, which tells it from all others.
        place: the database without user and password; "" until all that the folder held is there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    screening: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    place: str


class ScreeningInfo(BaseModel):
    """The settings with which a folder was screened; ``screening.json``.

    Attributes:
        format: 1 of a folder without a store, of an earlier version, which refuses those of format 2.
        root: the folder that names are relative to.
        model: name of the model file; ``model_sha256`` of its content.
        threshold: probability from which on an image is affected (a suggested retake).
        review_threshold: probability from which on an image is reviewed; None for a model that is not calibrated.
        method: id of the maps, "" where none are made; likewise ``layers``.
        grid: of the maps' resize, see `RecordedResize`; likewise ``interpolation`` and ``flip``.
        maps: for which images maps are made.
        runtime: what runs the network.
        precision: in which it multiplies.
        seed: of everything random.
        keep_tags: whether the records keep patient data.
        assess_any: whether images were judged that surely are no frontal chest radiographs.
        database: where the store is; None of one in the folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1, 2] = 2
    root: str
    model: str
    model_sha256: str
    threshold: float
    review_threshold: float | None
    method: str
    layers: str
    grid: RecordedGrid = ""
    interpolation: RecordedInterpolation = ""
    flip: bool = False
    maps: Literal["all", "flagged", "none"] = "all"
    runtime: str = "torch"
    precision: str = "f32"
    seed: int = 0
    keep_tags: bool = False
    assess_any: bool = False
    cxrlens_version: str = ""
    created: str = ""
    database: StoreInDatabase | None = None

    @model_validator(mode="before")
    @classmethod
    def _resize_by_areas_what_is_not_told(cls, fields: Any) -> Any:
        return with_former_resize(fields)

    @classmethod
    def of(cls, model: ModelFacts, **facts: Any) -> ScreeningInfo:
        """Of a model; ``facts`` are the other attributes."""
        return cls(**asdict(model), **facts)

    def model_facts(self) -> ModelFacts:
        """The part of it that is about the model."""
        return ModelFacts(**{field.name: getattr(self, field.name) for field in fields(ModelFacts)})


class ScreenedFolder:
    """Paths of a screening's output folder.

    Attributes:
        path: the folder.
        reasons_file: for which retakes are asked for; absent where it is the default list.
        store_file: holds results and verdicts; all other files are made from it.
        unstored_file: results that could not be put into the store, which the next screening does.
        committed_file: of a folder of an earlier version, how much of results.jsonl belongs to finished batches.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.info_file = path / "screening.json"
        self.reasons_file = path / "reasons.json"
        self.store_file = path / "store.sqlite"
        self.results_file = path / "results.jsonl"
        self.unstored_file = path / "unstored.jsonl"
        self.committed_file = path / ".committed"
        self.worklist_file = path / "worklist.csv"
        self.report_file = path / "report.html"

    def picture_file(self, key: str) -> Path:
        """Path of the preview of an image of this content: grey JPEG, at most 1024 px."""
        return self.path / "pictures" / f"{key}.jpg"

    def map_file(self, key: str) -> Path:
        """Path of the map of an image of this content: 8-bit grey PNG of the image at the network's scale."""
        return self.path / "maps" / f"{key}.png"

    def write_info(self, info: ScreeningInfo) -> None:
        """Write ``screening.json``."""
        left_out = {"database"} if info.database is None else set()  # which versions that know no database refuse
        write_json(self.info_file, info.model_dump(exclude=left_out), private=True)

    def info(self) -> ScreeningInfo:
        """The settings with which the folder was screened.

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

    def reasons(self) -> Reasons:
        """The reasons for a retake that readers choose from.

        Raises:
            UsageError: when the list of the folder is damaged.
        """
        return read_reasons(self.reasons_file) if self.reasons_file.exists() else DEFAULT_REASONS

    def keep_reasons(self, reasons: Reasons) -> None:
        """Let readers choose from these from now on; verdicts keep those that they were given for."""
        write_reasons(self.reasons_file, reasons)

    def is_of_earlier_version(self) -> bool:
        """True where it was screened by a version that knows no store."""
        return self.info_file.exists() and self.info().format == 1

    def database(self) -> StoreInDatabase | None:
        """Where a database holds the store; None where the folder itself does, or is no screened one."""
        return self.info().database if self.info_file.exists() else None

    def raise_format(self) -> None:
        """Keep processes of such a version out of the folder."""
        self.write_info(self.info().model_copy(update={"format": 2}))
