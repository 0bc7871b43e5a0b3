"""``cxrlens analyse`` as a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

from cxrlens.analysis import run
from cxrlens.analysis.drift import FALSE_ALARMS
from cxrlens.analysis.images import Days
from cxrlens.analysis.rates import PERIODS, Period
from cxrlens.analysis.run import AnalysisResult, AnalysisSettings
from cxrlens.api.arguments import FileName, check_choice, check_range, checked, day_of, paths_of, sources_of
from cxrlens.errors import UsageError
from cxrlens.outputs import output_folder


@checked
def analyse(
    screened: FileName | Iterable[FileName],
    out: FileName,
    *,
    period: Period = "week",
    since: str | date | None = None,
    until: str | date | None = None,
    baseline: str | date | None = None,
    false_alarms: float = FALSE_ALARMS,
    models: FileName | Iterable[FileName] = (),
    database: str | None = None,
    needs_drift: bool = False,
    needs_charts: bool = False,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> AnalysisResult:
    """Reject analysis of screened folders: retake rates, control charts, drift, and agreement with readers.

    Args:
        screened: folders that `screen` wrote, of any number of months.
        out: new folder for the page, its tables and figures.
        period: "day", "week" or "month": of control charts, and of the tests for drift.
        since: first day of images that count, a date or its text such as "2026-01-01"; likewise ``until``, the last.
        baseline: last day of the periods that the charts' centre lines are of; by default all periods.
        false_alarms: share of reports without drift that may have an alarm for it.
        models: model files of folders that an earlier version screened, which do not keep the calibration.
        database: address of the PostgreSQL database that holds reviews of some of the folders.
        needs_drift: refuse folders in which drift cannot be told; likewise ``needs_charts``.
        force: replace an earlier analysis's files in ``out``.
        progress: called as progress(done, total) for folders.

    Raises:
        UsageError: when a folder is no screened one, an argument or ``out`` cannot be used, or what is needed cannot be
            told.
        NothingToDoError: when there is no image.
    """
    check_choice("period", period, PERIODS)
    check_range("false_alarms", false_alarms, 1e-6, 0.5)
    days = Days(day_of(since, "since"), day_of(until, "until"))
    if days.first and days.last and days.last < days.first:
        raise UsageError(f"`until={until}` lies before `since={since}`")
    settings = AnalysisSettings(
        period=period,
        days=days,
        baseline=day_of(baseline, "baseline"),
        false_alarms=false_alarms,
        models=paths_of(models),
        database=database,
    )
    paths, folder = sources_of(screened), Path(out)
    run.check_out(paths, folder)
    with output_folder(folder, run.OUTPUTS, force=force):
        return run.analyse(
            paths, folder, settings, needs_drift=needs_drift, needs_charts=needs_charts, progress=progress
        )
