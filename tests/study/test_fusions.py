"""Rows under several fusions: by hand, from the same passes, and in records of their own."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from small_study import RecordedStudy, a_plan, make_records, untrained
from torch import Tensor

from cxrlens.errors import UsageError
from cxrlens.evaluation.bootstrap import Interval
from cxrlens.evaluation.comparison import Comparison
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.report.tables import Score, Table
from cxrlens.saliency import explain
from cxrlens.saliency.capture import Captured
from cxrlens.saliency.explain import Row
from cxrlens.saliency.fusion import Fusion
from cxrlens.saliency.resizing import GRIDS, INTERPOLATIONS, MapResize
from cxrlens.study.experiments import fusions
from cxrlens.study.plan import PRESETS, digest, load_plan
from cxrlens.study.records import SCORING_VERSION, SMOOTHED, score_settings

FLIPPED = "centres bicubic flip"
PLAN = {"random": {}, "faithfulness": {}, "randomisation": {}, "consistency": {}, "perturbation": {}}


def hot_cell(_network: Any, images: Tensor, names: list[str], _target: Any) -> tuple[Tensor, dict[str, Captured]]:
    """In place of the passes: a last layer of 3 x 4 cells of which one sees something, and a probability of 1/2."""
    activation = torch.zeros(len(images), 1, 3, 4)
    activation[:, 0, 1, 2] = 1
    found = {name: Captured(activation, torch.ones_like(activation)) for name in names}
    return torch.zeros(len(images), 2), found


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> RecordedStudy:
    """Two images with an object of 5 x 5 px around (x, y) = (64, 32), the centre of the cell, and one without."""
    folder = tmp_path_factory.mktemp("planted")
    noise = np.random.default_rng(0)
    for split in ("train", "dev"):
        for name in ("affected/a.png", "affected/b.png", "normal/c.png"):
            path = folder / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise.integers(0, 255, (96, 128), dtype=np.uint8)).save(path)
        lines = ("image_name,annotation", "a.png,0 62 30 66 34", "b.png,0 62 30 66 34", "c.png,")
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n")
    model = untrained(folder / "model.safetensors", 1, Preprocessing(height=96, width=128))
    plan = a_plan([model], rows=("grad_cam last",), fusions=("areas bilinear", "centres bilinear"), **PLAN)
    with mock.patch.object(explain, "capture", hot_cell):
        return make_records(plan, folder, folder / "records")


def tent(places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Bilinear shares of a cell at so many cells' distance."""
    return np.maximum(0, 1 - np.abs(places))


def tables_of(made: RecordedStudy) -> dict[str, Table]:
    results = made.results
    found = fusions.EXPERIMENT.group_tables
    assert found is not None
    return {table.name.split("-")[-1]: table for table in found(results, results.trained[0])}


