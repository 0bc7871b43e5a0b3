"""The command line in this process, a tiny phantom data set, and a tiny untrained model."""

from __future__ import annotations

import io
import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from cxrlens.cli.main import main
from cxrlens.data.phantom.dataset import write_phantom_dataset
from cxrlens.data.preprocessing import Preprocessing
from cxrlens.models.model_file import ModelCard, save_model
from cxrlens.models.registry import build_network

SIZE = 64  # side of the tiny model's input


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout, which must be one JSON value and nothing else."""
        return json.loads(self.out)

    @property
    def errors(self) -> list[str]:
        """The error sentences on stderr."""
        return [line.removeprefix("error: ") for line in self.err.splitlines() if line.startswith("error: ")]


Cxrlens = Callable[..., Finished]


def _run(*arguments: object) -> Finished:
    log = logging.getLogger("cxrlens")
    before = log.handlers[:], log.level, log.propagate
    out, err = io.StringIO(), io.StringIO()
    code = 0
    try:
        with (
            redirect_stdout(out),
            redirect_stderr(err),
            mock.patch.object(sys, "argv", ["cxrlens", *map(str, arguments)]),
        ):
            main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        log.handlers[:], log.propagate = before[0], before[2]
        log.setLevel(before[1])
    return Finished(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def cxrlens() -> Cxrlens:
    """Runs the command line's entry point with some arguments, in this process."""
    return _run


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 16 training and 8 dev phantoms, for reading only."""
    folder = tmp_path_factory.mktemp("phantoms") / "data"
    write_phantom_dataset(folder, train=16, dev=8, size=96)
    return folder


@pytest.fixture
def data(phantoms: Path, tmp_path: Path) -> Path:
    """A copy of the data set, to spoil."""
    return Path(shutil.copytree(phantoms, tmp_path / "data"))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained, seeded ResNet-18 at 64 px."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = build_network("resnet18")
    save_model(path, network, ModelCard(architecture="resnet18", preprocessing=Preprocessing(height=SIZE, width=SIZE)))
    return path
