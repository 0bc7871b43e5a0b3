"""The report of a study: what every experiment gives, in files of its own and on one page."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrlens.environment import describe_environment
from cxrlens.files import write_json, write_text
from cxrlens.report.figures import save_figure
from cxrlens.report.tables import Table, save_table
from cxrlens.study import experiments
from cxrlens.study.cells import fusion_words
from cxrlens.study.experiments.base import Experiment
from cxrlens.study.gallery import draw_gallery
from cxrlens.study.page import Foot, PageFigure, Section, study_page
from cxrlens.study.plan import map_settings
from cxrlens.study.results import Results
from cxrlens.study.submission_csv import write_classification, write_localization

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyResult:
    """The files of a finished study, and its findings.

    Attributes:
        maps: the way in which maps became full-size, by name.
    """

    page: Path
    findings: list[str]
    tables: list[Path]
    unreadable: list[str]
    maps: dict[str, str | bool]


def all_tables(results: Results) -> list[tuple[Experiment, Table]]:
    """Every table that the records can fill, with its experiment.

    Neighbours that have tables of each group of networks go through the groups together.
    """
    found: list[tuple[Experiment, Table]] = []
    for by_group, neighbours in itertools.groupby(experiments.EXPERIMENTS, lambda each: each.group_tables is not None):
        there = [each for each in neighbours if each.applies(results)]
        if by_group:
            found += [
                (each, table)
                for group in results.trained
                for each in there
                if each.group_tables is not None
                for table in each.group_tables(results, group)
            ]
        else:
            found += [(each, table) for each in there if each.tables is not None for table in each.tables(results)]
    return [(each, table) for each, table in found if table.rows]


def all_findings(results: Results) -> list[str]:
    """One sentence each: of every group of trained networks, then of the others."""
    return [*_findings(results, trained=True), *_findings(results, trained=False)]


def _findings(results: Results, *, trained: bool) -> Iterator[str]:
    speaking = [
        each
        for each in sorted(experiments.EXPERIMENTS, key=lambda each: each.findings_place)
        if (each.findings_on == "trained") == trained and each.applies(results)
    ]
    for group in results.groups:
        if (group.weights == "trained") != trained:
            continue
        name = group.architecture if trained else f"{group.title} weights"
        for each in speaking:
            if each.findings is not None:
                yield from (f"{name}: {sentence}" for sentence in each.findings(results, group))


def write_report(out: Path, results: Results, device: str, unreadable: list[str]) -> StudyResult:
    """Write tables, figures, findings, submission files, gallery and page into the study's folder."""
    tables = all_tables(results)
    paths = [path for _, table in tables for path in save_table(table, out / "tables")]
    sections = []
    for each in experiments.EXPERIMENTS:
        own = [table for its, table in tables if its is each]
        drawn = list(_saved_figures(out / "figures", each, results))
        if own or drawn:
            sections.append(Section(each.title, [each.text], own, drawn))
    _submissions(out / "submissions", results)
    environment = describe_environment(device=device, seed=results.plan.seed)
    write_json(out / "environment.json", {**environment, "data_digest": results.data.digest,
                                             "maps": map_settings(results.plan)})  # fmt: skip
    said = all_findings(results)
    write_text(out / "findings.md", "".join(f"- {sentence}\n" for sentence in said))
    page = study_page(
        out / "report.html",
        title=f"Study of saliency maps on {results.data.root.name}",
        summary=_summary(results),
        findings=said,
        sections=sections,
        gallery=draw_gallery(out / "gallery", results, device),
        foot=Foot(
            command=environment["command"],
            versions=environment["versions"],
            data_hash=results.data.digest,
            commit=environment["commit"],
            seed=results.plan.seed,
            more=[("Networks", "; ".join(f"{s.title} ({s.id})" for s in results.subjects))],
        ),
    )
    return StudyResult(page, said, paths, unreadable, map_settings(results.plan))


def _saved_figures(folder: Path, experiment: Experiment, results: Results) -> Iterator[PageFigure]:
    if experiment.figures is None or not experiment.applies(results):
        return
    for drawn in experiment.figures(results):
        _, svg = save_figure(drawn.figure, folder / drawn.name, formats=("png", "svg"))
        yield PageFigure(drawn.title, svg, drawn.alt)


def _summary(results: Results) -> list[str]:
    plan, count = results.plan, len(results.all_indices)
    preprocessing = results.subjects[0].preprocessing
    side = max(preprocessing.height, preprocessing.width)
    return [
        f"{results.n} images with foreign objects and {count - results.n} without, of the split "
        f"'{results.data.split}', seen at {preprocessing.size} by {len(results.subjects)} networks. A map is right "
        f"when its highest point lies within {100 * plan.tolerance:.3g} % of the side ({plan.tolerance * side:.3g} px) "
        f"of an object. The explained class is '{plan.target}'; maps of several layers are combined by "
        f"{plan.combination}; {fusion_words(plan)}.",
        "Scores in brackets are 95 % intervals over images, and over seeds where there are several; with two or three "
        "seeds the intervals speak of these trainings more than of the recipe."
        + (" Our trainings choose their epoch by the AUC on these same images." if results.data.split == "dev" else ""),
    ]


def _submissions(folder: Path, results: Results) -> None:
    """The challenge's two files for each trained network, points from its best combined or last row."""
    items = results.data.items(results.plan)
    for group in results.trained:
        rows = results.rows(group)
        row = rows[int(np.argmax(results.hits(group, rows).mean(axis=(1, 2))))]
        for subject in group.subjects:
            names = [items[index].name for index in results.all_indices]
            if len(set(names)) != len(names):
                log.warning("no submission files: two images of the split share a name")
                return
            place = folder / f"{group.file_name}-{subject.seed}"
            probabilities = results.all_probabilities(subject).tolist()
            write_classification(place / "classification.csv", zip(names, probabilities, strict=True))
            points = results.predictions(subject, row)
            write_localization(
                place / "localization.csv",
                ((name, [(p.confidence, p.x, p.y) for p in some]) for name, some in zip(names, points, strict=True)),
            )
