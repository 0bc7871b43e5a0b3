"""The job behind ``cxrlens data check``: look at every image once, and write what was found."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cxrlens
from cxrlens.dataset.check.annotations import annotation_findings
from cxrlens.dataset.check.contents import Contents, load_contents
from cxrlens.dataset.check.duplicates import duplicate_findings, find_groups
from cxrlens.dataset.check.findings import Finding, FindingKind, Severity, by_kind, count
from cxrlens.dataset.check.images import UNREADABLE, CheckedImages, read_images
from cxrlens.dataset.check.outliers import is_flat, outlier_findings
from cxrlens.dataset.check.page import Card, FindingSection, PageTable, Picture, data_check_page, thumbnail
from cxrlens.dataset.check.published import is_object_cxr, published_counts, published_findings
from cxrlens.dataset.check.shortcuts import Probe, probe_splits, shortcut_findings
from cxrlens.environment import command_line, timestamp
from cxrlens.errors import UnreadableImageError
from cxrlens.files import write_csv
from cxrlens.inputs.annotations.shapes import Shape
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.dataset.layouts import CLASS_NAMES, Item
from cxrlens.inputs.origin import FileOrigin
from cxrlens.inputs.readers import decode
from cxrlens.inputs.unreadable import report_unreadable

_COUNTED = (*CLASS_NAMES, "unlabelled", "unreadable")
_CARDS, _PICTURES, _LINES = 16, 4, 1000  # of a kind, of a card, and of a kind without images
_INTRO = (
    "A problem spoils training or scores; a note is worth a look. Outlines in the pictures are annotated objects; a "
    "grey field around a picture shows how far they reach outside."
)
_PROBE_NOTE = (
    "A linear probe on brightness, contrast, size and file statistics, cross-validated, with its 95 % interval. 0.5: "
    "they do not tell the classes apart. An AUC below 0.5 of a single statistic: it is lower in affected images."
)
OUTPUTS = ("data-check.html", "findings.csv", "unreadable.txt")
"""What `check_data` writes right into its folder."""

_COLUMNS = ("severity", "kind", "images", "message")


@dataclass(frozen=True)
class CheckResult:
    """The result of a data set's check.

    Attributes:
        counts: number of images per split and class, ``unlabelled`` among them, and of those that could not be read.
        published: the same counts of Object-CXR, per split; empty for data that do not look like it.
        findings: problems first, by kind.
        probes: how well global statistics tell the classes apart.
        unreadable: a sentence per file.
    """

    counts: dict[str, dict[str, int]]
    published: dict[str, dict[str, int]]
    findings: list[Finding]
    probes: list[Probe]
    unreadable: list[str]

    @property
    def images(self) -> int:
        """Number of image files in the data set, readable or not."""
        return sum(sum(of_split.values()) for of_split in self.counts.values())

    @property
    def severities(self) -> dict[Severity, int]:
        """The number of problems and of notes."""
        return count(self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values for JSON."""
        return {
            "images": self.counts,
            "published": self.published,
            **{f"{severity}s": number for severity, number in self.severities.items()},
            "findings": [
                {
                    "severity": str(finding.severity),
                    "kind": finding.kind.id,
                    "message": finding.message,
                    "images": finding.images,
                    **({"values": finding.values} if finding.values else {}),
                }
                for finding in self.findings
            ],
            "probes": [
                {
                    "split": probe.split,
                    "n": probe.n,
                    "auc": probe.auc,
                    "low": probe.interval.low,
                    "high": probe.interval.high,
                    "strongest": dict(probe.strongest),
                }
                for probe in self.probes
            ],
            "unreadable": self.unreadable,
        }

    def count_table(self) -> tuple[list[str], list[list[str]]]:
        """Columns and rows of the images per split and class, beside the published ones."""
        columns = ["split", *_COUNTED, *(f"published {name}" for name in CLASS_NAMES if self.published)]
        rows = [
            [
                split,
                *map(str, counts.values()),
                *(str(self.published.get(split, {}).get(name, "")) for name in CLASS_NAMES if self.published),
            ]
            for split, counts in self.counts.items()
        ]
        return columns, rows

    def probe_table(self) -> tuple[list[str], list[list[str]]]:
        """Columns and rows of what global statistics know of the classes."""
        columns = ["split", "n", "AUC of the linear probe", "strongest by themselves (their AUC)"]
        rows = [
            [
                probe.split,
                str(probe.n),
                f"{probe.auc:.3f} ({probe.interval.low:.3f} to {probe.interval.high:.3f})",
                ", ".join(f"{name} {auc:.2f}" for name, auc in probe.strongest),
            ]
            for probe in self.probes
        ]
        return columns, rows