def test_a_cell_at_its_centre_is_on_the_object_and_one_spread_over_the_image_is_not(planted: RecordedStudy) -> None:
    """Stride 32: the hot cell lies at row 32, column 64; by areas at row 47.5, column 79.5."""
    results = planted.results
    group, rows = results.trained[0], [Row("grad_cam", "last")]
    centres = results.scores(group, rows, "distance", variant="centres bilinear")
    areas = results.scores(group, rows, "distance", variant="areas bilinear")
    np.testing.assert_array_equal(centres[0, 0], [0, 0])
    # The pixels 47 and 48, 79 and 80 are as high: 13 or 14 px below the object's last row, and right of its last column
    assert all(np.hypot(13, 13) <= each <= np.hypot(14, 14) for each in areas[0, 0])

    y, x = np.arange(96.0), np.arange(128.0)
    object_ = np.zeros((96, 128), dtype=bool)
    object_[30:35, 62:67] = True
    at_centres = np.outer(tent(y / 32 - 1), tent(x / 32 - 2))
    by_areas = np.outer(tent((y + 0.5) / 32 - 1.5), tent((x + 0.5) / 32 - 2.5))
    energy = {"centres bilinear": at_centres, "areas bilinear": by_areas}

    tables = tables_of(planted)
    assert list(tables) == ["pointing_game", "on_object", "froc", "energy"]
    p = 2 / 2**2  # of four patterns of signs, two differ as far
    for name in ("pointing_game", "on_object"):
        (line,) = tables[name].rows
        assert [cell.value for cell in line[2:5] if isinstance(cell, Score)] == [0, 1, 1]
        assert line[5] == pytest.approx(p)
    (line,) = tables["energy"].rows
    expected = {name: map_[object_].sum() / map_.sum() for name, map_ in energy.items()}
    before, after, difference = (cell.value for cell in line[2:5] if isinstance(cell, Score))
    assert before == pytest.approx(expected["areas bilinear"], rel=1e-4)
    assert after == pytest.approx(expected["centres bilinear"], rel=1e-4)
    assert difference == pytest.approx(after - before)
    # One false point in three images, as high as the two that find their object: 0 at 1/8 and 1/4, 1 at the other five.
    (line,) = tables["froc"].rows
    assert [round(cell.value, 6) for cell in line[2:5] if isinstance(cell, Score)] == [0, *[round(5 / 7, 6)] * 2]


def test_the_findings_make_nothing_of_two_images_and_name_no_order_of_one_row(planted: RecordedStudy) -> None:
    results = planted.results
    found = fusions.EXPERIMENT.findings
    assert found is not None
    start = "made full-size by 'centres bilinear' in place of 'areas bilinear', the published resize"
    assert list(found(results, results.trained[0])) == [
        f"{start}, the Pointing Game cannot be told apart for 1 row.",
        f"{start}, the share of peaks on the object cannot be told apart for 1 row.",
    ]


def test_a_finding_tells_rises_from_falls() -> None:
    rows = [Row("grad_cam", "last"), Row("layer_cam", "last"), Row("hires_cam", "last")]
    found = [
        Comparison(1, 0, difference, Interval(difference - 0.2, difference + 0.2), p, p)
        for difference, p in ((0.5, 0.003), (-0.4, 0.003), (0.1, 0.4))
    ]
    said = fusions._changes("A", "by 'x' in place of 'y'", list(zip(rows, found, strict=True)))
    assert said == (
        "made full-size by 'x' in place of 'y', the A rises for Grad-CAM last (+0.500); falls for LayerCAM last "
        "(-0.400); cannot be told apart for 1 other row."
    )


def test_the_order_of_the_rows_is_told_by_kendalls_tau() -> None:
    rows = [Row("grad_cam", "last"), Row("layer_cam", "last"), Row("hires_cam", "last")]
    kept = np.array([0.1, 0.2, 0.3]), np.array([0.2, 0.5, 0.9])
    swapped = np.array([0.1, 0.2, 0.3]), np.array([0.2, 0.9, 0.5])  # one of three pairs: tau = (2 - 1) / 3
    alike = np.array([0.1, 0.2, 0.3]), np.array([0.0, 0.0, 0.0])
    said = fusions._order(rows, ("areas bilinear", "centres bicubic"), {"A": kept, "B": swapped, "C": alike})
    assert said == (
        "the order of the 3 rows under areas bilinear and centres bicubic: by the A it stays the same; by the B it "
        "agrees to a Kendall's tau of 0.33, and LayerCAM last is best in place of HiResCAM last; by the C there is "
        "none, as all are alike under one of them."
    )


def test_the_variant_that_the_plan_itself_uses_has_the_plans_own_scores(made: RecordedStudy) -> None:
    results = made.results
    group, rows = results.trained[0], results.rows(results.trained[0])
    for score in ("distance", "tied", "energy"):
        own = results.scores(group, rows, score)
        np.testing.assert_array_equal(results.scores(group, rows, score, variant="centres bicubic"), own)
    for subject in group.subjects:
        for row in rows:
            assert results.predictions(subject, row, variant="centres bicubic") == results.predictions(subject, row)
    assert not np.array_equal(results.scores(group, rows, "energy", variant=FLIPPED), own)


