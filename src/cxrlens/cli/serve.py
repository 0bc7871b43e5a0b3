"""``cxrlens serve``."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlens.cli.console import set_up_logging, show_json, show_lines
from cxrlens.cli.options import (
    AssessAny,
    BatchSize,
    Device,
    Flip,
    Grid,
    Interpolation,
    Json,
    Model,
    Precision,
    PrecisionChoice,
    PublishedGrid,
    Runtime,
    named_resize,
    resize_of,
    workers_of,
)

if TYPE_CHECKING:
    from cxrlens.serving.run import Address

TOKEN_VARIABLE = "CXRLENS_TOKEN"


def command(
    model: Model,
    folder: Annotated[
        Path | None, typer.Argument(help="A folder that 'cxrlens screen' wrote: its worklist is reviewed.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own asks requests for a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar=TOKEN_VARIABLE,
            show_envvar=True,
            help="What requests must bring; by default a random one where a token is needed. "
            "Other users of this machine can read a command's options: the variable is safer.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Name of a proxy before this server, by which requests may call it; asks for a token."),
    ] = None,
    max_upload: Annotated[str, typer.Option(help="Largest upload, such as 64MB.")] = "64MB",
    batch_size: BatchSize = 8,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that decode uploads; by default half the processors, at most 8."),
    ] = None,
    slow_methods: Annotated[
        bool,
        typer.Option("--slow-methods", help="Offer methods too that take many passes a map; everybody waits for them."),
    ] = False,
    assess_any: AssessAny = False,
    grid: Grid = None,
    interpolation: Interpolation = None,
    published_grid: PublishedGrid = False,
    flip: Flip = False,
    device: Device = "auto",
    precision: Precision = PrecisionChoice.f32,
    runtime: Runtime = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    json: Json = False,
) -> None:
    """Serve a review page and an HTTP API: check uploads, review the worklist of a screened folder."""
    from cxrlens.inputs.cache.location import parse_size
    from cxrlens.saliency.fusion import Fusion
    from cxrlens.serving.run import serve
    from cxrlens.serving.security import check_token, new_token
    from cxrlens.serving.settings import ServerSettings

    set_up_logging()
    settings = ServerSettings(
        host=host,
        hosts=tuple(allow_host or ()),
        max_upload=parse_size(max_upload, "--max-upload"),
        batch_size=batch_size,
        decoders=workers_of(workers),
        slow_methods=slow_methods,
        assess_any=assess_any,
        fusion=Fusion(resize=resize_of(grid, interpolation, published=published_grid), flip=flip),
    )
    given = None if token is None else check_token(token)
    secret = given or (None if settings.is_local else new_token())
    settings = settings.with_token(secret)

    def ready(address: Address) -> None:
        new = secret if given is None else None
        url = address.url if new is None else f"{address.url}?token={new}"
        if json:
            show_json({"url": address.url, "port": address.port, "token": new, "folder": folder})
        else:
            show_lines([f"serving on {url} (Ctrl-C ends it)"])
        if open_page:
            import webbrowser

            # Without a token that was given: other users of this machine can read a browser's command line.
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    serve(
        model,
        folder,
        settings,
        port=port,
        device=device,
        precision=precision.value,
        runtime=runtime.value if runtime else None,
        named_resize=named_resize(grid, interpolation, published=published_grid),
        ready=ready,
    )
