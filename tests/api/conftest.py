"""A tiny phantom data set and a model that was trained on it by the function under test, made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cxrlens import api
from cxrlens.dataset.phantom.dataset import write_phantom_dataset
from few_figures import few_figures_drawn
from small_networks import small_networks


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 training and 16 dev phantoms, for reading only."""
    folder = tmp_path_factory.mktemp("api") / "data"
    write_phantom_dataset(folder, train=32, dev=16, size=96)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _small_networks() -> Iterator[None]:
    with small_networks():
        yield


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> api.TrainingResult:
    """A run that has learnt its few images."""
    result = api.train(
        str(data),
        run_dir=str(tmp_path_factory.mktemp("api") / "run"),
        arch="resnet18",
        recipe="small",
        image_size=64,
        epochs=10,
        precision="32-true",
        settings={"augmentation.brightness": 0.1},
        device="cpu",
        workers=0,
    )
    assert result is not None
    return result


@pytest.fixture(autouse=True)
def _few_figures_are_drawn() -> Iterator[None]:
    with few_figures_drawn():
        yield
