"""``cxrlens data check``."""

from __future__ import annotations

from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlens.cli.console import finish, progress_bar, set_up_logging, show_json, show_lines, show_table, stoppable
from cxrlens.cli.options import Force, Json, Seed, Workers, workers_of
from cxrlens.errors import EXIT_GATE
from cxrlens.wording import counted

if TYPE_CHECKING:
    from cxrlens.dataset.check.run import CheckResult

_SHOWN = 5  # findings of a kind


class FailOnSeverity(StrEnum):
    problem = "problem"
    note = "note"


def command(
    data: Annotated[Path, typer.Argument(help="Data set folder, or a plain folder of images.")],
    annotations: Annotated[Path | None, typer.Option(help="Annotation CSV of a plain folder.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for data-check.html (thumbnails) and findings.csv.")
    ] = None,
    fail_on: Annotated[
        FailOnSeverity | None,
        typer.Option("--fail-on", help="Exit code 10 when there is a problem, or a note or problem."),
    ] = None,
    seed: Seed = 0,
    force: Force = False,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Look for what would spoil training or scores: missing rows, wrong boxes, duplicates, leaks, shortcuts."""
    from cxrlens.dataset.check.findings import Severity
    from cxrlens.dataset.check.run import OUTPUTS, check_data
    from cxrlens.inputs.dataset.dataset import Dataset
    from cxrlens.outputs import output_folder

    set_up_logging()
    data_set = Dataset(data)
    taken = nullcontext() if out is None else output_folder(out, OUTPUTS, force=force)
    with stoppable(out), taken, progress_bar("looking at images") as progress:
        result = check_data(
            data_set, annotations=annotations, out=out, workers=workers_of(workers), seed=seed, progress=progress
        )
    if json:
        files = [] if out is None else [out / "data-check.html", out / "findings.csv"]
        show_json({**result.to_dict(), "files": files})
    else:
        _show(result, out)
    if fail_on is not None and (
        result.severities[Severity.problem] or (fail_on is FailOnSeverity.note and result.severities[Severity.note])
    ):
        raise typer.Exit(EXIT_GATE)
    finish(result.unreadable)


def _show(result: CheckResult, out: Path | None) -> None:
    from cxrlens.dataset.check.findings import by_kind

    show_table(counted(result.images, "image"), *result.count_table())
    if result.probes:
        show_table("global statistics", *result.probe_table())
    for kind, findings in by_kind(result.findings):
        show_lines([f"{kind.severity}: {kind.title} ({len(findings)})"])
        show_lines(f"  {finding.message}" for finding in findings[:_SHOWN])
        if len(findings) > _SHOWN:
            show_lines([f"  and {len(findings) - _SHOWN} more"])
    problems, notes = result.severities.values()
    found = f"{problems} problems, {notes} notes" if result.findings else "nothing was found"
    show_lines([f"{found}; {'--out DIR shows the images' if out is None else f'page and table: {out}'}"])
