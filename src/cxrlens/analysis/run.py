"""The job behind ``cxrlens analyse``: reject analysis of screened folders, over months."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import cxrlens
from cxrlens.analysis.agreement import Agreement, OtherThreshold
from cxrlens.analysis.control import ControlPoint
from cxrlens.analysis.drift import FALSE_ALARMS
from cxrlens.analysis.images import EVERY_DAY, Days, Found, ModelImages, is_in_database, read_folders
from cxrlens.analysis.model_analysis import ModelAnalysis, analyse_model
from cxrlens.analysis.page import ModelPart, analysis_page
from cxrlens.analysis.rates import Period, Share
from cxrlens.analysis.sections import model_part, notes_of, warnings_of
from cxrlens.environment import command_line, timestamp
from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.files import sha256_of, write_text
from cxrlens.models.calibration import Calibration
from cxrlens.models.location import model_path
from cxrlens.outputs import is_screened, remove_own
from cxrlens.report.tables import Column, Table, to_csv
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.store import postgresql
from cxrlens.screening.store.postgresql import Server

OUTPUTS = ("analysis.html", "tables", "figures")
"""What an analysis writes right into its folder."""

_INTRO = (
    "Reject analysis of screened radiographs: how often retakes are suggested and asked for, whether that changes, and "
    "whether the model still sees what it was calibrated on. For research; not a medical device."
)


@dataclass(frozen=True)
class AnalysisSettings:
    """The settings of an analysis.

    Attributes:
        period: of charts and of tests for drift.
        days: of which images are wanted.
        baseline: last day of the periods that centre lines are of; None = all.
        false_alarms: the share of reports with an alarm for drift where nothing has changed, at most.
        models: model files that folders of earlier versions were screened with, which do not keep the calibration.
        database: address of the database that holds the reviews of some of the folders.
    """

    period: Period = "week"
    days: Days = EVERY_DAY
    baseline: date | None = None
    false_alarms: float = FALSE_ALARMS
    models: Sequence[Path] = ()
    database: str | None = None


@dataclass(frozen=True)
class AnalysisResult:
    """The numbers of each model, that of the most images first, and the files: the page first."""

    found: Found
    models: list[ModelAnalysis]
    notes: list[str]
    warnings: list[str]
    files: list[Path]

    @property
    def has_drift(self) -> bool:
        return any(model.alarms for model in self.models)

    @property
    def has_signals(self) -> bool:
        return any(model.has_signals for model in self.models)

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON has it."""
        return {
            "models": [_summary(model) for model in self.models],
            "copies_left_out": self.found.copies,
            "notes": self.notes,
            "warnings": self.warnings,
            "drift": self.has_drift,
            "signal": self.has_signals,
            "files": self.files,
        }


