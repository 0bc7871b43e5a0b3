"""Flat maps show nothing: they are compared with none, judged by no criterion, and counted."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_study import a_plan

from cxrlens.evaluation.similarity import is_flat, map_likeness
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.study.cells import flat_note
from cxrlens.study.experiments.randomisation import depends_on_weights
from cxrlens.study.run import run
from few_figures import few_figures_drawn

FLAT = "normgrad_bias"  # of average pooling: its gradient, hence this map, is the same everywhere


def test_a_flat_map_is_like_no_map():
    random = torch.rand(1, 20, 30)
    zero = torch.zeros(1, 20, 30)
    maps = torch.cat([zero, random, random, zero + 0.5])
    assert is_flat(maps).tolist() == [True, False, False, True]
    others = torch.cat([zero, zero, random, zero + 0.5])
    found = map_likeness(maps, others)
    assert found.tolist() == pytest.approx([math.nan, math.nan, 1, math.nan], nan_ok=True)


def test_the_criterion_judges_no_flat_maps():
    flat = np.full((3, 2, 4), np.nan)
    alike, unlike = np.full((3, 2, 4), 0.9), np.full((3, 2, 4), 0.1)
    assert depends_on_weights(flat, flat[:1]) is None
    assert depends_on_weights(flat, alike[:1]) is None
    assert depends_on_weights(unlike, alike[:1]) is True
    assert depends_on_weights(alike, unlike[:1]) is False


def test_what_was_left_out_is_counted():
    assert flat_note(np.ones((2, 3))) == ""
    assert "2 of 6 comparisons" in flat_note(np.array([[1, np.nan, 1], [1, 1, np.nan]]))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, phantoms: Path, models: Sequence[Path]) -> Path:
    folder = tmp_path_factory.mktemp("flat") / "out"
    with few_figures_drawn():
        run(Dataset(phantoms), folder, a_plan(models, rows=("grad_cam last", f"{FLAT} last")))
    return folder


def rows(out: Path, name: str) -> dict[str, dict[str, Any]]:
    with (out / "tables" / f"{name}.csv").open(newline="") as stream:
        return {row["method"]: row for row in csv.DictReader(stream)}


@pytest.mark.parametrize(
    "name", ["consistency", "randomisation-resnet18", "perturbation-resnet18", "faithfulness-resnet18"]
)
def test_flat_rows_have_no_values_and_are_noted(out: Path, name: str):
    table = rows(out, name)
    (flat,) = (row for method, row in table.items() if "bias" in method)
    (other,) = (row for method, row in table.items() if "CAM" in method)
    numbers = [
        key for key in other if key not in ("method", "layers", "verdict") and not key.endswith(("_n", "_marked"))
    ]
    assert all(flat[key] in ("", "nan", "n/a", "0") for key in numbers), flat
    assert sum(other[key] not in ("", "nan", "n/a") for key in numbers) > len(numbers) / 2
    text = (out / "tables" / f"{name}.md").read_text()
    assert "comparisons are left out" in text
    if name.startswith("randomisation"):
        assert flat["verdict"] == "flat maps"


def test_flat_maps_are_counted_where_they_are_misses(out: Path):
    for name in ("pointing-game", "smoothing"):
        texts = [path.read_text() for path in (out / "tables").glob(f"{name}*.md")]
        assert texts
        assert any("A flat map points nowhere, which is a miss" in text for text in texts)


def test_findings_do_not_blame_the_method(out: Path):
    page = (out / "findings.md").read_text()
    assert "does not judge NormGrad bias last, whose maps are flat" in page
    assert not any("NormGrad bias" in line for line in page.splitlines() if "does not judge" not in line)
    blamed = [line for line in page.splitlines() if "fail the randomisation criterion" in line]
    assert not any("bias" in line.split("fail the randomisation")[0] for line in blamed)
