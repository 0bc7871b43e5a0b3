"""Scores by kind of object, from a table beside the data set."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
import pytest
from small_study import RecordedStudy, make_records

from cxrlens.errors import UsageError
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.report.tables import Score
from cxrlens.study.experiments import kinds
from cxrlens.study.experiments.froc import froc_cells
from cxrlens.study.object_kinds import kinds_of
from cxrlens.study.plan import Kinds


@pytest.fixture
def dev(phantoms: Path) -> list[str]:
    """Names of the dev images with objects."""
    return [item.name for item in Dataset(phantoms).split("dev").items if item.has_object]


def write(path: Path, dev: list[str], header: str = "Image_Name,split,Objects") -> Kinds:
    """Of the first four images, a ring, both, neither and a coin; a row of the training images has the first's name."""
    shown = ("ring", " ring + coin", "", "coin", *["pin"] * (len(dev) - 5))
    lines = [header, *(f"{name},dev,{kind}" for name, kind in zip(dev, shown, strict=False)), f"{dev[0]},train,zip"]
    path.write_text("\n".join(lines) + "\n")
    return Kinds(table=path, column="objects")


def test_kinds_are_those_of_the_images_own_rows(
    phantoms: Path, tmp_path: Path, dev: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    items = [item for item in Dataset(phantoms).split("dev").items if item.has_object]
    with caplog.at_level(logging.WARNING):
        found = kinds_of(write(tmp_path / "kinds.csv", dev), items, root=phantoms, split="dev")
    assert found[:4] == (frozenset({"ring"}), frozenset({"ring", "coin"}), frozenset(), frozenset({"coin"}))
    assert found[-1] == frozenset()
    assert caplog.messages == [
        "kinds.csv: 1 of 7 images with objects have no row that is sure to mean them, and are of no kind"
    ]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("image_name,split,things", "has no column 'objects', but image_name, split, things; correct it, or"),
        ("name,split,objects", "has no column 'image_name' or 'image_path', which names the image, but name, split"),
        ("image_name,objects,objects", "has the column 'objects' twice; rename or delete one"),
    ],
)
def test_a_table_without_the_column_is_one_sentence(
    phantoms: Path, tmp_path: Path, dev: list[str], header: str, said: str
) -> None:
    items = Dataset(phantoms).split("dev").items
    with pytest.raises(UsageError, match=re.escape(said)):
        kinds_of(write(tmp_path / "kinds.csv", dev, header), items, root=phantoms, split="dev")


def test_a_table_of_other_images_is_refused(phantoms: Path, tmp_path: Path) -> None:
    items = Dataset(phantoms).split("dev").items
    with pytest.raises(UsageError, match=re.escape("no row is sure to mean an image with objects of 'dev'")):
        kinds_of(write(tmp_path / "kinds.csv", ["x1.png", "x2.png"]), items, root=phantoms, split="dev")
    with pytest.raises(UsageError, match="no such file; check 'kinds' of the plan"):
        kinds_of(Kinds(table=tmp_path / "none.csv", column="objects"), items, root=phantoms, split="dev")


def test_the_tables_hold_the_scores_of_the_images_of_each_kind(
    made: RecordedStudy, phantoms: Path, tmp_path: Path, dev: list[str]
) -> None:
    plan = made.plan.model_copy(update={"kinds": write(tmp_path / "kinds.csv", dev)})
    results = make_records(plan, phantoms, made.records.folder.parent).results
    group, rows = results.trained[0], results.rows(results.trained[0])
    assert kinds.EXPERIMENT.applies(results)
    assert not kinds.EXPERIMENT.applies(made.results)
    assert kinds.EXPERIMENT.group_tables is not None
    tables = {table.name.removeprefix(f"kinds-{group.architecture}-"): table
              for table in kinds.EXPERIMENT.group_tables(results, group)}  # fmt: skip
    assert [column.heading for column in tables["energy"].columns][2:] == [
        "coin (n = 2)",
        "pin (n = 2)",
        "ring (n = 2)",
    ]
    chosen = {"coin": [1, 3], "pin": [4, 5], "ring": [0, 1]}
    energy = results.scores(group, rows, "energy")
    normal = range(results.n, len(results.all_indices))
    for place, row in enumerate(rows):
        for kind, images in chosen.items():
            column = next(n for n, each in enumerate(tables["energy"].columns) if each.key == kind)
            cell = tables["energy"].rows[place][column]
            assert isinstance(cell, Score)
            assert cell.value == pytest.approx(float(np.mean(energy[place][:, images])))
            assert tables["froc"].rows[place][column] == froc_cells(results, group, row, [*images, *normal])[0]
