"""``cxrlens analyse``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlens.cli.console import progress_bar, set_up_logging, show_json, show_lines, stoppable
from cxrlens.cli.options import Database, Force, Json, all_named
from cxrlens.errors import EXIT_GATE

if TYPE_CHECKING:
    from cxrlens.analysis.run import AnalysisResult


class PeriodChoice(StrEnum):
    day = "day"
    week = "week"
    month = "month"


class FailOnChange(StrEnum):
    drift = "drift"
    signal = "signal"


def command(
    screened: Annotated[list[Path], typer.Argument(help="Screened folders, of any number of months.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the page, its tables and figures.")],
    period: Annotated[
        PeriodChoice, typer.Option(help="Of the control charts, and of the tests for drift.")
    ] = PeriodChoice.week,
    since: Annotated[str | None, typer.Option(help="First day of images that count, such as 2026-01-01.")] = None,
    until: Annotated[str | None, typer.Option(help="Last day of images that count.")] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="Last day of the periods that the charts' centre lines are of; by default all periods."),
    ] = None,
    fail_on: Annotated[
        list[FailOnChange] | None,
        typer.Option(
            "--fail-on",
            help="Exit code 10 when scores have drifted from the calibration's, or a control chart has a signal; "
            "may be repeated.",
        ),
    ] = None,
    false_alarms: Annotated[
        float,
        typer.Option(min=1e-6, max=0.5, help="Share of reports without drift that may have an alarm for it."),
    ] = 0.05,
    model: Annotated[
        list[Path] | None,
        typer.Option(
            "--model",
            "-m",
            help="Model file of folders screened by an earlier version, which do not keep its calibration; may be "
            "repeated.",
            callback=all_named,
        ),
    ] = None,
    database: Database = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Reject analysis of screened folders: retake rates, control charts, drift, and agreement with readers."""
    from cxrlens.api.analysing import analyse

    set_up_logging()
    wanted = frozenset(fail_on or ())
    with stoppable(None), progress_bar("reading folders") as progress:
        result = analyse(
            screened,
            out,
            period=period.value,
            since=since,
            until=until,
            baseline=baseline,
            false_alarms=false_alarms,
            models=model or (),
            database=database,
            needs_drift=FailOnChange.drift in wanted,
            needs_charts=FailOnChange.signal in wanted,
            force=force,
            progress=progress,
        )
    if json:
        show_json(result.to_dict())
    else:
        _show(result)
    if (FailOnChange.drift in wanted and result.has_drift) or (FailOnChange.signal in wanted and result.has_signals):
        raise typer.Exit(EXIT_GATE)


def _show(result: AnalysisResult) -> None:
    from cxrlens.analysis.sections import facts_of

    for found in result.models:
        if len(result.models) > 1:
            show_lines([f"model {found.model.name}"])
        show_lines(f"{label}: {value}" for label, value in facts_of(found))
    show_lines([*(f"note: {note}" for note in result.notes), *(f"warning: {said}" for said in result.warnings)])
    show_lines([f"page: {result.files[0]}", f"tables: {result.files[0].parent / 'tables'}"])
