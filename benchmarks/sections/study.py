"""The study's time and memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.page import against, measured_on, paragraph, table
from benchmarks.study import study_all

NOTES = Path(__file__).with_name("study_notes.md")
GOALS = {"resnet34": 2.3, "efficientnet_b0": 3.5}
_INTRODUCTION = """\
Per image at 600 px, batch 8, all scores included, from the files to the records. "14 rows" are Grad-CAM, HiResCAM,
LayerCAM, XGrad-CAM and the three NormGrads at the last layer and combined; "paper preset" are the rows of that preset
without the single layers, among them guided backprop and gradient x input. The forward passes are of images in
memory. Peak is the resident memory of a process of its own that makes the 14 rows of so many images."""


def section(folder: Path, *, quick: bool, repeats: int, progress: Callable[[str], None]) -> str:
    studies = study_all(quick=quick, repeats=min(repeats, 3), progress=progress)
    runs, numbers = list(studies[0].milliseconds), list(studies[0].peak)
    rows = []
    for study in studies:
        times = [f"{value:.0f} ms" for value in study.milliseconds.values()]
        ratio = study.milliseconds["14 rows"] / study.milliseconds["forward"]
        peaks = [f"{value:.0f} MiB" for value in study.peak.values()]
        goal = GOALS[study.architecture]
        rows.append([study.architecture, *times, against(ratio, goal, most=True), f"at most {goal:g}", *peaks])
    head = ["network", *runs, "14 rows / forward", "goal", *(f"peak, {n} images" for n in numbers)]
    introduction = paragraph(f"{_INTRODUCTION} {measured_on()}")
    return "\n\n".join(["## The study", introduction, table(head, rows), NOTES.read_text("utf-8")])
