"""A small study on phantoms: two untrained networks of one architecture at a non-square size, every part of a plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from small_study import FinishedStudy, RecordedStudy, a_plan, make_records, shallow_networks, untrained

from cxrlens.dataset.phantom.dataset import write_phantom_dataset
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.study.plan import StudyPlan
from cxrlens.study.run import run


@pytest.fixture(scope="module", autouse=True)
def _shallow_networks() -> Iterator[None]:
    """What is shared by several files is made with them as well; other folders get the whole ones."""
    with shallow_networks():
        yield


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 training and 14 dev phantoms (7 affected), for reading only."""
    folder = tmp_path_factory.mktemp("phantoms") / "data"
    write_phantom_dataset(folder, train=8, dev=14, size=96)
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    with shallow_networks():
        return [untrained(folder / f"model-{seed}.safetensors", seed) for seed in (3, 4)]


@pytest.fixture(scope="session")
def plan(models: Sequence[Path]) -> StudyPlan:
    return a_plan(models)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, phantoms: Path, plan: StudyPlan) -> FinishedStudy:
    """For reading only."""
    out = tmp_path_factory.mktemp("study") / "out"
    with shallow_networks():
        return FinishedStudy(out, plan, run(Dataset(phantoms), out, plan))


@pytest.fixture(scope="session")
def made(phantoms: Path, whole: FinishedStudy) -> RecordedStudy:
    """The records of the whole study, for reading only."""
    with shallow_networks():
        return make_records(whole.plan, phantoms, whole.out / "records")
