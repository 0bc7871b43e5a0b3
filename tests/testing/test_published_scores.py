"""Published scores: each has its source, they stand beside the same images alone, and how those are recognised."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from browsing import Page
from cxrlens.evaluation.classification import classification_scores
from cxrlens.evaluation.published import PUBLISHED, published
from cxrlens.inputs.dataset.layouts import Item
from cxrlens.inputs.dataset.object_cxr import published_id, published_split
from cxrlens.inputs.origin import FileOrigin
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.models.card import ModelCard
from cxrlens.report.tables import Score
from cxrlens.saliency.explain import Row
from cxrlens.study.experiments import published as experiment
from cxrlens.study.results import Group
from cxrlens.study.subjects import Subject
from cxrlens.testing.page import TestFacts, write_test_page


def names(first: int, last: int) -> list[str]:
    return [f"{number:05d}.jpg" for number in range(first, last + 1)]


@pytest.mark.parametrize(
    ("given", "split"),
    [
        (names(8001, 9000), "dev"),
        (names(9001, 10000), "test"),
        (names(1, 400), "train"),
        (names(8001, 8090) + ["mine.jpg"] * 10, "dev"),
        (names(8001, 8089) + ["mine.jpg"] * 11, None),
        (names(8951, 9050), None),  # half of each
        (names(8001, 8049), None),  # too few to be sure
        (["8001.jpg"] * 100, None),
        ([], None),
    ],
)
def test_a_published_split_is_known_by_its_ids(given: list[str], split: str | None) -> None:
    assert published_split(given) == split


def test_ids_have_five_digits() -> None:
    assert [published_id(name) for name in ("08001.jpg", "08001.png.jpg", "8001.jpg", "a08001.jpg")] == [8001, 0, 0, 0]


def test_every_published_score_has_source_and_protocol() -> None:
    assert {each.value for each in published("auc")} == {0.963, 0.937, 0.921}
    assert {each.value for each in published("froc")} == {0.851, 0.803}
    tolerances = {each.value: each.tolerance for each in published("pointing_game")}
    assert tolerances == {0.862: 25 / 600, 0.853: 0.025, 0.863: None}
    for each in PUBLISHED:
        assert each.source
        assert each.protocol
        assert each.by
        assert 0 < each.value < 1


def page_of_test(out: Path, file_names: list[str]) -> str:
    labels = [number % 2 for number in range(len(file_names))]
    probabilities = np.linspace(0.1, 0.9, len(labels)).tolist()
    card = ModelCard(architecture="resnet18", preprocessing=Preprocessing(height=64, width=80))
    model = QualityModel(torch.nn.Identity(), card, torch.device("cpu"))
    facts = TestFacts(
        data="data",
        split="dev",
        names=file_names,
        scores=classification_scores(labels, probabilities, bootstrap_repeats=20),
        per_image=[],
        wrong=[],
        unreadable=[],
        not_assessable=0,
        seed=0,
    )
    return " ".join(Page(write_test_page(out, model, facts).read_text("utf-8")).text.split())


def test_the_page_of_a_test_has_them_for_the_same_data_alone(tmp_path: Path) -> None:
    shown = page_of_test(tmp_path, names(8001, 8100))
    auc = classification_scores([n % 2 for n in range(100)], np.linspace(0.1, 0.9, 100).tolist()).auc
    assert f"ResNet-34 0.937 {auc:.3f} the 1,000 test images, 600 x 600 px" in shown
    assert "of the published dev images" in shown
    assert "0.851" not in shown  # a FROC, which a test does not have
    assert "Published" not in page_of_test(tmp_path, [f"mine-{number}.jpg" for number in range(100)])


class FakeResults:
    """Images of which thirty have objects; of the NormGrad rows the second is the better one."""

    def __init__(self, ids: list[str], **plan: Any) -> None:
        items = [Item(FileOrigin(Path(name))) for name in ids]
        self.plan = SimpleNamespace(normal_images=True, seed=0, repeats=50, tolerance=0.025, **plan)
        self.data = SimpleNamespace(annotated=tuple(items[:30]), normal=tuple(items[30:]))
        preprocessing = Preprocessing(height=600, width=600)
        self.group = Group("resnet34", "trained", (Subject("resnet34", "trained", 0, "", preprocessing, "id"),))
        self.trained = [self.group]
        self.all_indices = list(range(len(items)))

    def rows(self, group: Any) -> list[Row]:
        return [Row("grad_cam", "last"), Row("normgrad_scaling", "last"), Row("normgrad_conv1x1", "combined")]

    def hits(self, group: Any, rows: list[Row], *, share: float | None = None) -> Any:
        """Of 30 images: at 2.5 % of the side 6 and 15 hits, at 4.2 % 24."""
        count = {"grad_cam": 30, "normgrad_scaling": 6, "normgrad_conv1x1": 15 if share in (None, 0.025) else 24}
        return np.array([[[float(place < count[row.method]) for place in range(30)]] for row in rows])

    def all_probabilities(self, subject: Any) -> Any:
        return np.linspace(1, 0, len(self.all_indices))


def test_a_study_of_the_same_data_has_its_own_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def froc_cells(results: Any, group: Any, row: Row, places: Any) -> Any:
        asked.append((row, len(places)))
        return Score(0.4, 0.3, 0.5, 30), []

    monkeypatch.setattr(experiment, "froc_cells", froc_cells)
    results: Any = FakeResults(names(8001, 8060))
    assert experiment.EXPERIMENT.applies(results)
    assert experiment.EXPERIMENT.tables is not None
    (table,) = experiment.EXPERIMENT.tables(results)
    here = {(row[0], row[1]): row[-1] for row in table.rows}
    assert here.keys() == {
        *(("AUC", value) for value in (0.963, 0.937, 0.921)),
        *(("FROC, mean sensitivity", value) for value in (0.851, 0.803)),
        *(("Pointing Game", value) for value in (0.862, 0.853)),  # not the one whose tolerance is not known
    }
    assert here["AUC", 0.937].value == 1.0
    assert here["Pointing Game", 0.853].value == 15 / 30
    assert here["Pointing Game", 0.862].value == 24 / 30
    assert set(asked) == {(Row("normgrad_conv1x1", "combined"), 60)}
    assert "the published dev images, resnet34 at 600 x 600 px" in table.note
    assert [column.heading for column in table.columns][-1] == "Here: resnet34"


def test_a_study_of_other_data_has_no_such_table() -> None:
    results: Any = FakeResults([f"{number}.png" for number in range(60)])
    assert not experiment.EXPERIMENT.applies(results)
