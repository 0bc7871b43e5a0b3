"""The options of `cxrlens study` that say how maps become full-size; they override the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from command_line import cxrlens
from cxrlens.errors import NothingToDoError
from cxrlens.study import run
from cxrlens.study.plan import StudyPlan


def planned(data: Path, *options: object) -> StudyPlan:
    """The plan that the command would run."""
    found: list[StudyPlan] = []

    def stop(_data: Any, _out: Any, plan: StudyPlan, **_given: Any) -> None:
        found.append(plan)
        raise NothingToDoError("asked alone")

    with mock.patch.object(run, "run", stop):
        assert cxrlens("study", data, "-o", data / "out", *options).code == 4
    (plan,) = found
    return plan


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder that looks like a data set, and plans in it."""
    for name in ("affected", "normal"):
        (tmp_path / "dev" / name).mkdir(parents=True)
    (tmp_path / "areas.yaml").write_text("rows: [grad_cam last]\ngrid: areas\nflip: true\n")
    return tmp_path


@pytest.mark.parametrize(
    ("plan", "options", "resize", "flip"),
    [
        ("quick", (), "centres bicubic", False),
        ("quick", ("--published-grid",), "areas bilinear", False),
        ("quick", ("--interpolation", "bilinear", "--flip"), "centres bilinear", True),
        ("areas.yaml", (), "areas bicubic", True),
        ("areas.yaml", ("--interpolation", "bilinear"), "areas bilinear", True),
        ("areas.yaml", ("--grid", "centres"), "centres bicubic", True),
        ("paper", (), "areas bilinear", False),
        ("paper", ("--grid", "centres", "--interpolation", "bicubic"), "centres bicubic", False),
    ],
)
def test_options_override_the_plan(data: Path, plan: str, options: tuple[str, ...], resize: str, flip: bool) -> None:
    found = planned(data, "--plan", data / plan if plan.endswith(".yaml") else plan, *options)
    assert (str(found.fusion.resize), found.fusion.flip) == (resize, flip)


def test_the_published_resize_beside_another_is_refused(data: Path) -> None:
    finished = cxrlens("study", data, "-o", data / "out", "--published-grid", "--grid", "centres")
    assert finished.code == 2
    assert len(finished.errors) == 1
    assert "--published-grid is --grid areas --interpolation bilinear" in finished.errors[0]
