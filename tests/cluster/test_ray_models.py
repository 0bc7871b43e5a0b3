"""A screening and a study with a real network by the workers of a Ray cluster give what this computer gives."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from command_line import cxrlens
from cxrlens.cluster.ray_cluster import RayCluster, require_ray
from cxrlens.dataset.phantom.dataset import write_phantom_dataset
from cxrlens.errors import UsageError
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.registry import build_network
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.run import ScreeningSettings, open_engine, screen
from cxrlens.screening.sources import take_sources
from cxrlens.screening.store.store import Store
from cxrlens.study.cluster_execution import run_on_cluster
from cxrlens.study.data import StudyData
from cxrlens.study.execution import run_study
from cxrlens.study.plan import StudyPlan
from cxrlens.study.records import Records
from cxrlens.study.subjects import find_subjects


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 training and 10 dev phantoms (5 affected), for reading only."""
    folder = tmp_path_factory.mktemp("phantoms") / "data"
    write_phantom_dataset(folder, train=4, dev=10, size=96)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two untrained, seeded ResNet-18 at 64 px."""
    paths = [tmp_path_factory.mktemp("model") / f"model-{seed}.safetensors" for seed in (3, 4)]
    for seed, path in zip((3, 4), paths, strict=True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build_network("resnet18")
        save_model(path, network, ModelCard(architecture="resnet18", preprocessing=Preprocessing(height=64, width=64)))
    return paths


def results(out: Path) -> list[ScreenedImage]:
    with Store(ScreenedFolder(out)) as store:
        return list(store.results.newest())


def test_a_screening_has_the_same_worklist(computers: Any, phantoms: Path, models: list[Path], tmp_path: Path) -> None:
    sources = take_sources([str(phantoms / "dev")])
    here = ScreeningSettings(models[0], "all", batch_size=4)
    assert screen(sources, tmp_path / "here", here).computed == 10
    given = ("--maps", "all", "--batch-size", 4, "--engine", "ray", "--address", computers.address, "--ray-workers", 1)
    finished = cxrlens("screen", phantoms / "dev", "-m", models[0], "-o", tmp_path / "there", *given, "--json")
    assert finished.code == 0, finished.err
    assert finished.json["computed"] == 10
    expected = results(tmp_path / "here")
    found = {image.name: image for image in results(tmp_path / "there")}
    assert found.keys() == {image.name for image in expected}
    for one in expected:
        other = found[one.name]
        assert other.probability == pytest.approx(one.probability, abs=1e-6)
        same = {"probability", "contours", "reason", "distance"}
        assert other.model_dump(exclude=same) == one.model_dump(exclude=same)
        assert len(other.contours) == len(one.contours)
    assert (tmp_path / "there" / "report.html").exists()
    assert screen(sources, tmp_path / "there", here).computed == 0  # gone on with here


def test_a_study_has_the_same_records(cluster: RayCluster, phantoms: Path, models: list[Path], tmp_path: Path) -> None:
    plan = StudyPlan.model_validate(
        {
            "architectures": ("resnet18",),
            "models": {"resnet18": tuple(models)},
            "random": {"seeds": (0,)},
            "rows": ("grad_cam last", "normgrad_conv1x1 combined"),
            "faithfulness": {"images": 2, "steps": 2},
            "consistency": {"images": 3},
            "repeats": 100,
            "batch_size": 4,
        }
    )
    data = StudyData.of(phantoms, Dataset(phantoms).split("dev"), Dataset(phantoms).split("train"))
    subjects = find_subjects(plan, plan.models)
    here, there = Records(tmp_path / "here"), Records(tmp_path / "there")
    run_study(plan, data, subjects, here, device="cpu")
    steps: list[tuple[int, int, str]] = []
    run_on_cluster(cluster, plan, data, subjects, there, readers=None, progress=lambda *step: steps.append(step))
    files = sorted(path.relative_to(here.folder) for path in here.folder.rglob("*.npz"))
    assert files == sorted(path.relative_to(there.folder) for path in there.folder.rglob("*.npz"))
    for file in files:
        with np.load(here.folder / file) as one, np.load(there.folder / file) as other:
            assert one.files == other.files
            for name in one.files:
                if one[name].dtype.kind == "f":
                    np.testing.assert_allclose(other[name], one[name], rtol=1e-4, atol=1e-5, err_msg=f"{file} {name}")
                else:
                    np.testing.assert_array_equal(other[name], one[name])
    assert steps[-1][:2] == (steps[-1][1],) * 2
    run_on_cluster(
        mock.Mock(spec=()), plan, data, subjects, there, readers=None, progress=None
    )  # nothing is left to do


def test_a_missing_ray_is_told_with_the_remedy() -> None:
    with mock.patch.dict(sys.modules, {"ray": None}), pytest.raises(UsageError, match=r"pip install 'cxrlens\[ray\]'"):
        require_ray()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ray_workers": 2}, "`engine=ray`"),
        ({"address": "auto"}, "`engine=ray`"),
        ({"engine": "ray", "precision": "auto"}, "`precision=f32`"),
    ],
)
def test_options_that_do_not_go_together_are_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    settings = ScreeningSettings(tmp_path / "model.safetensors", **changes)
    with pytest.raises(UsageError, match=said):
        open_engine(settings, take_sources([str(tmp_path)]), tmp_path / "out")
