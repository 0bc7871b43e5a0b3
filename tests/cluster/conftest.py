"""A real Ray cluster of two computers on this one; tests that need it are skipped without Ray."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bright import write_pictures

from cxrlens.cluster.ray_cluster import ClusterSettings, RayCluster, require_ray
from waiting import PATIENCE

STORE = 100 << 20
ATTEMPTS = 4


class Computers:
    """The computers of a cluster, each of one processor."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._second = self._added()

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def _added(self) -> Any:
        return self._cluster.add_node(num_cpus=1, object_store_memory=STORE)

    def replace_second(self) -> None:
        """It goes, with all that it is at, and another one comes."""
        self._cluster.remove_node(self._second, allow_graceful=False)
        self._second = self._added()


def started() -> Any:
    """A cluster of one computer; Ray gives up after half a minute, in which a busy machine may start none."""
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
    for attempt in itertools.count(1):
        cluster = Cluster()
        try:
            cluster.add_node(**options)
        except Exception:
            if attempt == ATTEMPTS:
                raise
        else:
            return cluster
    return None


@pytest.fixture(scope="session")
def computers() -> Iterator[Computers]:
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        patch.setenv("RAY_worker_niceness", "0")  # other tests may compute meanwhile
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")  # it ends workers where others fill the memory
        patch.setenv("RAY_worker_register_timeout_seconds", f"{PATIENCE:.0f}")
        require_ray()
        cluster = started()
        try:
            yield Computers(cluster)
        finally:
            cluster.shutdown()


@pytest.fixture
def cluster(computers: Computers) -> Iterator[RayCluster]:
    """A connection, with room for two workers."""
    with RayCluster(ClusterSettings(computers.address)) as reached:
        yield reached


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Thirteen pictures that are not square, each with a bright spot elsewhere."""
    return write_pictures(tmp_path / "in")
