"""``cxrlens node``."""

from __future__ import annotations

import os
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlens.cli.console import set_up_logging, show_json, show_lines
from cxrlens.cli.interrupts import stopping
from cxrlens.cli.options import (
    AssessAny,
    BatchSize,
    Database,
    Device,
    Flip,
    Grid,
    Interpolation,
    Json,
    KeepTags,
    Model,
    Precision,
    PrecisionChoice,
    PublishedGrid,
    ReasonList,
    Runtime,
    Seed,
    Workers,
    named_resize,
    workers_of,
)
from cxrlens.cli.screen import MapsChoice
from cxrlens.cli.serve import TOKEN_VARIABLE
from cxrlens.errors import UsageError
from cxrlens.wording import counted

if TYPE_CHECKING:
    from cxrlens.node.run import NodeAddress, NodeResult
    from cxrlens.node.web import WebSettings

_TLS = "TLS"


def command(
    model: Model,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Folder of the node: images, results, outbox; the same command goes on with it."
        ),
    ],
    aet: Annotated[
        str, typer.Option("--aet", help="AE title by which the node is called, and calls others.")
    ] = "CXRLENS",
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own asks for --allow.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 11112,
    allow: Annotated[
        list[str] | None,
        typer.Option(help="AE titles that may send images, joined with commas; any lets everybody."),
    ] = None,
    send: Annotated[
        list[str] | None,
        typer.Option(
            help="Where results go: dicom://AETITLE@HOST:PORT, dicoms:// with TLS, https://HOST/dicom-web (STOW-RS); "
            "repeat it for several. They carry the patient's identity."
        ),
    ] = None,
    modality: Annotated[
        list[str] | None, typer.Option(help="Modalities that are taken, joined with commas, or any; by default CR,DX.")
    ] = None,
    view: Annotated[
        list[str] | None,
        typer.Option(
            help="View positions that are taken, such as PA,AP; by default any. One that is not told is taken."
        ),
    ] = None,
    drop_unwanted: Annotated[
        bool,
        typer.Option("--drop-unwanted", help="Answer images that are not asked for with success, and drop them."),
    ] = False,
    credentials: Annotated[
        Path | None,
        typer.Option(
            envvar="CXRLENS_PACS_CREDENTIALS",
            show_envvar=True,
            help="File with lines 'machine HOST login USER password PASSWORD' that only you may read; or set "
            "CXRLENS_PACS_USER and CXRLENS_PACS_PASSWORD, or CXRLENS_PACS_TOKEN.",
        ),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(help="The node's certificate (PEM): calls are taken with TLS alone.", rich_help_panel=_TLS),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Its key, where the certificate's file does not hold it.", rich_help_panel=_TLS)
    ] = None,
    client_ca: Annotated[
        Path | None,
        typer.Option(help="Authorities (PEM) of whose certificates callers need one.", rich_help_panel=_TLS),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(
            help="Authorities (PEM) that destinations are trusted by; else the system's.", rich_help_panel=_TLS
        ),
    ] = None,
    keep_free: Annotated[
        str, typer.Option(help="Images are refused when the disk would have less left, such as 1GB.")
    ] = "1GB",
    max_image: Annotated[str, typer.Option(help="Largest image, such as 512MB.")] = "512MB",
    associations: Annotated[int, typer.Option(min=1, help="Calls at once; one more is rejected.")] = 16,
    serve: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST:]PORT",
            help="Serve the worklist's review page, /health and /metrics there, as 'cxrlens serve' does; requests "
            f"have to bring what {TOKEN_VARIABLE} holds, if it is set.",
        ),
    ] = None,
    readers: Annotated[
        Path | None, typer.Option(help="YAML file of readers and their tokens, see 'cxrlens serve'.")
    ] = None,
    maps: Annotated[
        MapsChoice, typer.Option(help="Which images get a map: those suggested for a retake or review, all, or none.")
    ] = MapsChoice.flagged,
    method: Annotated[str | None, typer.Option(help="Method id of the maps, see 'cxrlens screen'.")] = None,
    layers: Annotated[str | None, typer.Option(help="Of the maps, see 'cxrlens screen'.")] = None,
    grid: Grid = None,
    interpolation: Interpolation = None,
    published_grid: PublishedGrid = False,
    flip: Flip = False,
    keep_tags: KeepTags = None,
    assess_any: AssessAny = False,
    reasons: ReasonList = None,
    database: Database = None,
    batch_size: BatchSize = 8,
    seed: Seed = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Screen all images of the folder again, and send their results anew.")
    ] = False,
    device: Device = "auto",
    precision: Precision = PrecisionChoice.f32,
    workers: Workers = None,
    runtime: Runtime = None,
    json: Json = False,
) -> None:
    """A DICOM node: radiographs that are sent to it are screened, and reports and pictures are sent on."""
    from cxrlens.delivery.credentials import read_credentials
    from cxrlens.delivery.destinations import DeliverySettings, check_ae_title, require_packages
    from cxrlens.inputs.cache.location import parse_size

    require_packages("pynetdicom", "dicomweb_client")
    from cxrlens.node.receiving import ReceivingSettings, server_context
    from cxrlens.node.run import NodeSettings, run_node
    from cxrlens.node.wanted import wanted_of
    from cxrlens.screening.settings import ScreeningSettings
    from cxrlens.screening.tags import named_tags
    from cxrlens.serving.settings import is_loopback

    set_up_logging()
    title = check_ae_title(aet, "--aet")
    callers = _titles(allow)
    if callers is None and not is_loopback(host):
        raise UsageError(
            f"--host {host} lets other machines call; name those that may with --allow AETITLE, or give --allow any"
        )
    if (key or client_ca) and certificate is None:
        raise UsageError("--key and --client-ca need the node's own --certificate; give it, or leave them out")
    grid_name, interpolation_name = named_resize(grid, interpolation, published=published_grid)
    settings = NodeSettings(
        screening=ScreeningSettings(
            model=model,
            maps=maps.value,
            method=method,
            layers=layers,
            grid=grid_name,
            interpolation=interpolation_name,
            flip=flip,
            keep_tags=named_tags(keep_tags or ()),
            assess_any=assess_any,
            runtime=runtime.value if runtime else None,
            precision=precision.value,
            batch_size=batch_size,
            workers=workers_of(workers),
            device=device,
            seed=seed,
        ),
        receiving=ReceivingSettings(
            ae_title=title,
            host=host,
            port=port,
            callers=callers or frozenset(),
            wanted=wanted_of(modality, view),
            drops_unwanted=drop_unwanted,
            max_bytes=parse_size(max_image, "--max-image"),
            associations=associations,
            tls=None if certificate is None else server_context(certificate, key, client_ca),
        ),
        delivery=DeliverySettings(
            ae_title=title,
            credentials=read_credentials(credentials),
            ca_file=ca_file,
            certificate=certificate,
            key=key,
        ),
        destinations=tuple(send or ()),
        keep_free=parse_size(keep_free, "--keep-free"),
        web=None if serve is None else _web(serve, readers, assess_any=assess_any),
    )

    def ready(address: NodeAddress) -> None:
        if json:
            show_json({"aet": address.ae_title, "host": address.host, "port": address.port, "url": address.url})
            return
        page = "" if address.url is None else f"; the worklist is on {address.url}"
        show_lines([f"{address.ae_title} takes images on {address.host}:{address.port} (Ctrl-C ends it){page}"])

    stop = threading.Event()
    with stopping(stop):
        result = run_node(out, settings, reasons=reasons, database=database, force=force, stop=stop, ready=ready)
    if json:
        show_json(asdict(result))
    else:
        show_lines([_sentence(result)])


