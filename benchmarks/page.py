"""docs/benchmarks.md and its figure."""

from __future__ import annotations

import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from benchmarks.saliency import Timed
from benchmarks.study import TimedStudy
from benchmarks.training_input import EPOCHS, HEIGHT, WIDTH, TimedInput

PEERS = ("pytorch-grad-cam", "torch-cam", "captum")
GOALS = {
    "Grad-CAM / forward": {"resnet34": 1.05, "efficientnet_b0": 1.05},
    "seven rows / forward": {"resnet34": 1.8, "efficientnet_b0": 2.2},
    "published / seven rows": {"resnet34": 10.0, "efficientnet_b0": 10.0},
    "pytorch-grad-cam / Grad-CAM": {"resnet34": 2.5, "efficientnet_b0": 2.5},
    "torch-cam / Grad-CAM": {"resnet34": 1.0, "efficientnet_b0": 1.0},
    "captum / Grad-CAM": {"resnet34": 1.0, "efficientnet_b0": 1.0},
}
STUDY_GOAL = 2.5
INPUT_GOALS = {"first epoch": 2.0, "later epochs": 10.0}
UPPER = ("Grad-CAM / forward", "seven rows / forward")
_INTRODUCTION = """\
`make bench` on {} CPU threads ({}), torch {}, float32, channels_last. Milliseconds per image, medians of
turns that all contenders of a line take in one run, the slowest of them fewer. "Seven rows" are Grad-CAM at the
last layer and the three NormGrads at the last layer and combined; "published" makes the same rows with one full
forward and one full backward pass each, image by image. Random weights, batch norms set from random images.
Compare ratios within the table, not times between machines."""

_STUDY = """\
Per image at 600 px, batch 8, all scores included, from the files to the records. "14 rows" are Grad-CAM, HiResCAM,
LayerCAM, XGrad-CAM and the three NormGrads at the last layer and combined; "paper preset" are the rows of that preset
without the single layers, among them guided backprop and gradient x input. The forward passes are of images in
memory. Peak is the resident memory of a process of its own that makes the 14 rows of so many images."""

_INPUT = """\
Images a second of `cxrlens train`'s input without a network, from {} grey JPEGs of {} x {} pixels ({:.1f} MB each) to
batches of 16 at {} px. The first epoch begins with an empty cache and holds all reading, hashing and decoding; "later
epochs" is the median of the {} after it. "Plain" is torchvision's ImageFolder with PIL's decoding, Resize and the same
augmentation by torchvision, an epoch of {} of the files. Both have {} loader processes. The files are in the system's
page cache."""

_INPUT_MEMORY = """\
Peak resident memory of the main process and its loader processes together, pages that they share counted in each."""


def ratios(timed: Timed) -> dict[str, float]:
    return {name: timed.ratio(*name.split(" / ")) for name in GOALS}


def is_met(name: str, architecture: str, value: float) -> bool:
    goal = GOALS[name][architecture]
    return value <= goal if name in UPPER else value >= goal


