"""What all tests share: a cache of their own, never the user's; the browser that pages are opened in; a PostgreSQL
server; the same examples of hypothesis each time, without a limit of time, since a slow machine is no failure.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from torch import nn

from cxrlens.inputs.cache.location import FOLDER_VARIABLE, SIZE_VARIABLE
from cxrlens.models.registry import build_network
from cxrlens.screening.store.postgresql import Server, reached
from postgresql import PostgresServer, postgres_server
from waiting import PATIENCE

_MADE_ONCE = ("study", "export")
"""Folders whose files share what takes long to make: one process of pytest-xdist runs all of them."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """With ``--dist loadfile``: a file at a time, and a folder at a time where its files share what takes long."""
    from xdist.scheduler import LoadFileScheduling

    class ByWhatIsShared(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = PurePosixPath(super()._split_scope(nodeid))
            return str(file.parent if file.parent.name in _MADE_ONCE else file)

    return ByWhatIsShared(config, log) if config.getvalue("dist") == "loadfile" else None


settings.register_profile("tests", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.fixture(scope="session", autouse=True)
def _cache_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        patch.delenv(SIZE_VARIABLE, raising=False)
        patch.delenv("CXRLENS_DATABASE", raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Tiny tensors gain nothing from threads, and lose much on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A running Chromium; tests that need it are skipped without."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no chromium")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(
            executable_path=program, headless=True, args=["--no-sandbox"], timeout=1000 * PATIENCE
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL server; tests that need it are skipped without."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Server | None:
    """Where stores are: None in the folder, and then in a database."""
    if request.param == "sqlite":
        return None
    return reached(request.getfixturevalue("postgres").address())


@pytest.fixture(scope="session")
def build_lively() -> Callable[..., nn.Module]:
    """Builds a seeded network whose batch norms are set so that random weights give logits of different images."""

    def build(name: str, *, seed: int = 0, classes: int = 2) -> nn.Module:
        torch.manual_seed(seed)
        network = build_network(name, classes=classes)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():
            network.train()(torch.randn(4, 3, 64, 64))
        return network.eval()

    return build
