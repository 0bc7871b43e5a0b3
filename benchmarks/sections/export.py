"""Runtimes and precisions against torch's forward pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnxruntime
import openvino

from benchmarks.export import OUTCOMES, ROWS, TORCH, TimedExport, runtimes, time_exports
from benchmarks.page import against, measured_on, paragraph, table

NOTES = Path(__file__).with_name("export_notes.md")
GOALS = {
    ("resnet34", "torch f32"): 1.6,
    ("efficientnet_b0", "torch f32"): 2.2,
    ("resnet34", "OpenVINO f32"): 1.4,
    ("efficientnet_b0", "OpenVINO f32"): 1.8,
    ("resnet34", "OpenVINO bf16"): 0.6,
    ("efficientnet_b0", "OpenVINO bf16"): 1.4,
}
"""The most that seven rows may take, in forward passes of torch in float32."""

_INTRODUCTION = """\
Images in memory, by torch, by onnxruntime {} and by OpenVINO {}, which run the file that `cxrlens export` writes: the
probability alone, with the map of combined NormGrad conv1x1 and its peak as `cxrlens screen` asks for them, and the
maps of seven rows (Grad-CAM at the last layer, the three NormGrads at the last layer and combined) in one graph. int8:
the branch that `cxrlens export --int8` adds, for probabilities alone. In brackets the ratio
to torch's float32 probability alone, which is a plain forward pass. Milliseconds per image; all take
turns, each with the threads that it takes by itself. Random weights, batch norms set from random images."""


def section(folder: Path, *, quick: bool, repeats: int, progress: Callable[[str], None]) -> str:
    names = runtimes()
    rows = [
        [timed.architecture, f"{timed.size} px", timed.batch, outcome, *(_cell(timed, name, outcome) for name in names)]
        for timed in time_exports(quick=quick, repeats=repeats, progress=progress)
        for outcome in OUTCOMES
    ]
    goals: list[list[object]] = [
        [f"goal, {architecture}", "", "", ROWS, *(_goal(architecture, name) for name in names)]
        for architecture in dict.fromkeys(architecture for architecture, _ in GOALS)
    ]
    versions = onnxruntime.__version__, openvino.__version__.split("-")[0]
    text = f"{_INTRODUCTION.format(*versions)} {measured_on()}"
    head = ["network", "input", "batch", "what", *names]
    return "\n\n".join(["## Exported models", paragraph(text), table(head, [*goals, *rows]), NOTES.read_text("utf-8")])


def _goal(architecture: str, name: str) -> str:
    goal = GOALS.get((architecture, name))
    return "" if goal is None else f"at most {goal:g}"


def _cell(timed: TimedExport, name: str, outcome: str) -> str:
    ratio = timed.ratio(name, outcome)
    if ratio is None:
        return ""
    goal = GOALS.get((timed.architecture, name)) if outcome == ROWS else None
    shown = f"{ratio:.2f}" if goal is None else against(ratio, goal, most=True)
    return f"{timed.milliseconds[name, outcome]:.1f} ms" + (
        "" if (name, outcome) == (TORCH, OUTCOMES[0]) else f" ({shown})"
    )
