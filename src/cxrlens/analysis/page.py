"""The page of an analysis: one HTML file that needs no network, and can be printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrlens.report.html import render_page
from cxrlens.report.tables import Table


@dataclass(frozen=True)
class AnalysisFigure:
    """A figure to embed; ``alt`` says in words what it shows, for those who do not see it."""

    path: Path
    alt: str


@dataclass(frozen=True)
class AnalysisSection:
    """A part of the page: paragraphs, then its figures, then its tables; ``warnings`` stand out.

    Tables that are ``beside`` the page are not shown on it.
    """

    title: str
    text: Sequence[str] = ()
    warnings: Sequence[str] = ()
    figures: Sequence[AnalysisFigure] = ()
    tables: Sequence[Table] = ()
    beside: Sequence[Table] = ()


@dataclass(frozen=True)
class ModelPart:
    """What the page says of one model; ``title`` is "" where there is but one."""

    title: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[AnalysisSection]


def analysis_page(
    output: Path,
    *,
    title: str,
    intro: Sequence[str],
    warnings: Sequence[str],
    notes: Sequence[str],
    parts: Sequence[ModelPart],
    footer: Sequence[str],
) -> Path:
    """Write the page, whole or not at all; all text is escaped. Returns `output`.

    Args:
        warnings: what somebody should act on: alarms and signals.
        notes: what a reader of the numbers must know.
    """
    return render_page(
        "analysis.html.jinja",
        output,
        package="cxrlens.analysis",
        title=title,
        intro=intro,
        warnings=warnings,
        notes=notes,
        parts=parts,
        footer=footer,
    )
