"""A tiny data set of phantoms for training tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cxrlens.dataset.phantom.dataset import write_phantom_dataset
from small_networks import small_networks


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("training") / "phantoms"
    write_phantom_dataset(out, train=12, dev=6, size=64, seed=3)
    return out


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    """Networks that train in no time."""
    with small_networks():
        yield
