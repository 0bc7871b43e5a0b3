"""Records are made once, go on after a stop, and grow by what is new alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from small_study import RecordedStudy, a_plan, make_records, untrained
from threadpoolctl import threadpool_limits

from cxrlens.saliency.explain import Row
from cxrlens.study import subjects
from cxrlens.study.plan import StudyPlan
from cxrlens.study.report import all_findings, all_tables
from cxrlens.study.results import Results
from cxrlens.study.work import Unit, all_work
from small_networks import small_networks


@pytest.fixture(scope="module", autouse=True)
def _small_networks() -> Iterator[None]:
    """What is tried here is which records are made; they are made many times."""
    with small_networks():
        yield


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("small")
    return [untrained(folder / f"model-{seed}.safetensors", seed) for seed in (3, 4)]


@pytest.fixture(scope="module")
def plan(models: list[Path]) -> StudyPlan:
    return a_plan(models)


@pytest.fixture(scope="module")
def made(plan: StudyPlan, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> RecordedStudy:
    return make_records(plan, phantoms, tmp_path_factory.mktemp("made"))


@contextmanager
def explained() -> Iterator[list[tuple[int, tuple[Row, ...]]]]:
    """The (number of images, rows) of every pass that explains."""
    calls: list[tuple[int, tuple[Row, ...]]] = []
    original = subjects.explain_rows_in_turn

    def spy(network: Any, images: Any, wanted: Any, **given: Any) -> Any:
        calls.append((len(images), tuple(wanted[0][1])))
        return original(network, images, wanted, **given)

    with mock.patch.object(subjects, "explain_rows_in_turn", spy):
        yield calls


class Stop(Exception):
    """Ends a study in the middle."""


@pytest.mark.parametrize("units", [1, 4, 9])
def test_a_study_that_was_stopped_goes_on_to_the_same_bytes(
    made: RecordedStudy, phantoms: Path, tmp_path: Path, units: int
) -> None:
    calls = 0

    def stop(done: int, total: int, what: str) -> None:
        nonlocal calls
        calls += 1
        if calls > units:
            raise Stop

    with pytest.raises(Stop):
        make_records(made.plan, phantoms, tmp_path, stop)
    partial = len(list(tmp_path.rglob("*.npz")))
    assert 0 < partial < len(made.bytes())
    assert make_records(made.plan, phantoms, tmp_path).bytes() == made.bytes()


def test_a_damaged_record_is_made_again(made: RecordedStudy, phantoms: Path, tmp_path: Path) -> None:
    copy = tmp_path / made.records.folder.name
    shutil.copytree(made.records.folder, copy)
    for part in ("maps", "data", "pairs", "faithfulness"):
        first = sorted((copy / part).rglob("*.npz"))[0]
        first.write_bytes(first.read_bytes()[:100])
    assert make_records(made.plan, phantoms, tmp_path).bytes() == made.bytes()


def test_each_network_explains_each_image_once(made: RecordedStudy, phantoms: Path, tmp_path: Path) -> None:
    plan = made.plan.model_copy(
        update={name: type(getattr(made.plan, name))() for name in ("faithfulness", "randomisation", "perturbation")}
    )
    with explained() as calls:
        make_records(plan, phantoms, tmp_path)
    assert sum(images for images, _ in calls) == 14 * 3  # two given networks and one with random weights
    assert len(calls) == 4 * 3  # blocks of 4, 4, 4 and 2


def test_nothing_is_made_twice(made: RecordedStudy, phantoms: Path) -> None:
    before = made.bytes()
    with explained() as calls:
        make_records(made.plan, phantoms, made.records.folder.parent)
    assert calls == []
    assert made.bytes() == before


def test_a_new_row_makes_its_own_maps_alone(made: RecordedStudy, phantoms: Path, tmp_path: Path) -> None:
    copy = tmp_path / made.records.folder.name
    shutil.copytree(made.records.folder, copy)
    grown = made.plan.model_copy(update={"rows": (*made.plan.rows, "hires_cam last")})
    with explained() as calls:
        later = make_records(grown, phantoms, tmp_path)
    assert {rows for _, rows in calls} == {(Row("hires_cam", "last"),)}
    at_once = make_records(grown, phantoms, tmp_path / "other")
    assert later.bytes() == at_once.bytes()


def test_another_annotation_image_or_model_is_scored_anew(
    made: RecordedStudy, phantoms: Path, tmp_path: Path, models: list[Path]
) -> None:
    folder = made.records.folder.name
    data = Path(shutil.copytree(phantoms, tmp_path / "data"))
    rows = (data / "dev.csv").read_text().splitlines()
    place = next(number for number, row in enumerate(rows[1:], 1) if not row.endswith(","))
    name = rows[place].split(",")[0]
    (data / "dev.csv").write_text("\n".join([*rows[:place], f"{name},0 10 12 30 40", *rows[place + 1 :]]) + "\n")
    few = made.plan.model_copy(update={"rows": ("grad_cam last",), "models": {"resnet18": (models[0],)}})
    assert make_records(few, data, tmp_path / "a").records.folder.name != folder
    shutil.copy(phantoms / "dev.csv", data / "dev.csv")
    assert make_records(few, data, tmp_path / "b").records.folder.name == folder  # another place is no other data
    image = next(path for path in (data / "dev" / "normal").iterdir())
    shutil.copy(next(path for path in (data / "train" / "normal").iterdir()), image)
    assert make_records(few, data, tmp_path / "c").records.folder.name != folder


def test_another_model_is_explained_anew(made: RecordedStudy, phantoms: Path, tmp_path: Path) -> None:
    shutil.copytree(made.records.folder, tmp_path / made.records.folder.name)
    models = (made.plan.models["resnet18"][0], untrained(tmp_path / "m.safetensors", 9))
    plan = made.plan.model_copy(update={"models": {"resnet18": models}})
    with explained() as calls:
        make_records(plan, phantoms, tmp_path)
    passes = [images for images, rows in calls if Row("layer_cam", "layer2.0") in rows]  # the curves' layers
    assert passes == [4, 4]  # the other networks' annotated blocks are there


def test_a_study_does_not_depend_on_the_order_in_which_its_parts_are_done(
    made: RecordedStudy, phantoms: Path, tmp_path: Path
) -> None:
    """The last unit first, and the last row of a block first."""

    def said(results: Results) -> str:
        return repr([[table for _, table in all_tables(results)], all_findings(results)])

    def backwards(function: Any, tasks: Any, _device: object) -> Iterator[Any]:
        found = [function(task) for task in reversed(list(tasks))]
        yield from reversed(found)

    def last_first(*given: Any) -> Iterator[Unit]:
        yield from reversed(list(all_work(*given)))

    with (
        mock.patch("cxrlens.study.blocks._in_threads", backwards),
        mock.patch("cxrlens.study.execution.all_work", last_first),
    ):
        other = make_records(made.plan, phantoms, tmp_path)
        found = said(other.results)
    assert other.bytes() == made.bytes()
    assert found == said(made.results)


def test_another_number_of_threads_changes_last_digits_alone(
    made: RecordedStudy, phantoms: Path, tmp_path: Path
) -> None:
    """Where a processor's libraries share out sums; in one score of many these say where a map is highest."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)  # which share out the work, and one does it
        with threadpool_limits(1):
            other = make_records(made.plan, phantoms, tmp_path)
    finally:
        torch.set_num_threads(threads)
    near = []
    for name in made.bytes():
        with np.load(made.records.folder / name) as one, np.load(other.records.folder / name) as another:
            assert one.files == another.files
            for array in one.files:
                assert one[array].shape == another[array].shape
                if one[array].dtype.kind == "f":
                    near += (
                        np.isclose(one[array], another[array], rtol=1e-3, atol=1e-4, equal_nan=True).ravel().tolist()
                    )
    assert len(near) > 1000
    assert np.mean(near) > 0.99


