"""``cxrlens doctor``."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from cxrlens.cli.console import set_up_logging, show_json, show_lines
from cxrlens.cli.options import Device, Json, named
from cxrlens.errors import EXIT_USAGE
from cxrlens.wording import counted


def command(
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            "-m",
            help="Also check this model file, a run folder's best model, or the kept model of this name.",
            callback=named,
        ),
    ] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Say what of this installation works, and what to install or change for what does not.

    Each line is ok, a note (what does not need it works) or a problem. Exit code 0 without a problem, else 2.
    """
    from cxrlens.doctor.run import diagnose

    set_up_logging()
    diagnosis = diagnose(model=model, device=device)
    if json:
        show_json({"usable": not diagnosis.problems, "findings": [asdict(finding) for finding in diagnosis.findings]})
    else:
        for section, findings in groupby(diagnosis.findings, key=lambda finding: finding.section):
            show_lines([f"{section}:"])
            for finding in findings:
                show_lines([f"  {finding.status:<8} {finding.name}: {finding.detail}"])
                show_lines([f"           -> {finding.remedy}"] if finding.remedy else [])
        count = len(diagnosis.problems)
        show_lines([f"{counted(count, 'problem')}, see above" if count else "no problem"])
    if diagnosis.problems:
        raise typer.Exit(EXIT_USAGE)
