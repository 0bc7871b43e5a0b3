"""``cxrlens screen`` as a function."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

from cxrlens.api.arguments import FileName, as_list, check_choice, check_numbers, checked, named_sources, path_of
from cxrlens.errors import UsageError
from cxrlens.models.onnx_sessions import Runtime
from cxrlens.screening import run
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.progress import Progress
from cxrlens.screening.publishing import Publication
from cxrlens.screening.remote.addresses import is_address, is_web_address
from cxrlens.screening.remote.sources import take_remote_sources
from cxrlens.screening.run import ScreenResult
from cxrlens.screening.sending import open_sending
from cxrlens.screening.settings import ScreeningSettings
from cxrlens.screening.sources import Sources, take_sources
from cxrlens.screening.tags import named_tags


@checked
def screen(
    sources: FileName | Iterable[FileName],
    model: FileName,
    out: FileName,
    *,
    maps: Literal["all", "flagged", "none"] = "flagged",
    method: str | None = None,
    layers: str | None = None,
    grid: str | None = None,
    interpolation: str | None = None,
    flip: bool = False,
    watch: float | None = None,
    stop: threading.Event | None = None,
    needs_triage: bool = False,
    keep_tags: str | Iterable[str] = (),
    assess_any: bool = False,
    dicom: bool = False,
    send: str | Iterable[str] = (),
    credentials: FileName | None = None,
    ca_file: FileName | None = None,
    work_folder: FileName | None = None,
    reasons: FileName | None = None,
    database: str | None = None,
    batch_size: int = 8,
    seed: int = 0,
    force: bool = False,
    device: str = "auto",
    precision: str = "f32",
    workers: int | None = None,
    runtime: Runtime | None = None,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    ray_workers: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> ScreenResult:
    """Screen radiographs: a worklist of suggested retakes, with pictures, maps and a page to look at.

    Args:
        sources: a folder, searched as a whole; or files; or an address such as "dicomweb://HOST/PATH",
            "orthanc://HOST" or "s3://BUCKET/FOLDER" (docs/remote.md).
        model: a model file, a run folder (its best model), or an exported .onnx file.
        out: folder for results, or the address of one; the same call goes on with a screening that was stopped.
        maps: which images get a map: "flagged" (those suggested for a retake or review), "all" or "none".
        method: id of the maps; by default normgrad_conv1x1, or an ONNX model's own.
        layers: of the maps: "combined" (the default), "last", or a module name; or an ONNX model's own.
        grid: of the maps' resize, see `cxrlens.explain`; likewise ``interpolation`` and ``flip``.
        watch: follow the sources, and look for new files every so many seconds, until ``stop`` is set.
        stop: ends the screening after the image at hand.
        needs_triage: refuse a model that is not calibrated.
        keep_tags: what to keep of DICOM headers, by default nothing (docs/analysis.md lists the names).
        assess_any: judge images too that surely are no frontal chest radiographs; they never pass unreviewed.
        dicom: also write a DICOM report, picture and outlines for each DICOM image. They carry the patient's identity.
        send: addresses that DICOM results are sent to, see docs/remote.md; implies ``dicom``.
        credentials: file of users and passwords of servers; by default ``$CXRLENS_PACS_CREDENTIALS``.
        ca_file: certificates of the authorities that are trusted (PEM), with HTTPS and TLS.
        work_folder: where results are worked out before they are published, when ``out`` is an address.
        reasons: YAML or JSON list of the reasons for a retake.
        database: address of the PostgreSQL database that holds results and verdicts in place of the folder.
        batch_size: images per pass.
        seed: of methods that draw random numbers.
        force: begin anew, whatever is in ``out``.
        device: "auto", "cpu", "cuda" ...
        precision: in which the network multiplies: "f32", "bf16", "int8" (of files exported with it) or "auto".
        workers: processes that read, draw and write; by default half the processors, at most 8.
        runtime: what runs the network: "torch", "onnx" or "openvino"; by default what the model's file is for.
        engine: "local" for this computer, "ray" for the workers of a Ray cluster.
        address: of the cluster, see `study`; likewise ``ray_workers``.
        progress: called with the progress so far.

    Raises:
        UsageError: when model, sources, database or ``out`` cannot be used, or ``out`` was begun with other settings.
        NothingToDoError: when there is no image, and there was none before.
        ServerLostError: when a server could not be asked for all of its images, or has not taken all results; what was
            finished is kept, and the same call goes on.
    """
    check_numbers(batch_size=batch_size, seed=seed, workers=workers, ray_workers=ray_workers)
    check_choice("maps", maps, ("flagged", "all", "none"))
    check_choice("runtime", runtime, ("torch", "onnx", "openvino"))
    check_choice("precision", precision, ("auto", "f32", "bf16", "int8"))
    check_choice("engine", engine, ("local", "ray"))
    if watch is not None and watch <= 0:
        raise UsageError(f"`watch` should be a number of seconds above 0, not {watch:g}")
    given = [str(source) for source in named_sources(sources)]
    destinations = as_list(send)
    secrets, authorities = path_of(credentials), path_of(ca_file)
    if (secrets or authorities) and not destinations and not any(map(is_web_address, given)):
        raise UsageError(
            "`credentials` and `ca_file` are for dicomweb://, orthanc:// and `send`; buckets take theirs from the "
            "environment, see docs/remote.md"
        )
    publication, folder = _results(str(out), path_of(work_folder))
    remote = take_remote_sources(
        given, credentials=secrets, ca_file=authorities, left_out=publication.address if publication else ""
    )
    taken = remote or take_sources(given)
    sending = open_sending(destinations, secrets, authorities) if destinations else None
    if watch is not None and isinstance(taken, Sources) and taken.from_stdin:
        raise UsageError("`watch` follows folders and files, not the standard input; give one of them")
    settings = ScreeningSettings(
        model=Path(model),
        maps=maps,
        method=method,
        layers=layers,
        grid=grid,
        interpolation=interpolation,
        flip=flip,
        keep_tags=named_tags(as_list(keep_tags)),
        assess_any=assess_any,
        runtime=runtime,
        precision=precision,
        batch_size=batch_size,
        workers=workers,
        device=device,
        seed=seed,
        engine=engine,
        address=address,
        ray_workers=ray_workers,
    )
    steps = [sending.send if sending else None, publication.publish if publication else None]
    with publication.held(force=force) if publication else nullcontext():
        result = run.screen(
            taken,
            folder,
            settings,
            force=force,
            dicom=dicom or sending is not None,
            reasons=path_of(reasons),
            database=database,
            needs_triage=needs_triage,
            watch=watch,
            stop=stop,
            progress=progress,
            written=_each([step for step in steps if step]),
        )
    if sending:
        sending.finish()
    return result


def _results(out: str, work_folder: Path | None) -> tuple[Publication | None, Path]:
    """What publishes at an address, where ``out`` is one, and the folder that results are worked out in."""
    if is_address(out) != (work_folder is not None):
        raise UsageError("an address as `out` needs a `work_folder` of this machine, and nothing else takes one")
    publication = Publication(out, work_folder) if work_folder else None
    return publication, publication.folder if publication else Path(out)


def _each(steps: Iterable[Callable[[ScreenedFolder], None]]) -> Callable[[ScreenedFolder], None]:
    """All of these, one after the other."""

    def do(folder: ScreenedFolder) -> None:
        for step in steps:
            step(folder)

    return do
