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
    Database,
    Device,
    Flip,
    Grid,
    Interpolation,
    Json,
    Model,
    Precision,
    PrecisionChoice,
    PublishedGrid,
    ReasonList,
    Runtime,
    named_resize,
    resize_of,
    workers_of,
)
from cxrlens.errors import UsageError

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
    database: Database = None,
    readers: Annotated[
        Path | None,
        typer.Option(
            help="YAML file that only you may read, with a line NAME: TOKEN a reader, or NAME: sha256:DIGEST of it. "
            "Requests bring a reader's token, and each reader gives verdicts of their own."
        ),
    ] = None,
    blind: Annotated[
        bool,
        typer.Option("--blind", help="Readers see verdicts of others only on images that they have judged themselves."),
    ] = False,
    reasons: ReasonList = None,
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
    from cxrlens.serving.readers import read_readers
    from cxrlens.serving.run import serve
    from cxrlens.serving.settings import ServerSettings
    from cxrlens.serving.tokens import check_token, new_token

    set_up_logging()
    if readers is not None and token is not None:
        raise UsageError(
            "--readers and --token cannot stand together: each reader has a token of their own; leave one out"
        )
    if blind and readers is None:
        raise UsageError("--blind needs to know its readers; give their tokens with --readers FILE")
    if reasons is not None and folder is None:
        raise UsageError("--reasons are those of a screened folder; give the folder, too")
    settings = ServerSettings(
        host=host,
        readers=() if readers is None else read_readers(readers),
        blind=blind,
        hosts=tuple(allow_host or ()),
        max_upload=parse_size(max_upload, "--max-upload"),
        batch_size=batch_size,
        decoders=workers_of(workers),
        slow_methods=slow_methods,
        assess_any=assess_any,
        fusion=Fusion(resize=resize_of(grid, interpolation, published=published_grid), flip=flip),
    )
    given = None if token is None else check_token(token)
    secret = given or (None if settings.is_local or settings.readers else new_token())
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
        database=database,
        reasons=reasons,
        named_resize=named_resize(grid, interpolation, published=published_grid),
        ready=ready,
    )