def test_the_variants_are_those_of_studies_with_these_settings(
    made: RecordedStudy, phantoms: Path, tmp_path: Path, models: list[Path]
) -> None:
    results = made.results
    group, rows = results.trained[0], results.rows(results.trained[0])
    for name, changes in {
        "areas bilinear": {"grid": "areas", "interpolation": "bilinear"},
        FLIPPED: {"flip": True},
    }.items():
        plan = a_plan(models, fusions=(), normal_images=False, **{**PLAN, **changes})
        other = make_records(plan, phantoms, tmp_path / name).results
        for score in ("distance", "energy"):
            found = other.scores(other.trained[0], rows, score)
            np.testing.assert_allclose(
                results.scores(group, rows, score, variant=name), found, rtol=1e-4, atol=1e-6, err_msg=name
            )


def test_a_smoothed_geometric_mean_is_that_of_a_study_of_smoothed_geometric_means(
    made: RecordedStudy, phantoms: Path, tmp_path: Path, models: list[Path]
) -> None:
    results, name = made.results, "centres bicubic geometric smooth=2"
    group, rows = results.trained[0], results.rows(results.trained[0])
    plan = a_plan(models, fusions=(), combination="geometric", smoothing=2.0, normal_images=False, **PLAN)
    other = make_records(plan, phantoms, tmp_path).results
    found = other.scores(other.trained[0], rows, "distance", variant=SMOOTHED)
    np.testing.assert_allclose(results.scores(group, rows, "distance", variant=name), found, rtol=1e-4)
    assert not np.array_equal(found, other.scores(other.trained[0], rows, "distance"))


def test_a_resize_that_is_added_leaves_what_is_there_as_it_is(
    made: RecordedStudy, phantoms: Path, tmp_path: Path
) -> None:
    grown = made.plan.model_copy(update={"fusions": (*made.plan.fusions, "areas bicubic")})
    shutil.copytree(made.records.folder, tmp_path / made.records.folder.name)
    later = make_records(grown, phantoms, tmp_path)
    assert later.bytes() == make_records(grown, phantoms, tmp_path / "other").bytes()
    group, rows = made.results.trained[0], made.results.rows(made.results.trained[0])
    for name in ("plain", "areas bilinear", FLIPPED):
        np.testing.assert_array_equal(
            later.results.scores(group, rows, "energy", variant=name),
            made.results.scores(group, rows, "energy", variant=name),
        )


def test_all_resizes_come_from_one_pass_and_one_of_the_mirrored_images(
    made: RecordedStudy, phantoms: Path, tmp_path: Path, models: list[Path]
) -> None:
    plan = a_plan(models[:1], rows=("normgrad_conv1x1 combined", "grad_cam last"), **PLAN)
    passes: list[int] = []
    original = explain.capture

    def spy(network: Any, images: Tensor, names: Any, target: Any) -> Any:
        passes.append(len(images))
        return original(network, images, names, target)

    with mock.patch.object(explain, "capture", spy):
        make_records(plan, phantoms, tmp_path)
    assert sum(passes) == 2 * 14
    assert len(plan.compared_fusions) == 4


def test_records_of_another_resize_or_flip_are_not_used(made: RecordedStudy) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"grid": "areas"},
        {"interpolation": "bilinear"},
        {"grid": "areas", "interpolation": "bilinear"},
        {"flip": True},
        {"grid": "areas", "interpolation": "bilinear", "flip": True},
        {"precision": "bf16"},
    ]
    names = [score_settings(made.plan.model_copy(update=each), made.data) for each in changes]
    assert len(set(names)) == len(changes)
    plan = made.plan  # a folder from before there was a choice is of maps resized as published
    assert names[3] == digest(
        SCORING_VERSION, made.data.digest, plan.combination, plan.target, plan.smoothing, plan.seed, plan.batch_size,
        plan.normal_images,
    )  # fmt: skip


