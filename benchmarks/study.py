"""A study of one network at 600 px against plain forward passes; its memory as the images grow in number."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from benchmarks.memory import peak_mib
from benchmarks.saliency import ARCHITECTURES
from benchmarks.timing import lively, medians
from cxrlens.dataset.phantom.dataset import write_phantom_dataset
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.quality_model import load
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.registry import build_network
from cxrlens.process import keep_freed_memory
from cxrlens.study.data import StudyData
from cxrlens.study.execution import run_study
from cxrlens.study.plan import StudyPlan, load_plan
from cxrlens.study.records import Records, score_settings
from cxrlens.study.subjects import find_subjects

METHODS = (
    *("grad_cam", "hires_cam", "layer_cam", "xgrad_cam"),
    *("normgrad_scaling", "normgrad_conv1x1", "normgrad_conv3x3"),
)
CAM_ROWS = tuple(f"{method} {layers}" for layers in ("last", "combined") for method in METHODS)
PAPER_ROWS = tuple(row for row in load_plan("paper", {}).rows if not row.endswith(" each"))
BATCH = 8


@dataclass(frozen=True)
class TimedStudy:
    """Median milliseconds per image, by contender, and peak memory of a whole process in MiB by number of images."""

    architecture: str
    milliseconds: dict[str, float]
    peak: dict[int, float]


def study_all(*, quick: bool, repeats: int, progress: Callable[[str], None]) -> list[TimedStudy]:
    """Every network: a forward pass of all images, the fourteen CAM-type rows, the rows of the preset ``paper``."""
    size, images, numbers = (64, 4, (2, 4)) if quick else (600, 48, (16, 32, 64))
    found = []
    for architecture in ARCHITECTURES:
        with tempfile.TemporaryDirectory() as folder:
            work = _Work.make(Path(folder), architecture, size, max(images, *numbers))
            runs: dict[str, Callable[[], object]] = {
                "forward": work.forward(images),
                "14 rows": partial(work.study, CAM_ROWS, images),
                "paper preset": partial(work.study, PAPER_ROWS, images),
            }
            seconds = medians(runs, repeats)
            peaks = {number: _peak(work, number) for number in numbers}
        each = {name: 1e3 * value / images for name, value in seconds.items()}
        found.append(TimedStudy(architecture, each, peaks))
        progress(f"study of {architecture}, {size} px: {each}, {peaks}")
    return found


@dataclass(frozen=True)
class _Work:
    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model.safetensors"

    @classmethod
    def make(cls, folder: Path, architecture: str, size: int, images: int) -> _Work:
        """A model and as many images with objects."""
        write_phantom_dataset(folder / "data", train=8, dev=2 * images, size=size)
        torch.manual_seed(0)
        network = lively(build_network(architecture), size)
        card = ModelCard(architecture=architecture, preprocessing=Preprocessing(height=size, width=size))
        work = cls(folder)
        save_model(work.model, network, card)
        return work

    def study(self, rows: tuple[str, ...], images: int) -> None:
        """From the files of so many annotated images to the records of all scores."""
        root = self.folder / "data"
        plan = self.plan(rows)
        whole = StudyData.of(root, Dataset(root).split("dev"), Dataset(root).split("train"))
        data = replace(whole, annotated=whole.annotated[:images])
        subjects = find_subjects(plan, plan.models)
        with tempfile.TemporaryDirectory() as out:
            run_study(plan, data, subjects, Records(Path(out) / score_settings(plan, data)), device="cpu")

    def plan(self, rows: tuple[str, ...]) -> StudyPlan:
        architecture = load(self.model, device="cpu").card.architecture
        return StudyPlan(
            architectures=(architecture,), models={architecture: (self.model,)}, rows=rows, normal_images=False
        )

    def forward(self, images: int) -> Callable[[], None]:
        """Plain passes of as many images that lie in memory already."""
        model = load(self.model, device="cpu")
        card = model.card.preprocessing
        batch = torch.rand(BATCH, 1, card.height, card.width)

        def run() -> None:
            with torch.inference_mode():
                for _ in range(0, images, BATCH):
                    model.network(card.normalized(batch))

        return run


def _peak(work: _Work, images: int) -> float:
    """MiB of a process of its own that makes the fourteen rows of so many images."""
    command = [sys.executable, "-m", "benchmarks.study", str(work.folder), str(images)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    keep_freed_memory()
    _Work(Path(sys.argv[1])).study(CAM_ROWS, int(sys.argv[2]))
    print(peak_mib())  # noqa: T201
