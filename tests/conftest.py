"""What all tests share: a cache and a folder of models of their own, never the user's; the browser that pages are
opened in; a PostgreSQL server, and stores that are closed; the same random numbers and examples of hypothesis each
time, these without a limit of time, since a slow machine is no failure.

Torch is imported where it is used: the first process of pytest-xdist, for which the others wait, reads this file and
needs none.
"""

from __future__ import annotations

import importlib
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from cxrlens.inputs.cache.location import FOLDER_VARIABLE, SIZE_VARIABLE
from cxrlens.models.named import FOLDER_VARIABLE as MODELS_VARIABLE
from postgresql import PostgresServer, postgres_server
from waiting import PATIENCE

if TYPE_CHECKING:
    from torch import nn

    from cxrlens.screening.store.database import Database
    from cxrlens.screening.store.postgresql import Server

_MADE_ONCE = ("cluster", "study", "export")
"""Folders whose files share what takes long to make: one process of pytest-xdist runs all of them."""

_LONGEST = ("golden", "documentation", "export", "study", "cluster", "api", "node", "training")
"""Folders of few tests that take long: they begin first, since at the end all other processes would wait for them."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """With ``--dist loadfile``: a file at a time, and a folder at a time where its files share what takes long.

    After `_LONGEST` come those of most tests, as they do by themselves.
    """
    from xdist.scheduler import LoadFileScheduling

    class ByWhatIsShared(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = PurePosixPath(super()._split_scope(nodeid))
            return str(file.parent if file.parent.name in _MADE_ONCE else file)

        def _assign_work_unit(self, node: Any) -> None:
            self.workqueue.move_to_end(min(self.workqueue, key=_place), last=False)
            super()._assign_work_unit(node)

    return ByWhatIsShared(config, log) if config.getvalue("dist") == "loadfile" else None


def _place(files: str) -> int:
    """When a file or folder begins, by `_LONGEST`."""
    return next((place for place, name in enumerate(_LONGEST) if name in PurePosixPath(files).parts), len(_LONGEST))


settings.register_profile("tests", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.fixture(scope="session", autouse=True)
def _an_interrupt_is_heard() -> None:
    """Also where the tests were begun in the background of a shell, which has processes ignore it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _an_interrupt_means_what_it_did(_an_interrupt_is_heard: None) -> Iterator[None]:
    """A test that leaves the command line's handler behind would let the next Ctrl-C end the process of all tests."""
    before = signal.getsignal(signal.SIGINT)
    yield
    after = signal.signal(signal.SIGINT, before)
    assert after == before


@pytest.fixture
def on_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Packages may be put on the path; what they have registered is gone afterwards."""
    from cxrlens.saliency.methods import METHODS

    before, modules = set(METHODS), set(sys.modules)
    yield monkeypatch
    for id_ in set(METHODS) - before:
        del METHODS[id_]
    for name in set(sys.modules) - modules:
        if name.startswith(("cxrlens_example", "plugged")):
            del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture(scope="session", autouse=True)
def _environment_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Folders of the tests' own, no database, and servers of this machine reached without a proxy.

    Matplotlib makes its list of fonts now: where that takes long it says so, and in a command it would say so there.
    """
    importlib.import_module("matplotlib.font_manager")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        patch.setenv(MODELS_VARIABLE, str(tmp_path_factory.mktemp("models")))
        patch.delenv(SIZE_VARIABLE, raising=False)
        patch.delenv("CXRLENS_DATABASE", raising=False)
        for name in ("no_proxy", "NO_PROXY"):
            patch.setenv(name, "127.0.0.1,localhost")
        yield


@pytest.fixture(scope="module", autouse=True)
def _a_file_draws_the_same(_one_thread: None) -> None:
    """Torch's random numbers are the same whatever tests were run before: those of what a file of tests shares, ..."""
    import torch

    torch.manual_seed(1)


@pytest.fixture(autouse=True)
def _a_test_draws_the_same(_a_file_draws_the_same: None) -> None:
    """... and those of each test."""
    import torch

    torch.manual_seed(2)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Tiny tensors gain nothing from threads, and lose much on a busy machine."""
    import torch

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
def _opened_databases() -> Iterator[list[Database]]:
    """All that are opened from now on; they wait for one another however slow the machine is."""
    from cxrlens.screening.store import sqlite
    from cxrlens.screening.store.database import Database

    opened: list[Database] = []
    make = Database.__init__

    def noted(self: Database, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        opened.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "__init__", noted)
        patch.setattr(sqlite, "SECONDS", PATIENCE)  # for which one that writes waits for others
        yield opened


@pytest.fixture(autouse=True)
def _stores_are_closed(_opened_databases: list[Database]) -> Iterator[None]:
    """Whatever store a test has left open is closed after it; one that goes on, as of a server, connects anew."""
    yield
    while _opened_databases:
        _opened_databases.pop().close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL server; tests that need it are skipped without."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Server | None:
    """Where stores are: None in the folder, and then in a database."""
    from cxrlens.screening.store.postgresql import reached

    if request.param == "sqlite":
        return None
    return reached(request.getfixturevalue("postgres").address())


@pytest.fixture(scope="session")
def build_lively() -> Callable[..., nn.Module]:
    """Builds a seeded network whose batch norms are set so that random weights give logits of different images."""
    import torch
    from torch import nn

    from cxrlens.models.registry import build_network

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