def write_page(
    folder: Path,
    timings: list[Timed],
    memory: dict[str, dict[str, float]],
    profiles: dict[tuple[str, int, int], dict[str, float]],
    studies: list[TimedStudy],
    inputs: TimedInput,
    notes: str,
) -> None:
    """Tables of times, ratios against their goals, memory, variants and shares of time, and the notes."""
    capabilities = torch.backends.cpu.get_cpu_capability()
    lines = [
        "# Benchmarks",
        "",
        textwrap.fill(_INTRODUCTION.format(torch.get_num_threads(), capabilities, torch.__version__), 118),
        "",
        "![ratios](benchmarks.png)",
        "",
        "## Time",
        "",
    ]
    names = list(timings[0].milliseconds)
    lines += _table(
        ["network", "px", "batch", *names],
        [[t.architecture, t.size, t.batch, *(f"{t.milliseconds[name]:.1f}" for name in names)] for t in timings],
    )
    lines += ["", "## Ratios", "", "**Bold**: the goal in the first two rows is missed.", ""]
    goals = [
        [f"goal, {architecture}", "", "", *(
            f"{'at most' if name in UPPER else 'at least'} {GOALS[name][architecture]:g}" for name in GOALS)]
        for architecture in ("resnet34", "efficientnet_b0")
    ]  # fmt: skip
    rows = []
    for timed in timings:
        cells = [
            f"{value:.2f}" if is_met(name, timed.architecture, value) else f"**{value:.2f}**"
            for name, value in ratios(timed).items()
        ]
        rows.append([timed.architecture, timed.size, timed.batch, *cells])
    lines += _table(["network", "px", "batch", *GOALS], [*goals, *rows])
    lines += ["", "## Memory saved for autograd", "", "MiB, batch 4 at 448 px, without the weights.", ""]
    names = list(next(iter(memory.values())))
    lines += _table(["network", *names], [[a, *(f"{values[n]:.1f}" for n in names)] for a, values in memory.items()])
    varied = [timed for timed in timings if timed.variants]
    names = list(varied[0].variants)
    lines += ["", "## Memory formats and number types", "", "Seven rows, ms per image; from the same run as above.", ""]
    lines += _table(
        ["network", "px", "batch", "channels_last", *names],
        [
            [t.architecture, t.size, t.batch, f"{t.milliseconds['seven rows']:.1f}",
             *(f"{t.variants[name]:.1f}" for name in names)]
            for t in varied
        ],
    )  # fmt: skip
    lines += ["", "## Where the time goes", "", "Shares of the time that the operators of the seven rows take.", ""]
    kinds = list(next(iter(profiles.values())))
    lines += _table(
        ["", *(f"{architecture}, {size} px, batch {batch}" for architecture, size, batch in profiles)],
        [[kind, *(f"{shares[kind]:.0%}" for shares in profiles.values())] for kind in kinds],
    )
    lines += ["", "## The study", "", textwrap.fill(_STUDY, 118), ""]
    lines += _study_table(studies)
    lines += ["", "## Training input", "", *_input_section(inputs)]
    (folder / "benchmarks.md").write_text("\n".join([*lines, "", notes]), encoding="utf-8")
    _figure(timings).savefig(folder / "benchmarks.png", dpi=110)


def _study_table(studies: list[TimedStudy]) -> list[str]:
    runs, numbers = list(studies[0].milliseconds), list(studies[0].peak)
    rows: list[list[object]] = []
    for study in studies:
        times = [f"{value:.0f} ms" for value in study.milliseconds.values()]
        ratio = study.milliseconds["14 rows"] / study.milliseconds["forward"]
        shown = f"{ratio:.2f}" if ratio <= STUDY_GOAL else f"**{ratio:.2f}**"
        rows.append([study.architecture, *times, shown, *(f"{value:.0f} MiB" for value in study.peak.values())])
    head = ["network", *runs, f"14 rows / forward (at most {STUDY_GOAL:g})", *(f"peak, {n} images" for n in numbers)]
    return _table(head, rows)


def _input_section(inputs: TimedInput) -> list[str]:
    described = _INPUT.format(
        inputs.images, WIDTH, HEIGHT, inputs.size / 1e6, inputs.side, EPOCHS - 1, inputs.plain_images, inputs.workers
    )
    rows: list[list[object]] = []
    for augmentation, rates in inputs.rates.items():
        gains = {name: rates[name] / rates["plain"] for name in INPUT_GOALS}
        shown = [f"{gain:.1f}" if gain >= INPUT_GOALS[name] else f"**{gain:.1f}**" for name, gain in gains.items()]
        rows.append([augmentation, *(f"{rate:.1f}" for rate in rates.values()), *shown])
    goals = [f"{name} / plain (at least {goal:g})" for name, goal in INPUT_GOALS.items()]
    names = ["augmentation", *next(iter(inputs.rates.values())), *goals]
    heads = [f"{n} images, {epochs} epoch{'s' * (epochs > 1)}" for n, epochs in inputs.peak]
    return [
        textwrap.fill(described, 118),
        "",
        *_table(names, rows),
        "",
        textwrap.fill(_INPUT_MEMORY, 118),
        "",
        *_table(heads, [[f"{value:.0f} MiB" for value in inputs.peak.values()]]),
    ]


def _table(head: list[str], rows: list[list[object]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
        *(f"| {' | '.join(map(str, row))} |" for row in rows),
    ]


def _figure(timings: list[Timed]) -> plt.Figure:
    shown = ("Grad-CAM", "seven rows", *PEERS)
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained", sharey=True)
    for axis, architecture in zip(axes, ("resnet34", "efficientnet_b0"), strict=True):
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
