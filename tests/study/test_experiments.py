"""The experiments of a study: each is whole and listed, and one more takes a file and a line."""

from __future__ import annotations

import pkgutil
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small_study import FinishedStudy, RecordedStudy, make_records

from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.report.curves import Curve, curve_figure
from cxrlens.report.tables import Column, Table
from cxrlens.study import experiments
from cxrlens.study.cells import ROW_COLUMNS, row_lines, score_cells
from cxrlens.study.experiments import EXPERIMENTS
from cxrlens.study.experiments.base import Drawn, Experiment
from cxrlens.study.records import PLAIN, Arrays, Records, key, parts, score_settings
from cxrlens.study.report import all_tables
from cxrlens.study.results import Group, Results
from cxrlens.study.run import run
from cxrlens.study.scores import GroupMaps, MapScores, SampleBlock, SampleScores
from few_figures import few_figures_drawn

DOCUMENT = Path(__file__).parents[2] / "docs" / "study.md"


def of_table(name: str) -> list[str]:
    """The experiments that a table's name belongs to."""
    return [each.name for each in EXPERIMENTS if name == each.name or name.startswith(f"{each.name}-")]


def test_every_file_of_the_package_is_an_experiment_of_the_report() -> None:
    files = {module.name for module in pkgutil.iter_modules(experiments.__path__)} - {"base"}
    registered = [getattr(experiments, name).EXPERIMENT for name in files]
    assert sorted(each.name for each in registered) == sorted(each.name for each in EXPERIMENTS)
    assert len({each.name for each in EXPERIMENTS}) == len({each.title for each in EXPERIMENTS}) == len(EXPERIMENTS)


def test_every_table_belongs_to_the_experiment_that_makes_it(made: RecordedStudy) -> None:
    tables = all_tables(made.results)
    assert all(of_table(table.name) == [each.name] for each, table in tables)
    there = {each.name for each, _ in tables}
    absent = {"architectures", "kinds", "published"}  # there is but one; there are none, of the images neither
    assert there == {each.name for each in EXPERIMENTS} - absent


def test_every_figure_and_finding_belongs_to_an_experiment_with_a_table(made: RecordedStudy) -> None:
    for each in EXPERIMENTS:
        assert each.text.endswith((".", "?"))
        assert (each.tables is None) != (each.group_tables is None)
        if each.figures is not None and each.applies(made.results):
            names = [drawn.name for drawn in each.figures(made.results)]
            assert names
            assert each.name in {name.split("-resnet18")[0] for name in names}
    speaking = {each.name for each in EXPERIMENTS if each.findings is not None}
    assert speaking == {"pointing-game", "comparisons", "randomisation", "smoothing", "weights", "fusions"}


def test_the_arrays_that_an_experiment_names_are_those_in_the_records(made: RecordedStudy) -> None:
    subject = made.results.trained[0].subjects[0]
    by_block = [made.records.read("maps", subject.id, block) for block in range(2)]  # of images with an object
    for arrays in by_block:
        rows = {tuple(parts(name)[:2]) for name in arrays if name != "probability"}
        whole = {(row.method, row.layers) for row in made.results.rows(made.results.trained[0])}
        assert whole < rows
        for row in rows:
            scores = [each.map_scores for each in EXPERIMENTS if each.map_scores is not None]
            concerned = [each for each in scores if each.single_layers or row in whole]
            expected = {key(*row, name) for each in concerned for name in each.arrays}
            for each in EXPERIMENTS:
                if each.variant_scores is not None and row in whole:
                    variants, names = each.variant_scores.fusions(made.plan), each.variant_scores.arrays(made.plan)
                    expected |= {key(*row, variant, name) for variant in variants for name in names}
            assert {name for name in arrays if tuple(parts(name)[:2]) == row} == expected
    for each in EXPERIMENTS:
        if each.pair_scores is not None:
            first, second = made.results.trained[0].subjects
            found = made.results.of_pair(each.pair_scores, (first, second))
            assert {key(*parts(name)[2:]) for name in found} == set(each.pair_scores.arrays)


def test_the_documentation_lists_every_experiment() -> None:
    section = DOCUMENT.read_text(encoding="utf-8").split("## The experiments")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `([a-z-]+)` \| ([^|]+) \|", section, re.MULTILINE)
    assert [(name, title.strip()) for name, title in listed] == [(each.name, each.title) for each in EXPERIMENTS]


