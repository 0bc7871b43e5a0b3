"""The job behind ``cxrlens serve``: a server that runs until it is interrupted."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from cxrlens.errors import CxrlensError, UsageError
from cxrlens.models.onnx_sessions import Runtime, runtime_of
from cxrlens.screening.engines import open_inspector
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.reasons import read_reasons
from cxrlens.screening.settings import ScreeningSettings
from cxrlens.screening.store import postgresql
from cxrlens.serving.log_rate import limited_log
from cxrlens.serving.settings import ServerSettings

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from cxrlens.inspection.onnx_inspector import OnnxInspector
    from cxrlens.inspection.quality_model import QualityModel

log = logging.getLogger(__name__)

LoadedModel: TypeAlias = "QualityModel | OnnxInspector"
NamedResize: TypeAlias = tuple[str | None, str | None]

_NEEDED = ("fastapi", "uvicorn", "python_multipart")
_GRACE = 10  # seconds that requests may take to end with the server
_BACKLOG = 128  # connections that wait for the server to take them
_AT_ONCE = 16  # of which it takes so many before it looks at how many it has; no more, lest descriptors run out


@dataclass(frozen=True)
class Address:
    """The address at which a server listens.

    Attributes:
        url: of the page.
        port: the one that was free, where any was asked for.
    """

    url: str
    port: int


def serve(
    model: Path,
    folder: Path | None,
    settings: ServerSettings,
    *,
    port: int,
    device: str = "auto",
    precision: str = "f32",
    runtime: Runtime | None = None,
    named_resize: NamedResize = (None, None),
    database: str | None = None,
    reasons: Path | None = None,
    ready: Callable[[Address], None],
) -> None:
    """Serve the page and API of a model, and of a screened folder, until an interrupt.

    Args:
        port: 0 takes any that is free.
        precision: in which the network multiplies, see `load`.
        runtime: what runs it; by default what the model's file is for.
        named_resize: grid and interpolation that were asked for by name: an exported model has its own.
        database: address of the PostgreSQL database that holds the folder's store, see `Store`.
        reasons: a file of reasons for a retake, which the folder keeps.
        ready: is told the address as soon as requests are answered.

    Raises:
        UsageError: when the extra "serve" is not installed, the folder is no screened folder, the address is taken,
            the database cannot be used, or the model cannot be loaded.
    """
    require_extra()
    if folder is not None:
        screened = ScreenedFolder(folder)
        screened.info()
        if reasons is not None:
            screened.keep_reasons(read_reasons(reasons))
        screened.reasons()
    store_server = None if database is None or folder is None else postgresql.reached(database)
    with listening(settings.host, port) as listener:
        grid, interpolation = named_resize
        asked = ScreeningSettings(
            model=model,
            grid=grid,
            interpolation=interpolation,
            flip=settings.fusion.flip,
            runtime=runtime,
            precision=precision,
            device=device,
        )
        _run(load_model(asked), folder, store_server, settings, listener, ready)


def require_extra() -> None:
    """Find out whether the packages of a server are there.

    Raises:
        UsageError: when one is not.
    """
    missing = [name.replace("_", "-") for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"serving needs {' and '.join(missing)}, which are not installed: pip install 'cxrlens[serve]'"
        )


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens; connections wait until the server is ready.

    Raises:
        UsageError: when the address is taken, or none of this machine's.
    """
    name = host.strip("[]")
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    try:
        return socket.create_server((name, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else getattr(error, "strerror", None) or error
        raise UsageError(
            f"{host}:{port} cannot be listened on ({reason}); give another --port (0 takes a free one) or --host"
        ) from error


def load_model(asked: ScreeningSettings) -> LoadedModel:
    """The model that is asked for, to be served; the map of an exported one must be what is asked for.

    Raises:
        UsageError: when it cannot be loaded, or gives other maps.
    """
    if runtime_of(asked.model, asked.runtime) != "torch":
        from cxrlens.inspection.onnx_inspector import OnnxInspector

        inspector = open_inspector(asked)
        assert isinstance(inspector, OnnxInspector)
        return inspector
    from cxrlens.inspection.quality_model import load

    return load(asked.model, device=asked.device, precision=asked.precision)


def _run(
    loaded: LoadedModel,
    folder: Path | None,
    store_server: postgresql.Server | None,
    settings: ServerSettings,
    listener: socket.socket,
    ready: Callable[[Address], None],
) -> None:
    import uvicorn

    from cxrlens.serving.app import create_app
    from cxrlens.serving.served_model import served
    from cxrlens.serving.state import warm_up

    warm_up(served(loaded), settings.fusion)
    if not settings.is_local:
        log.warning("requests come over the network unencrypted; put a proxy with TLS before the server")
    app = create_app(settings, loaded, folder, store_server)
    address = address_of(settings, listener)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            listener.listen(_BACKLOG)
            if self.started:
                ready(address)

    server = Server(configured(app, settings))
    # uvicorn ends in good order on either signal, and then raises it again.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with contextlib.suppress(KeyboardInterrupt), limited_log():
            server.run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, before)
    if not server.started:
        raise CxrlensError("the server could not start; the lines above say why")
    log.info("the server has ended")


def configured(app: FastAPI, settings: ServerSettings) -> uvicorn.Config:
    """How uvicorn is to serve the app."""
    import uvicorn

    from cxrlens.serving.connections import allowed_connections, limited_protocol

    connections = allowed_connections(settings.connections)
    if connections < settings.connections:
        log.warning("%d connections at once are allowed, as this process may open few files", connections)
    return uvicorn.Config(
        app,
        http=limited_protocol(connections, settings.head_seconds, settings.stall_seconds),
        backlog=_AT_ONCE,
        log_config=None,  # requests are logged by their route alone, see `serving.metrics`
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=_GRACE,
    )


def address_of(settings: ServerSettings, listener: socket.socket) -> Address:
    """The address at which a socket listens, as others reach it."""
    port = listener.getsockname()[1]
    host = settings.host.strip("[]")
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return Address(f"http://{f'[{host}]' if ':' in host else host}:{port}/", port)
