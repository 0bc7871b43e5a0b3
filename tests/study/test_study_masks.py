"""A study of objects that are given by masks is that of the same objects given by shapes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_study import RecordedStudy, a_plan, make_records

from cxrlens.dataset.prepare.run import Options, prepare
from cxrlens.inputs.annotations.masks import MaskPart
from cxrlens.inputs.annotations.shapes import rasterize
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.report.tables import Score
from cxrlens.study.experiments import froc
from cxrlens.study.experiments.subgroups import shape_groups
from cxrlens.study.report import all_tables
from cxrlens.study.results import Results

ROW = "grad_cam last"


@pytest.fixture(scope="module")
def twins(
    phantoms: Path, models: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[RecordedStudy, RecordedStudy]:
    """The records of three affected phantoms and one normal one with their CSV, and with masks in a prepared set."""
    folder = tmp_path_factory.mktemp("twins")
    shapes, source = folder / "shapes", folder / "source"
    items = Dataset(phantoms).split("dev").items
    chosen = [*[item for item in items if item.shapes][:3], *[item for item in items if not item.shapes][:1]]
    for item in chosen:
        for place in (shapes / item.path.relative_to(phantoms), source / "dev" / "images" / item.name):
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(item.path, place)
        with Image.open(item.path) as image:
            mask = rasterize(item.shapes or (), height=image.height, width=image.width)
        (source / "dev" / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(source / "dev" / "masks" / f"{item.path.stem}.png")
    shutil.copytree(phantoms / "train", shapes / "train")
    shutil.copy(phantoms / "dev.csv", shapes)
    shutil.copytree(phantoms / "train" / "normal", source / "train" / "images")
    prepare(source, folder / "masks", Options())
    none = {"images": 0}
    plan = a_plan(models[:1], rows=(ROW,), random={"seeds": ()}, faithfulness=none, randomisation=none,
                  consistency=none, perturbation=none, smoothing=None)  # fmt: skip
    return make_records(plan, shapes, folder / "a"), make_records(plan, folder / "masks", folder / "b")


def test_both_have_the_same_scores(twins: tuple[RecordedStudy, RecordedStudy]) -> None:
    one, other = (made.results for made in twins)
    assert one.n == other.n == 3
    assert [Path(name).name for name in one.names] == [Path(name).name for name in other.names]
    group, rows = one.trained[0], one.rows(one.trained[0])
    np.testing.assert_array_equal(one.scores(group, rows, "tied"), other.scores(group, rows, "tied"))
    for score, tolerance in (("distance", 1.5), ("energy", 0.05), ("average_precision", 0.08)):
        np.testing.assert_allclose(
            one.scores(group, rows, score), other.scores(group, rows, score), atol=tolerance, err_msg=score
        )


def test_points_in_a_mask_are_points_in_its_shapes(twins: tuple[RecordedStudy, RecordedStudy]) -> None:
    one, other = (made.results.annotations for made in twins)
    assert [bool(objects) for objects in other] == [True, True, True, False]
    y, x = np.mgrid[:96, :96].reshape(2, -1).astype(np.float64)
    for shapes, parts in zip(one, other, strict=True):
        inside = [np.any([each.contains(x, y) for each in objects], axis=0) for objects in (shapes, parts)]
        assert (inside[0] ^ inside[1]).sum() <= 3  # a shape that holds no pixel's centre marks one
        assert np.sum(inside[1]) == sum(part.pixels.sum() for part in parts if isinstance(part, MaskPart))


def test_tables_and_figures_name_masks(twins: tuple[RecordedStudy, RecordedStudy]) -> None:
    results: Results = twins[1].results
    assert set(shape_groups(results)) == {"mask"}
    tables = {table.name: table for _, table in all_tables(results)}
    groups = [table for name, table in tables.items() if name.startswith("subgroups-resnet18")]
    assert groups
    assert all("mask" in {column.key for column in table.columns} for table in groups)
    cells = [cell for row in tables["froc-resnet18"].rows for cell in row if isinstance(cell, Score)]
    assert cells
    assert all(0 <= cell.value <= 1 for cell in cells)
    assert froc.EXPERIMENT.figures is not None
    assert [drawn.name for drawn in froc.EXPERIMENT.figures(results)] == ["froc-resnet18"]


def test_another_mask_is_another_study(twins: tuple[RecordedStudy, RecordedStudy]) -> None:
    made = twins[1]
    item = made.data.annotated[0]
    assert item.mask is not None
    with Image.open(item.mask) as image:
        image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(item.mask)
    again = type(made.data).of(made.data.root, Dataset(made.data.root).split("dev"), None)
    assert again.digest != made.data.digest