def analyse(
    paths: Sequence[Path],
    out: Path,
    settings: AnalysisSettings,
    *,
    needs_drift: bool = False,
    needs_charts: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> AnalysisResult:
    """Analyse screened folders together, and write page, tables and figures into a folder that was made for it.

    Args:
        needs_drift: refuse folders in which drift cannot be told; likewise ``needs_charts``.
        progress: called with the folders that were read, and all of them.

    Raises:
        UsageError: when a folder is no screened one, its store cannot be opened, a model file fits none of them, or
            what is needed cannot be told.
        StoreError: when a store cannot be read.
        NothingToDoError: when there is no image.
    """
    found = read_folders(paths, _server(paths, settings.database), settings.days, progress=progress)
    found.models[:] = _with_calibrations(found.models, settings.models)
    if not any(model.images for model in found.models):
        raise _no_images(paths, found)
    models = [
        analyse_model(model, period=settings.period, baseline=settings.baseline, false_alarms=settings.false_alarms)
        for model in found.models
        if model.images
    ]
    for model in models:
        _require(model, needs_drift=needs_drift, needs_charts=needs_charts)
    notes = notes_of(found, models)
    warnings = [f"{_prefix(model, models)}{said}" for model in models for said in warnings_of(model)]
    result = AnalysisResult(found, models, notes, warnings, [])
    return replace(result, files=_write(result, out, settings))


def check_out(paths: Iterable[Path], out: Path) -> None:
    """Refuse to write into a screened folder.

    Raises:
        UsageError: when ``out`` is one.
    """
    if is_screened(out) or out.resolve() in {path.resolve() for path in paths}:
        raise UsageError(f"{out}: is a screened folder; give another one for the analysis")


def _server(paths: Iterable[Path], address: str | None) -> Server | None:
    """The database, where any of the folders has its reviews in one."""
    if address is None or not any(is_in_database(ScreenedFolder(path)) for path in paths):
        return None
    return postgresql.reached(address)


def _no_images(paths: Sequence[Path], found: Found) -> NothingToDoError:
    left_out = found.without_day + found.out_of_range
    if left_out:
        return NothingToDoError(
            f"none of the {left_out} images is of the days that were asked for ({found.without_day} of them have no "
            "known day); ask for other days, or screen with `keep_tags=date`"
        )
    names = ", ".join(map(str, paths[:3]))
    return NothingToDoError(f"{names}: hold no results yet; give folders that were screened")


def _with_calibrations(models: Sequence[ModelImages], files: Sequence[Path]) -> list[ModelImages]:
    """The models, with the calibrations that their files keep where the folders do not."""
    known: dict[str, Calibration | None] = {}
    for file in files:
        path = model_path(file)
        digest = sha256_of(path)
        if digest not in {model.info.model_sha256 for model in models}:
            raise UsageError(f"{path}: none of the folders was screened with this file; give the one that was used")
        known[digest] = _calibration(path)
    return [replace(model, calibration=model.calibration or known.get(model.info.model_sha256)) for model in models]


def _calibration(path: Path) -> Calibration | None:
    if path.suffix.lower() == ".onnx":
        from cxrlens.models.onnx_file import read_onnx

        return read_onnx(path).card.calibration
    from cxrlens.models.model_file import read_model

    return read_model(path)[1].calibration


def _require(model: ModelAnalysis, *, needs_drift: bool, needs_charts: bool) -> None:
    if needs_drift and isinstance(model.drift, str):
        raise UsageError(f"{model.model.name}: drift cannot be told: {model.drift}; or leave `fail_on=drift` out")
    if needs_charts and all(chart is None for chart in model.charts.values()):
        raise UsageError(
            f"{model.model.name}: there is no control chart, as fewer than two {model.period}s have images with a "
            "known day; screen with `keep_tags=date`, or leave `fail_on=signal` out"
        )


def _prefix(model: ModelAnalysis, models: Sequence[ModelAnalysis]) -> str:
    return f"{model.model.name}: " if len(models) > 1 else ""


def _write(result: AnalysisResult, out: Path, settings: AnalysisSettings) -> list[Path]:
    """The page, a CSV beside each table, and the figures; those of an earlier analysis go."""
    for name, ending in (("tables", "csv"), ("figures", "svg")):
        (out / name).mkdir(exist_ok=True)
        remove_own(out / name, {rf"[a-z0-9-]+\.{ending}": None})
    parts = [
        model_part(model, model.model.name if len(result.models) > 1 else "", out / "figures", number=number)
        for number, model in enumerate(result.models, start=1)
    ]
    written = _write_tables(parts, [model.model.name for model in result.models], out / "tables")
    names = [path.name for model in result.models for path in map(Path, model.model.folders)]
    page = analysis_page(
        out / "analysis.html",
        title="Reject analysis",
        intro=[_INTRO],
        warnings=result.warnings,
        notes=result.notes,
        parts=parts,
        footer=[
            f"cxrlens {cxrlens.__version__}, {timestamp()}",
            f"folders: {', '.join(names)}",
            *(f"model: {model.model.name}, threshold {model.model.info.threshold:.4g}" for model in result.models),
            command_line(),
        ],
    )
    return [page, *written, *sorted((out / "figures").glob("*.svg"))]


def _write_tables(parts: Sequence[ModelPart], models: Sequence[str], folder: Path) -> list[Path]:
    """A CSV a table, in which the rows of all models follow each other."""
    joined: dict[str, Table] = {}
    for part, model in zip(parts, models, strict=True):
        for table in (table for section in part.sections for table in (*section.tables, *section.beside)):
            rows = [(model, *row) for row in table.rows]
            before = joined[table.name].rows if table.name in joined else ()
            columns = (Column("model", "Model"), *table.columns)
            joined[table.name] = Table(table.name, table.title, columns, [*before, *rows])
    written = []
    for name, table in joined.items():
        written.append(folder / f"{name}.csv")
        write_text(written[-1], to_csv(table), private=True)
    return written


def _summary(found: ModelAnalysis) -> dict[str, Any]:
    model = found.model
    return {
        "model": model.info.model,
        "model_sha256": model.info.model_sha256,
        "folders": model.folders,
        "images": found.rates.images,
        "suggested": _share(found.rates.suggested),
        "retaken": _share(found.rates.retaken),
        "retaken_of_all": _share(found.rates.retaken_of_all),
        "drift": _drift(found),
        "charts": {
            kind: None
            if chart is None
            else {"period": found.period, "centre": chart.centre, "signals": [_point(point) for point in chart.signals]}
            for kind, chart in found.charts.items()
        },
        "agreement": _agreement(found.agreement),
        "threshold": _threshold(found.threshold),
    }


def _share(share: Share) -> dict[str, Any]:
    low, high = share.interval
    return {"hits": share.hits, "images": share.images, "value": share.value, "low": low, "high": high}


def _drift(found: ModelAnalysis) -> dict[str, Any]:
    if isinstance(found.drift, str):
        return {"alarm": None, "tests": [], "reason": found.drift}
    tests = [{**asdict(test), "alarm": test.is_alarm(found.false_alarms)} for test in found.drift]
    return {"alarm": bool(found.alarms), "tests": tests, "reason": None}


def _point(point: ControlPoint) -> dict[str, Any]:
    return {**asdict(point), "share": point.share}


def _agreement(found: Agreement) -> dict[str, Any]:
    shares = {name: _share(getattr(found, name)) for name in ("ppv", "npv", "sensitivity", "specificity")}
    corrected = {name: asdict(getattr(found, name)) for name in ("corrected_sensitivity", "corrected_specificity")}
    return {**shares, **corrected, "verification_bias": found.is_uneven}


def _threshold(found: OtherThreshold | str) -> dict[str, Any]:
    if isinstance(found, str):
        return {"on_judged_images": None, "reason": found}
    return {"target": str(found.target), "in_use": found.used, "on_judged_images": found.found,
            "low": found.interval.low, "high": found.interval.high}  # fmt: skip