def _sentence(result: NodeResult) -> str:
    left = [
        f"{number} {what}"
        for number, what in (
            (result.unscreened, "images still to be screened"),
            (result.undelivered, "results still to be delivered"),
            (result.refused, "results refused"),
        )
        if number
    ]
    rest = f"; {', '.join(left)}: the same command goes on with them" if left else ""
    return f"{counted(result.received, 'image')} received, {result.screened} screened{rest}"


def _titles(allow: list[str] | None) -> frozenset[str] | None:
    """AE titles that may call; empty for any, None where none was named."""
    from cxrlens.delivery.destinations import check_ae_title

    if allow is None:
        return None
    names = [name.strip() for text in allow for name in text.split(",")]
    return frozenset() if "any" in names else frozenset(check_ae_title(name, "--allow") for name in names)


def _web(serve: str, readers: Path | None, *, assess_any: bool) -> WebSettings:
    """Where the page is served, and who may see it."""
    from cxrlens.node.web import WebSettings
    from cxrlens.serving.readers import read_readers
    from cxrlens.serving.run import require_extra
    from cxrlens.serving.settings import ServerSettings
    from cxrlens.serving.tokens import check_token

    require_extra()
    host, _, number = serve.rpartition(":")
    if not number.isdecimal() or int(number) > 65535:
        raise UsageError(f"--serve takes a port, or HOST:PORT, not '{serve}'")
    token = os.environ.get(TOKEN_VARIABLE) or None
    if readers is not None and token is not None:
        raise UsageError(f"--readers and {TOKEN_VARIABLE} cannot stand together; leave one out")
    server = ServerSettings(
        host=host or "127.0.0.1", readers=() if readers is None else read_readers(readers), assess_any=assess_any
    )
    if not server.is_local and token is None and readers is None:
        raise UsageError(
            f"--serve {serve} lets other machines see the worklist: set {TOKEN_VARIABLE}, or give --readers FILE"
        )
    return WebSettings(int(number), server.with_token(None if token is None else check_token(token)))