def test_an_unreadable_image_is_left_out_of_everything(phantoms: Path, tmp_path: Path, models: list[Path]) -> None:
    data = Path(shutil.copytree(phantoms, tmp_path / "data"))
    broken = sorted((data / "dev" / "affected").iterdir())[2]
    broken.write_bytes(b"no image")
    plan = a_plan(models[:1], rows=("grad_cam last",))
    spoilt = make_records(plan, data, tmp_path / "a").results
    intact = make_records(plan, phantoms, tmp_path / "b").results
    assert spoilt.n == 6
    assert broken.name not in {Path(name).name for name in spoilt.names}
    kept = [place for place, name in enumerate(intact.names) if Path(name).name != broken.name]
    rows = [Row("grad_cam", "last")]
    for score in ("distance", "energy", "iou"):
        np.testing.assert_allclose(
            spoilt.scores(spoilt.trained[0], rows, score),
            intact.scores(intact.trained[0], rows, score)[..., kept],
            rtol=1e-4,
        )


def test_progress_counts_up_to_its_total(phantoms: Path, tmp_path: Path, plan: StudyPlan) -> None:
    seen: list[tuple[int, int, str]] = []
    make_records(plan, phantoms, tmp_path, lambda done, total, what: seen.append((done, total, what)))
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert seen[-1][0] == seen[-1][1] == seen[0][1]
    assert "maps" in seen[0][2]
