"""Workers of a real Ray cluster give all results in order, whatever becomes of them."""

from __future__ import annotations

import itertools
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from doubling import ENDS, ENDS_ONCE, REFUSED, SLOW, MakeDoubling, blocks_with, processes

from cxrlens.cluster.ray_cluster import ClusterSettings, RayCluster, Share
from cxrlens.cluster.ray_pool import RayPool
from cxrlens.cluster.worker import About
from cxrlens.errors import UsageError
from waiting import until


def lost(number: int, reason: str) -> str:
    return f"{number}: {reason}"


def doubled(pool: RayPool[int, Any], numbers: Any, size: int = 4) -> list[Any]:
    return list(pool.in_order(numbers, size, 2))


def test_workers_that_cannot_be_used_are_told(cluster: RayCluster, tmp_path: Path) -> None:
    with (
        RayPool(cluster, MakeDoubling(tmp_path, "none"), lost) as pool,
        pytest.raises(UsageError, match=r"^the Ray worker on .*: has no numbers$"),
    ):
        pool.facts()


def test_a_worker_that_would_give_other_results_is_left_out(
    cluster: RayCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with RayPool(cluster, MakeDoubling(tmp_path, "process"), lost) as pool, caplog.at_level(logging.WARNING, "cxrlens"):
        until(lambda: doubled(pool, range(8)) and "would give other results" in caplog.text)
        assert processes(tmp_path) == {str(pool.facts())}


def test_another_version_is_refused(cluster: RayCluster, tmp_path: Path) -> None:
    here = About.here()
    with (
        mock.patch.object(About, "here", return_value=About("0.0.1", here.python, here.node)),
        RayPool(cluster, MakeDoubling(tmp_path), lost) as pool,
        pytest.raises(UsageError, match=r"runs cxrlens .* on Python .*, this computer 0\.0\.1 on .*; install the same"),
    ):
        pool.facts()


def test_an_address_without_a_cluster_is_told() -> None:
    pytest.importorskip("ray")
    with pytest.raises(UsageError, match=r"`address=127\.0\.0\.1:9`: no Ray cluster can be used there"):
        RayCluster(ClusterSettings("127.0.0.1:9"))


def test_connecting_leaves_signals_folder_and_statistics_as_they_should_be(computers: Any) -> None:
    before, here = signal.getsignal(signal.SIGTERM), Path.cwd()
    with RayCluster(ClusterSettings(computers.address)) as cluster:
        assert cluster.room() == 2
        assert signal.getsignal(signal.SIGTERM) == before
        assert Path.cwd() == here
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
        paths = cluster.ray._private.worker.global_worker.core_worker.get_job_config().py_driver_sys_path
        assert str(here) not in paths
    assert not cluster.ray.is_initialized()


CPU = {"CPU": 8.0}
GPU = {"CPU": 16.0, "GPU": 2.0}


@pytest.mark.parametrize(
    ("nodes", "settings", "share", "room"),
    [
        ([{"CPU": 2.0}], ClusterSettings(), Share(2, 0), 1),
        ([CPU, CPU, {"CPU": 0.0}], ClusterSettings(), Share(4, 0), 4),
        ([CPU, CPU], ClusterSettings(workers=16), Share(1, 0), 16),
        ([CPU, {"CPU": 2.0}], ClusterSettings(workers=2), Share(2, 0), 5),
        ([CPU, GPU, GPU], ClusterSettings(), Share(8, 1), 4),
        ([CPU, GPU], ClusterSettings(device="cpu"), Share(4, 0), 6),
        ([{"CPU": 0.0}], ClusterSettings(workers=3), Share(4, 0), 0),
    ],
)
def test_shares(nodes: list[dict[str, float]], settings: ClusterSettings, share: Share, room: int) -> None:
    assert Share.of(nodes, settings) == share
    assert share.room(nodes) == room


@pytest.mark.parametrize(
    ("nodes", "settings", "said"),
    [([CPU], ClusterSettings(device="cuda"), "no such device"), ([], ClusterSettings(), "`ray_workers`")],
)
def test_a_cluster_without_room_is_told(nodes: list[Any], settings: ClusterSettings, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Share.of(nodes, settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where workers note what they are at."""
    return tmp_path_factory.mktemp("notes")


@pytest.fixture(scope="module")
def pool(computers: Any, folder: Path) -> Iterator[RayPool[int, Any]]:
    """A pool that several tests use, as several calls of one screening do."""
    with (
        RayCluster(ClusterSettings(computers.address)) as cluster,
        RayPool(cluster, MakeDoubling(folder), lost) as made,
    ):
        yield made


def test_results_come_in_order_and_from_both_workers(pool: RayPool[int, Any], folder: Path) -> None:
    assert pool.facts() == "same"
    assert doubled(pool, range(50)) == [2 * number for number in range(50)]
    until(lambda: doubled(pool, [SLOW] * 4, 1) and len(processes(folder)) == 2)  # both have begun
    assert doubled(pool, []) == []


def test_tasks_are_taken_as_they_are_needed(pool: RayPool[int, Any]) -> None:
    taken = itertools.count()
    results = pool.in_order(taken, 4, 2)
    assert [next(results) for _ in range(8)] == list(range(0, 16, 2))
    assert next(taken) <= 8 + 4 * 2 * 6  # blocks of four, of two workers
    results.close()  # type: ignore[attr-defined]
    assert doubled(pool, [5]) == [10]


def test_an_error_of_the_function_is_raised_as_it_is(pool: RayPool[int, Any]) -> None:
    with pytest.raises(UsageError, match=r"^1004 is refused$"):
        doubled(pool, [1, 2, REFUSED, 3, REFUSED, REFUSED, REFUSED], 1)
    assert doubled(pool, [1, 2]) == [2, 4]  # what else was at hand is nobody's any more


def test_a_killed_process_costs_a_second_try(pool: RayPool[int, Any], folder: Path) -> None:
    numbers = [*range(6), ENDS_ONCE, *range(6, 12)]
    assert doubled(pool, numbers) == [2 * number for number in numbers]
    assert [len(block) for block in blocks_with(folder, ENDS_ONCE)] == [4, 4]


def test_one_that_ends_its_processes_is_lost_alone(
    pool: RayPool[int, Any], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    numbers = [*range(10), ENDS, *range(10, 20)]
    with caplog.at_level(logging.WARNING, "cxrlens"):
        found = doubled(pool, numbers)
    place = numbers.index(ENDS)
    assert found[:place] + found[place + 1 :] == [2 * number for number in range(20)]
    assert found[place].startswith(f"{ENDS}: reading or inspecting it ended processes of Ray worker")
    assert [len(block) for block in blocks_with(folder, ENDS)] == [4, 4, 1]
    assert "ended its process; the" in caplog.text
    assert "at hand are tried again" in caplog.text


def test_a_computer_that_leaves_costs_a_second_try(computers: Any, pool: RayPool[int, Any]) -> None:
    until(lambda: doubled(pool, [SLOW] * 4, 1) and pool._ready == 2)
    results = pool.in_order([SLOW, *range(30), SLOW], 1, 2)
    first = next(results)
    computers.replace_second()
    assert [first, *results] == [2 * number for number in (SLOW, *range(30), SLOW)]
