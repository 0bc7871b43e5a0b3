"""How a screening begins in a folder, or goes on there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict

from cxrlens.errors import UsageError
from cxrlens.inspection.inspector import RecordedModel
from cxrlens.inspection.model_facts import ModelFacts
from cxrlens.models.calibration import Calibration
from cxrlens.outputs import check_kinds, claimed, is_screened, remove_partials
from cxrlens.screening.engine import Engine
from cxrlens.screening.folder import ScreenedFolder, ScreeningInfo
from cxrlens.screening.reasons import Reasons
from cxrlens.screening.remote.followed import FILE as FOLLOWED_FILE
from cxrlens.screening.remote.followed import Followed
from cxrlens.screening.result_files import FOLDERS, TOP
from cxrlens.screening.roots import Root, text_of_root
from cxrlens.screening.screen import Screening
from cxrlens.screening.settings import ScreeningSettings
from cxrlens.screening.store.postgresql import Server
from cxrlens.screening.store.store import Store
from cxrlens.screening.tags import in_words

_OWN_NAMES = {*TOP, *FOLDERS}


@contextmanager
def opened_screening(
    folder: ScreenedFolder,
    root: Root,
    settings: ScreeningSettings,
    engine: Engine,
    *,
    server: Server | None = None,
    reasons: Reasons | None = None,
    force: bool = False,
) -> Iterator[Screening]:
    """A screening into a folder, which is begun or gone on with; no other process writes there meanwhile.

    Args:
        root: what names of images are relative to.
        engine: that of the settings, see `open_engine`.
        server: holds the store in place of the folder, see `Store`.
        reasons: for a retake, which the folder keeps.
        force: begin anew, whatever is in the folder.

    Raises:
        UsageError: when the folder was begun with other settings, or cannot be used.
    """
    info = _info(engine.model, root, settings)
    with (
        claimed(folder.path, "screening", "an --out"),
        _begin(folder, info, engine.model.card.calibration, server, force=force) as store,
    ):
        if reasons is not None:
            folder.keep_reasons(reasons)
        folder.reasons()
        yield Screening(store, root, engine)


def _info(model: RecordedModel, root: Root, settings: ScreeningSettings) -> ScreeningInfo:
    return ScreeningInfo.of(
        ModelFacts.now(
            model.identity,
            model.card,
            method=model.method,
            layers=model.layers,
            precision=model.precision,
        ),
        root=text_of_root(root),
        maps=settings.maps,
        **asdict(model.resize),
        runtime=model.name,
        seed=settings.seed,
        keep_tags=settings.keep_tags,
        assess_any=settings.assess_any,
    )


def _begin(
    folder: ScreenedFolder,
    info: ScreeningInfo,
    calibration: Calibration | None,
    server: Server | None,
    *,
    force: bool,
) -> Store:
    """Make the folder ready to be gone on with, and open its store."""
    check_kinds(folder.path, _OWN_NAMES)
    was_screened = is_screened(folder.path)
    if was_screened and not force:
        _check_same(folder, info)
        store = Store(folder, server, keep_connections=True)
        _remove_partials(folder)
    elif was_screened:
        store = _begin_anew(folder, server)
        folder.write_info(info.model_copy(update={"database": folder.database()}))
    else:
        _refuse_foreign(folder, force=force)
        folder.write_info(info)
        store = Store(folder, server, keep_connections=True)
    folder.write_calibration(calibration)
    store.go_on()
    return store


def _refuse_foreign(folder: ScreenedFolder, *, force: bool) -> None:
    """A folder that holds something is taken where that was asked for, and no file in it would be replaced."""
    there = {entry.name for entry in folder.path.iterdir()}
    if foreign := sorted(there & _OWN_NAMES):
        raise UsageError(
            f"{folder.path / foreign[0]}: is there already, and not of a screening; move it away, or give another --out"
        )
    if not force and any(not name.startswith(".") for name in there):
        raise UsageError(f"{folder.path}: already exists and is not empty; give another name or --force")


def _begin_anew(folder: ScreenedFolder, server: Server | None) -> Store:
    """Open a screened folder's store without results; verdicts stay."""
    store = None
    if folder.database() or (folder.store_file.exists() and not folder.is_of_earlier_version()):
        store = Store(folder, server, keep_connections=True)  # refused, where it must be, before anything is deleted
    for file in (
        folder.committed_file,
        folder.results_file,
        folder.unstored_file,
        folder.worklist_file,
        folder.report_file,
    ):
        file.unlink(missing_ok=True)
    store = store or Store(folder, server, keep_connections=True)
    if (folder.path / FOLLOWED_FILE).exists():
        with closing(Followed(folder.path)) as followed:
            followed.clear()  # before the results: what is not followed is searched once more
    store.results.clear()
    _remove_partials(folder)
    for name, pattern in FOLDERS.items():  # the results have gone: a kill from here on leaves none without its picture
        place = folder.path / name
        for file in place.iterdir() if place.is_dir() and not place.is_symlink() else ():
            if re.fullmatch(pattern, file.name) and file.is_file():
                file.unlink()
    return store


def _remove_partials(folder: ScreenedFolder) -> None:
    remove_partials(folder.path, FOLDERS)


def _check_same(folder: ScreenedFolder, info: ScreeningInfo) -> None:
    before = folder.info()
    differs = []
    if before.model_sha256 != info.model_sha256:
        same_name = before.model == info.model
        differs.append("content of the model file" if same_name else f"model ({before.model}, not {info.model})")
    for name, what in (("root", "folder"), ("maps", "--maps"), ("method", "--method"), ("layers", "--layers"),
                       ("grid", "--grid"), ("interpolation", "--interpolation"), ("flip", "--flip"),
                       ("runtime", "--runtime"), ("precision", "--precision"),
                       ("seed", "--seed"), ("keep_tags", "--keep-tags"), ("assess_any", "--assess-any")):  # fmt: skip
        old, new = getattr(before, name), getattr(info, name)
        if name == "keep_tags":
            old, new = in_words(old), in_words(new)
        if old != new:
            differs.append(f"{what} ({old or 'none'}, not {new or 'none'})")
    if differs:
        raise UsageError(
            f"{folder.path}: was screened with another {', '.join(differs)}; "
            "give what it began with or another --out, or begin anew with --force"
        )
