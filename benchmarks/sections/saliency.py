"""The saliency engine: times, ratios against their goals, memory, variants and shares of time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from benchmarks.page import against, measured_on, paragraph, table
from benchmarks.profile import profile_all
from benchmarks.saliency import ARCHITECTURES, Timed, memory_all, time_all

NOTES = Path(__file__).with_name("saliency_notes.md")
PEERS = ("pytorch-grad-cam", "torch-cam", "captum")
GOALS = {
    "Grad-CAM / forward": {"resnet34": 1.05, "efficientnet_b0": 1.05},
    "seven rows / forward": {"resnet34": 1.8, "efficientnet_b0": 2.2},
    "published / seven rows": {"resnet34": 10.0, "efficientnet_b0": 10.0},
    "pytorch-grad-cam / Grad-CAM": {"resnet34": 2.5, "efficientnet_b0": 2.5},
    "torch-cam / Grad-CAM": {"resnet34": 1.0, "efficientnet_b0": 1.0},
    "captum / Grad-CAM": {"resnet34": 1.0, "efficientnet_b0": 1.0},
}
UPPER = ("Grad-CAM / forward", "seven rows / forward")
_INTRODUCTION = """\
Float32, channels_last. Milliseconds per image, medians of turns that all contenders of a line take in one run, the
slowest of them fewer. "Seven rows" are Grad-CAM at the last layer and the three NormGrads at the last layer and
combined; "published" makes the same rows with one full forward and one full backward pass each, image by image. Random
weights, batch norms set from random images."""


def section(folder: Path, *, quick: bool, repeats: int, progress: Callable[[str], None]) -> str:
    timings = time_all(quick=quick, repeats=repeats, progress=progress)
    memory = memory_all(quick=quick)
    profiles = profile_all(quick=quick, repeats=min(repeats, 3))
    _figure(timings).savefig(folder / "benchmarks.png", dpi=110)
    names, kept = list(timings[0].milliseconds), list(next(iter(memory.values())))
    varied = [timed for timed in timings if timed.variants]
    kinds = list(next(iter(profiles.values())))
    return "\n\n".join(
        [
            "## The saliency engine",
            paragraph(f"{_INTRODUCTION} {measured_on()}"),
            "![ratios](benchmarks.png)",
            "### Time",
            table(
                ["network", "px", "batch", *names],
                [[*_case(timed), *(f"{timed.milliseconds[name]:.1f}" for name in names)] for timed in timings],
            ),
            "### Ratios",
            _ratios(timings),
            "### Memory saved for autograd",
            "MiB, batch 4 at 448 px, without the weights.",
            table(["network", *kept], [[a, *(f"{values[n]:.1f}" for n in kept)] for a, values in memory.items()]),
            "### Memory formats and number types",
            "Seven rows, ms per image; from the same run as above.",
            table(
                ["network", "px", "batch", "channels_last", *varied[0].variants],
                [
                    [*_case(t), f"{t.milliseconds['seven rows']:.1f}", *(f"{v:.1f}" for v in t.variants.values())]
                    for t in varied
                ],
            ),
            "### Where the time goes",
            "Shares of the time that the operators of the seven rows take.",
            table(
                ["", *(f"{architecture}, {size} px, batch {batch}" for architecture, size, batch in profiles)],
                [[kind, *(f"{shares[kind]:.0%}" for shares in profiles.values())] for kind in kinds],
            ),
            NOTES.read_text(encoding="utf-8"),
        ]
    )


def _case(timed: Timed) -> list[object]:
    return [timed.architecture, timed.size, timed.batch]


def _ratios(timings: list[Timed]) -> str:
    rows: list[list[object]] = [
        [f"goal, {a}", "", "", *(f"{'at most' if n in UPPER else 'at least'} {GOALS[n][a]:g}" for n in GOALS)]
        for a in ARCHITECTURES
    ]
    for timed in timings:
        cells = [
            against(timed.ratio(*name.split(" / ")), GOALS[name][timed.architecture], most=name in UPPER)
            for name in GOALS
        ]
        rows.append([*_case(timed), *cells])
    return table(["network", "px", "batch", *GOALS], rows)


def _figure(timings: list[Timed]) -> Figure:
    shown = ("Grad-CAM", "seven rows", *PEERS)
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained", sharey=True)
    for axis, architecture in zip(axes, ARCHITECTURES, strict=True):
        cases = [t for t in timings if t.architecture == architecture]
        for place, name in enumerate(shown):
            heights = [t.ratio(name, "forward") for t in cases]
            axis.bar([i + 0.16 * (place - 2) for i in range(len(cases))], heights, 0.15, label=name)
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set_xticks(range(len(cases)), [f"{t.size} px, batch {t.batch}" for t in cases])
        axis.set_title(architecture)
    axes[0].set_ylabel("time / plain forward pass")
    axes[0].legend(frameon=False)
    figure.suptitle("Blue and orange: cxrlens; the others make Grad-CAM alone")
    return figure
