"""What the tests of the study share: a plan with all parts, untrained networks, and its records without a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torchvision.models.resnet import BasicBlock, ResNet

from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.registry import ARCHITECTURES, build_network
from cxrlens.study import execution
from cxrlens.study.data import StudyData
from cxrlens.study.execution import Progress, run_study
from cxrlens.study.plan import StudyPlan
from cxrlens.study.records import Records, score_settings
from cxrlens.study.report import StudyResult
from cxrlens.study.results import Results
from cxrlens.study.subjects import Subject, find_subjects

PREPROCESSING = Preprocessing(height=64, width=80)


def untrained(path: Path, seed: int, preprocessing: Preprocessing = PREPROCESSING) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network("resnet18")
    save_model(path, network, ModelCard(architecture="resnet18", preprocessing=preprocessing))
    return path


def a_plan(models: Sequence[Path], **changes: Any) -> StudyPlan:
    """A plan with all parts; blocks of 4, so that one holds images with and without objects."""
    values: dict[str, Any] = {
        "architectures": ("resnet18",),
        "models": {"resnet18": tuple(models)},
        "random": {"seeds": (0,)},
        "rows": ("grad_cam last", "normgrad_conv1x1 combined", "input_x_gradient input", "layer_cam each"),
        "fusions": ("areas bilinear", "centres bicubic", "centres bicubic geometric smooth=2", "centres bicubic flip"),
        "faithfulness": {"images": 2, "steps": 2},
        "randomisation": {"images": 2},
        "consistency": {"images": 3},
        "perturbation": {"images": 2},
        "repeats": 100,
        "batch_size": 4,
    }
    return StudyPlan.model_validate({**values, **changes})


@dataclass(frozen=True)
class FinishedStudy:
    """A study that ran through."""

    out: Path
    plan: StudyPlan
    result: StudyResult


@dataclass(frozen=True)
class RecordedStudy:
    """The records of a study, without its report."""

    plan: StudyPlan
    data: StudyData
    subjects: list[Subject]
    records: Records

    @property
    def results(self) -> Results:
        return Results(self.plan, self.data, self.subjects, self.records)

    def bytes(self) -> dict[str, bytes]:
        """All record files."""
        folder = self.records.folder
        return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.npz"))}


@contextmanager
def shallow_networks() -> Iterator[None]:
    """Inside, and in this process alone, a ResNet-18 has a block a stage, of all its channels.

    Of few channels, as those of `small_networks`, maps of random weights would be flat.
    """
    shallow = replace(ARCHITECTURES["resnet18"], build=lambda classes: ResNet(BasicBlock, [1] * 4, num_classes=classes))
    with mock.patch.dict(ARCHITECTURES, {"resnet18": shallow}):
        yield


def run_shallow_share(*share: Any) -> None:
    """What `run_on` has each of its processes do, with the networks of this one."""
    with shallow_networks():
        execution._run_share(*share)


def make_records(plan: StudyPlan, root: Path, folder: Path, progress: Progress | None = None) -> RecordedStudy:
    """What the command does before it writes tables."""
    data = StudyData.of(root, Dataset(root).split("dev"), Dataset(root).split("train"), plan.kinds)
    subjects = find_subjects(plan, plan.models)
    made = RecordedStudy(plan, data, subjects, Records(folder / score_settings(plan, data)))
    run_study(plan, data, subjects, made.records, device="cpu", progress=progress)
    return made
