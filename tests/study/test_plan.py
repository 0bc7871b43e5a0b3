"""The presets, and the rows of the paper in them."""

from __future__ import annotations

import pytest
from small_study import RecordedStudy

from cxrlens.saliency.explain import Row
from cxrlens.study.plan import PRESETS, load_plan
from cxrlens.study.rows import compared_rows, planned_rows

PAPER = [
    *(Row("grad_cam", "last"), Row("guided_grad_cam", "last")),
    *(Row("input_x_gradient", "input"), Row("guided_backprop", "input")),
    *(Row(f"normgrad_{kind}", layers) for layers in ("last", "combined") for kind in ("scaling", "conv1x1", "conv3x3")),
]


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("architecture", ["resnet34", "efficientnet_b0"])
def test_presets_hold_the_rows_of_the_paper_and_the_other_combinations(name: str, architecture: str) -> None:
    rows = compared_rows(load_plan(name, {}), architecture)
    assert rows[: len(PAPER)] == PAPER
    assert {Row(method, "combined") for method in ("grad_cam", "hires_cam", "layer_cam")} <= set(rows)


def test_the_paper_is_at_600_pixels_with_three_seeds() -> None:
    plan = load_plan("paper", {})
    assert plan.training is not None
    assert (plan.training.recipe, plan.training.seeds) == ("paper", (0, 1, 2))
    assert plan.tolerance * 600 == 15
    assert 25 / 600 in plan.tolerances
    assert plan.random.seeds == plan.random_head.seeds == (0, 1, 2)


def test_each_is_spelled_out_and_asked_once() -> None:
    plan = load_plan("quick", {"rows": ["layer_cam each", "layer_cam last", "layer_cam  last"]})
    planned = planned_rows(plan, "resnet34")
    assert plan.rows == ("layer_cam each", "layer_cam last")
    assert [each.row.layers for each in planned if each.each] == ["layer2.0", "layer3.0", "layer4.0", "layer4.2"]
    assert compared_rows(plan, "resnet34") == [Row("layer_cam", "last")]


def test_samples_are_spread_evenly_and_repeat_nothing(made: RecordedStudy) -> None:
    assert made.data.sample(0) == []
    assert made.data.sample(1) == [0]
    assert made.data.sample(3) == [0, 3, 6]
    assert made.data.sample(50) == list(range(7))
