"""A Ray cluster: reached, or started on this computer; and the share of it that a worker gets."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from cxrlens.errors import UsageError

MOST_CPUS = 4
"""Processors of a worker without an accelerator: networks gain little from more, and further workers much."""

_MOST_WITH_GPU = 8
_OBJECT_STORE = 512 << 20  # bytes, of a cluster that is started here: model and results, which are small
_PATIENCE = 10.0  # seconds
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is told to anybody
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True)
class ClusterSettings:
    """Which cluster, and how much of it.

    Attributes:
        address: "auto" of the cluster that this computer belongs to, or HOST:PORT; None starts one on this computer,
            which ends with the command.
        workers: how many are asked for, also where the cluster has to grow for them; None takes as many as it has room
            for, and more when it grows.
        device: "auto", "cpu", "cuda" ...; with "auto" an accelerator a worker where the cluster has some.
    """

    address: str | None = None
    workers: int | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Share:
    """The share of one worker.

    Attributes:
        cpus: processors; likewise ``gpus``.
    """

    cpus: int
    gpus: int

    @classmethod
    def of(cls, nodes: Iterable[Mapping[str, float]], settings: ClusterSettings) -> Share:
        """Of a cluster whose computers have these resources, by the names that Ray gives them.

        Raises:
            UsageError: when the device is none of theirs, or they have no processors for workers.
        """
        usable = [node for node in nodes if node.get("CPU", 0) >= 1]
        accelerated = [node for node in usable if node.get("GPU", 0) >= 1]
        if accelerated and settings.device != "cpu":
            cpus = min(int(node["CPU"] // node["GPU"]) for node in accelerated)
            return cls(min(max(cpus, 1), _MOST_WITH_GPU), 1)
        if settings.device not in ("auto", "cpu"):
            raise UsageError(f"`device={settings.device}`: the Ray cluster has no such device; try `device=auto`")
        if not usable:
            if settings.workers is None:
                raise UsageError(
                    "the Ray cluster has no processors for workers now; if it grows when it is asked to, say how many "
                    "workers it may start with `ray_workers`"
                )
            return cls(MOST_CPUS, 0)
        least = min(int(node["CPU"]) for node in usable)
        wanted = MOST_CPUS if settings.workers is None else int(sum(node["CPU"] for node in usable)) // settings.workers
        return cls(max(1, min(wanted, least)), 0)

    def room(self, nodes: Iterable[Mapping[str, float]]) -> int:
        """How many of it the computers have together, whoever uses them now."""
        found = 0
        for node in nodes:
            by_cpus = int(node.get("CPU", 0) // self.cpus)
            found += min(by_cpus, int(node.get("GPU", 0) // self.gpus)) if self.gpus else by_cpus
        return found

    @property
    def device(self) -> str:
        """The device of a worker, of which it sees no other."""
        return "auto" if self.gpus else "cpu"


class RayCluster:
    """A cluster that this process is connected to; a context manager.

    Attributes:
        ray: the library.
        settings: see `ClusterSettings`.
        share: of a worker.

    Raises:
        UsageError: when Ray is not installed, or the cluster cannot be reached or has nothing for a worker.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        self.ray = require_ray()
        self.settings = settings
        self._is_ours = not self.ray.is_initialized()
        if self._is_ours:
            _connect(self.ray, settings.address)
        try:
            self.share = Share.of(self._nodes(), settings)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._is_ours and self.ray.is_initialized():
            self.ray.shutdown()

    def room(self) -> int:
        """For how many workers the cluster is large enough now."""
        return self.share.room(self._nodes())

    def _nodes(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]

    def is_alive(self, node: str) -> bool:
        """False for a computer, by Ray's number of it, that has left the cluster."""
        return any(each["NodeID"] == node and each["Alive"] for each in self.ray.nodes())


def require_ray() -> Any:
    """The library, told to report nothing.

    Raises:
        UsageError: when it is not installed.
    """
    os.environ.update(_ENVIRONMENT)
    try:
        return import_module("ray")
    except ImportError as error:
        raise UsageError(f"`engine=ray` needs Ray ({error}); install it with: pip install 'cxrlens[ray]'") from error


def _connect(ray: Any, address: str | None) -> None:
    """Join the cluster of the address, or start one.

    Raises:
        UsageError: when it cannot be reached or started.
    """
    place = address or "local"
    _answers(place)
    only_here = {} if address else {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
    try:
        with _elsewhere(), _own_signals():
            ray.init(address=place, log_to_driver=False, logging_level=logging.ERROR, **only_here)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError, OSError, ray.exceptions.RayError) as error:
        ray.shutdown()
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        remedy = (
            "start it with 'ray start --head', and 'ray start --address=HOST:6379' on the other computers, or leave "
            "`address` out for a cluster on this computer alone"
            if address
            else "end other programs, or check the space in /tmp and /dev/shm"
        )
        raise UsageError(f"`address={place}`: no Ray cluster can be used there ({reason}); {remedy}") from error


def _answers(address: str) -> None:
    """Make sure that something listens at HOST:PORT, where Ray itself would try for minutes.

    Raises:
        UsageError: when nothing does.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit() or "/" in host:  # "auto", "local"; of Ray's clients: ray://HOST:PORT
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
    except OSError as error:
        raise UsageError(
            f"`address={address}`: no Ray cluster can be used there ({error.strerror or error}); check the address, "
            "and start the cluster with 'ray start --head --port=6379'"
        ) from error


@contextmanager
def _elsewhere() -> Iterator[None]:
    """Connect from another folder: Ray lets workers search the one that it is connected from for modules."""
    here = Path.cwd()
    os.chdir(here.anchor)
    try:
        yield
    finally:
        os.chdir(here)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes the request to end for itself; it stays with whoever had it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
