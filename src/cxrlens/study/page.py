"""The report of a study as one HTML file that needs no network: findings, tables, figures, gallery, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from cxrlens.report.figures import save_figure
from cxrlens.report.html import data_uri, render_page
from cxrlens.report.tables import Table


@dataclass(frozen=True)
class PageFigure:
    """A figure to embed; `alt` says in words what it shows, for those who do not see it.

    SVG files are shown at the size they were drawn at; PNG and JPEG files a pixel a pixel, at most as wide as the page.
    """

    title: str
    path: Path
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """One experiment: paragraphs, then its tables, then its figures."""

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[PageFigure] = ()


@dataclass(frozen=True)
class GalleryEntry:
    """One image with its maps side by side (PNG, SVG or JPEG); `title` is usually the file's name."""

    title: str
    caption: str
    image_path: Path

    @property
    def address(self) -> str:
        """Of the picture, which it holds."""
        return data_uri(self.image_path)


@dataclass(frozen=True)
class Gallery:
    """Images to look at: where the maps do best, where they do worst, and where methods differ most."""

    best: Sequence[GalleryEntry] = ()
    worst: Sequence[GalleryEntry] = ()
    disputed: Sequence[GalleryEntry] = ()


@dataclass(frozen=True)
class Foot:
    """The provenance of the numbers.

    `commit` is None outside a working copy; `more` holds further (label, value) lines.
    """

    command: str
    versions: Mapping[str, str]
    data_hash: str
    commit: str | None
    seed: int
    more: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class _GalleryGroup:
    title: str
    text: str
    entries: Sequence[GalleryEntry]


def save_overlay(figure: Figure, path: Path) -> Path:
    """Write an overlay as ``path.jpg`` at 100 dpi and return that; `path` has no suffix.

    A radiograph with seven maps takes about 120 KB, so a page with 30 of them stays below 6 MB.
    """
    return save_figure(figure, path, formats=("jpg",), dpi=100)[0]


def study_page(
    output: Path,
    *,
    title: str,
    summary: Sequence[str],
    findings: Sequence[str],
    sections: Sequence[Section],
    gallery: Gallery,
    foot: Foot,
) -> Path:
    """Write the page, whole or not at all; all text is escaped. Returns `output`.

    Args:
        output: an HTML file.
        title: the headline.
        summary: paragraphs in plain language.
        findings: one sentence each.
        sections: in reading order; the table of contents lists them.
        gallery: groups without an entry are left out.
        foot: the provenance of the numbers.

    Raises:
        ValueError: when a figure is no PNG, SVG or JPEG file, or two tables of the page have the same name.
    """
    names = [table.name for section in sections for table in section.tables]
    if len(names) != len(set(names)):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two tables of the page have the name {twice!r}")
    return render_page(
        "study.html.jinja",
        output,
        package="cxrlens.study",
        title=title,
        summary=summary,
        findings=findings,
        sections=sections,
        groups=_groups(gallery),
        foot=_lines(foot),
    )


def _groups(gallery: Gallery) -> list[_GalleryGroup]:
    groups = [
        _GalleryGroup("Best", "Images on which the maps point best.", gallery.best),
        _GalleryGroup("Worst", "Images on which the maps point worst.", gallery.worst),
        _GalleryGroup("Most disputed", "Images on which the methods differ most.", gallery.disputed),
    ]
    return [group for group in groups if group.entries]


def _lines(foot: Foot) -> list[tuple[str, str]]:
    return [
        ("command", foot.command),
        ("versions", ", ".join(f"{name} {version}" for name, version in foot.versions.items())),
        ("data hash", foot.data_hash),
        ("commit", foot.commit or "n/a (not a working copy)"),
        ("seed", str(foot.seed)),
        *foot.more,
    ]