def test_the_presets_say_how_maps_are_resized() -> None:
    plans = {name: load_plan(name, {}) for name in PRESETS}
    assert str(plans["paper"].fusion.resize) == "areas bilinear"
    assert str(plans["quick"].fusion.resize) == "centres bicubic"
    assert len(plans["paper"].compared_fusions) == 4
    assert not plans["quick"].compared_fusions


def test_a_fusion_is_read_from_its_words_and_named_in_one_way() -> None:
    plan = load_plan("quick", {"combination": "mean", "fusions": [
        " areas  bilinear", "centres bspline flip smooth=2.50 geometric", "centres bicubic mean", "centres bicubic max"
    ]})  # fmt: skip
    assert plan.compared_fusions == {
        "areas bilinear": Fusion("mean", resize=MapResize("areas", "bilinear")),
        "centres bspline geometric smooth=2.5 flip": Fusion(
            "geometric", smooth=2.5, resize=MapResize("centres", "bspline"), flip=True
        ),
        "centres bicubic": Fusion("mean"),
        "centres bicubic max": Fusion("max"),
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"grid": "corners"}, "grid should be 'centres' or 'areas'"),
        ({"interpolation": "cubic"}, "interpolation should be 'bilinear', 'bicubic' or 'bspline'"),
        ({"fusions": ["areas bilinear", "corners bicubic"]}, "not 'corners bicubic'"),
        ({"fusions": ["areas bilinear", "areas"]}, "not 'areas'"),
        ({"fusions": ["areas bilinear", "areas bicubic flop"]}, "not 'flop'"),
        ({"fusions": ["areas bilinear", "areas bicubic smooth=0"]}, "pixels above 0, such as smooth=2; not 'smooth=0'"),
        ({"fusions": ["areas bilinear", "areas bicubic smooth=x"]}, "not 'smooth=x'"),
        ({"fusions": ["centres bicubic"]}, "'centres bicubic' stands alone; name another to compare with it"),
        ({"fusions": ["centres bicubic", "centres bicubic product"]}, "is named twice"),
        ({"combination": "mean", "fusions": ["centres bicubic mean", "centres bicubic"]}, "is named twice"),
    ],
)
def test_a_plan_that_does_not_fit_is_one_sentence(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as error:
        load_plan("quick", changes)
    assert "\n" not in str(error.value)


def test_methods_that_read_the_input_alone_differ_by_flip_alone(made: RecordedStudy) -> None:
    places = {row.method: place for place, row in enumerate(made.results.rows(made.results.trained[0]))}
    lines = tables_of(made)["energy"]
    columns = [column.key for column in lines.columns]
    for method, differs in (("input_x_gradient", False), ("grad_cam", True)):
        line = dict(zip(columns, lines.rows[places[method]], strict=True))
        assert (line["centres_bicubic_difference"] is not None) == differs
        assert line["centres_bicubic_flip_p"] is not None


def test_every_resize_with_and_without_flip_can_be_drawn(planted: RecordedStudy) -> None:
    results = planted.results
    hits = fusions._hits(results, results.trained[0], results.rows(results.trained[0]), None)["areas bilinear"]
    names = [f"{grid} {between}" for grid in GRIDS for between in INTERPOLATIONS]
    every = {name + ending: hits for name in names for ending in ("", " flip")}
    with mock.patch.object(fusions, "_hits", return_value=every):
        drawn = [each.name for each in fusions.EXPERIMENT.figures(results)]
    stems = [f"{name}-{number}" for name in ("pointing_game", "on_object") for number in (1, 2, 3)]
    assert drawn == [f"fusions-{results.trained[0].architecture}-{stem}" for stem in stems]
