"""The review page of a node's worklist, and its /health and /metrics: a server in a thread beside the node."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cxrlens.errors import CxrlensError
from cxrlens.serving.settings import ServerSettings

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from cxrlens.screening.store.postgresql import Server
    from cxrlens.serving.run import LoadedModel

log = logging.getLogger(__name__)

_START = 60.0  # seconds


@dataclass(frozen=True)
class WebSettings:
    """Where a node's worklist is served.

    Attributes:
        port: 0 takes a free one.
        server: settings of the server, whose host is the address.
    """

    port: int
    server: ServerSettings


@contextmanager
def serving(
    settings: WebSettings, model: LoadedModel, folder: Path, store_server: Server | None, metrics: Collector
) -> Iterator[str]:
    """Serve a screened folder inside the block; gives the address of the page.

    Args:
        model: a copy of its own: uploads are checked while the node screens.

    Raises:
        UsageError: when the address is taken.
        CxrlensError: when the server cannot start.
    """
    import uvicorn

    from cxrlens.serving.app import create_app
    from cxrlens.serving.run import address_of, configured, listening

    with listening(settings.server.host, settings.port) as listener:
        app = create_app(settings.server, model, folder, store_server, metrics=[metrics])
        server = uvicorn.Server(configured(app, settings.server))
        ended = threading.Event()

        def run() -> None:
            try:
                server.run(sockets=[listener])
            finally:
                ended.set()

        thread = threading.Thread(target=run, name="web", daemon=True)
        thread.start()
        waited = 0.0
        while not server.started and waited < _START and not ended.wait(0.05):
            waited += 0.05
        if not server.started:
            raise CxrlensError("the server of the review page could not start; the lines above say why")
        try:
            yield address_of(settings.server, listener).url
        finally:
            server.should_exit = True
            thread.join()