def mean_value(maps: GroupMaps) -> Arrays:
    return {key(PLAIN, "mean"): maps.maps.mean(dim=(1, 2)).cpu().numpy()}


def darkest(block: SampleBlock) -> Arrays:
    return block.by_row(lambda row, number: {"darkest": block.maps(block.before, row, number).amin((1, 2)).numpy()})


SAMPLE = SampleScores("toy", lambda _plan: 2, darkest)


def toy_tables(results: Results, group: Group) -> Iterator[Table]:
    rows = results.rows(group)
    cells = score_cells(results, results.scores(group, rows, "mean"))
    columns = (*ROW_COLUMNS, Column("mean", "Mean value", "score"))
    yield Table(f"toy-{group.architecture}", "A toy's table", columns, row_lines(rows, [cells]))


def toy_figures(results: Results) -> Iterator[Drawn]:
    means = results.scores(results.trained[0], results.rows(results.trained[0]), "mean")[0, 0]
    curve = Curve("mean", means.tolist())
    yield Drawn("toy", "A toy's figure", "Nothing.", curve_figure(list(range(results.n)), [curve], title="toy",
                                                                  x_name="image", y_name="mean"))  # fmt: skip


def toy_findings(results: Results, group: Group) -> Iterator[str]:
    found = results.sample_scores(SAMPLE, group, results.rows(group), "darkest")
    assert found is not None
    yield f"the darkest of {found.size} maps has {found.min():.1f}."


TOY = Experiment(
    name="toy",
    title="A toy",
    text="Nothing to learn.",
    map_scores=MapScores((key(PLAIN, "mean"),), mean_value, baselines=True),
    sample_scores=SAMPLE,
    group_tables=toy_tables,
    figures=toy_figures,
    findings=toy_findings,
)


def test_a_study_grows_by_an_experiment(
    whole: FinishedStudy, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its scores go into the records that are there, its table, figure and sentence into the report."""
    out = Path(shutil.copytree(whole.out, tmp_path / "out"))
    monkeypatch.setattr(experiments, "EXPERIMENTS", (*EXPERIMENTS, TOY))
    with few_figures_drawn():
        result = run(Dataset(phantoms), out, whole.plan)
    sentence = "resnet18: the darkest of 12 maps has 0.0."
    assert [each for each in result.findings if each != sentence] == whole.result.findings
    assert f"- {sentence}\n" in (out / "findings.md").read_text()
    assert {path.name for path in result.tables} - {path.name for path in whole.result.tables} == {
        f"toy-resnet18.{ending}" for ending in ("csv", "md", "tex")
    }
    assert (out / "figures" / "toy.png").stat().st_size > 0
    page = result.page.read_text(encoding="utf-8")
    assert all(text in page for text in ("A toy", "Nothing to learn.", "A toy&#39;s table", "A toy&#39;s figure"))
    for path in sorted((whole.out / "tables").iterdir()):
        assert (out / "tables" / path.name).read_bytes() == path.read_bytes(), path.name
    (folder,) = (whole.out / "records").iterdir()
    later = Records(out / "records" / folder.name)
    for path in sorted(folder.rglob("*.npz")):
        part, subject, block = path.relative_to(folder).with_suffix("").parts
        before, after = Records(folder).read(part, subject, block), later.read(part, subject, block)
        assert before.keys() <= after.keys()
        for name, values in before.items():
            np.testing.assert_array_equal(after[name], values, err_msg=f"{path} {name}")
        added = {tuple(parts(name)[2:]) for name in after.keys() - before.keys()}
        assert added <= {("plain", "mean")}
    with few_figures_drawn():
        assert run(Dataset(phantoms), out, whole.plan).findings == result.findings


def test_an_added_score_is_made_once(
    made: RecordedStudy, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made.records.folder, tmp_path / made.records.folder.name)
    monkeypatch.setattr(experiments, "EXPERIMENTS", (*EXPERIMENTS, TOY))
    seen: list[int] = []
    make_records(made.plan, phantoms, tmp_path, lambda _done, total, _what: seen.append(total))
    assert seen[-1] > 0
    seen.clear()
    make_records(made.plan, phantoms, tmp_path, lambda _done, total, _what: seen.append(total))
    assert seen == [0]
    assert score_settings(made.plan, made.data) == made.records.folder.name