def check_data(
    data: Dataset,
    *,
    annotations: Path | None = None,
    out: Path | None = None,
    workers: int = 0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> CheckResult:
    """Check a data set, or a plain folder of images.

    Args:
        data: a folder in any layout that the other commands take.
        annotations: the CSV of a plain folder.
        out: an existing folder for ``data-check.html``, ``findings.csv`` and ``unreadable.txt``; None writes nothing.
        workers: loader processes.
        seed: of the probe's folds.
        progress: called with (done, all) after each image.

    Raises:
        UsageError: when a folder or a CSV that was named is missing.
        NothingToDoError: when there is no image.
    """
    contents = load_contents(data, annotations)
    checked = read_images(contents, workers=workers, progress=progress)
    groups = find_groups(checked, ~is_flat(checked))
    probes = probe_splits(checked, groups, seed=seed)
    findings = [
        *contents.findings,
        *checked.findings,
        *published_findings(contents),
        *annotation_findings(checked.images),
        *duplicate_findings(checked.images, groups),
        *outlier_findings(checked),
        *shortcut_findings(probes),
    ]
    result = CheckResult(
        _counts(contents, checked),
        {split.name: published_counts(split.name) for split in contents.own if is_object_cxr(contents.own)},
        [finding for _, group in by_kind(findings) for finding in group],
        probes,
        list(checked.unreadable),
    )
    if out is not None:
        _write(result, contents, out)
    return result


def _counts(contents: Contents, checked: CheckedImages) -> dict[str, dict[str, int]]:
    """Each image once: an unreadable one has no class."""
    readable = {image.name for image in checked.images}
    counts = {}
    for split in contents.splits:
        counts[split.name] = dict.fromkeys(_COUNTED, 0)
        for item in split.items:
            label = "unlabelled" if item.label is None else CLASS_NAMES[item.label]
            counts[split.name][label if contents.name(item.origin) in readable else "unreadable"] += 1
    return counts


def _write(result: CheckResult, contents: Contents, out: Path) -> None:
    """The page, the table of all findings, and the list of unreadable files."""
    report_unreadable(result.unreadable, out)
    rows = [
        {
            "severity": finding.severity,
            "kind": finding.kind.id,
            "images": "; ".join(finding.images),
            "message": finding.message,
        }
        for finding in result.findings
    ]
    write_csv(out / "findings.csv", _COLUMNS, rows)
    number = result.severities
    with tempfile.TemporaryDirectory() as pictures:
        draw = _Thumbnails(contents, Path(pictures))
        data_check_page(
            out / "data-check.html",
            title=f"Data check: {contents.root.resolve().name}",
            intro=[_INTRO if result.findings else "Nothing was found that is on the list of this check."],
            facts=[
                ("Images", str(result.images)),
                ("Problems", str(number[Severity.problem])),
                ("Notes", str(number[Severity.note])),
                ("Unreadable files", str(len(result.unreadable))),
            ],
            tables=[
                PageTable("Images per split and class", *result.count_table()),
                *([PageTable("Global statistics", *result.probe_table(), _PROBE_NOTE)] if result.probes else []),
            ],
            sections=[_section(kind, findings, draw) for kind, findings in by_kind(result.findings)],
            footer=[f"cxrlens {cxrlens.__version__}, {timestamp()}", command_line()],
        )


class _Thumbnails:
    """Draws the images of findings, which are read once more for it."""

    def __init__(self, contents: Contents, folder: Path) -> None:
        self._items = {contents.name(item.origin): item for split in contents.splits for item in split.items}
        self._root = contents.root
        self._folder = folder
        self._drawn = 0

    def card(self, finding: Finding) -> Card:
        """One finding; where it is about several images, each with its own objects."""
        shown = finding.images[:_PICTURES]
        pictures = [self._picture(name, finding.shapes if len(finding.images) == 1 else None) for name in shown]
        return Card(finding.message, pictures, len(finding.images) - len(shown))

    def _picture(self, name: str, shapes: tuple[Shape, ...] | None) -> Picture:
        item = self._items.get(name, Item(FileOrigin(self._root / name)))
        try:
            image = decode(item.origin.read(), str(item.origin))
        except UnreadableImageError:
            return Picture(name, None)
        self._drawn += 1
        path = self._folder / f"{self._drawn}.jpg"
        drawn = (item.shapes or ()) if shapes is None else shapes
        thumbnail(image.pixels, drawn).save(path, quality=80)
        label = "" if item.label is None else f"{CLASS_NAMES[item.label]}, "
        return Picture(name, path, f"{label}{image.width} x {image.height}")


def _section(kind: FindingKind, findings: list[Finding], draw: _Thumbnails) -> FindingSection:
    pictured = [finding for finding in findings if finding.images and kind is not UNREADABLE][:_CARDS]
    shown = {id(finding) for finding in pictured}
    more = [finding.message for finding in findings if id(finding) not in shown][:_LINES]
    cards = [draw.card(finding) for finding in pictured]
    return FindingSection(kind.id, kind.title, kind.severity, kind.rule, len(findings), cards, more)
