"""``cxrlens model``: keep models under names, check them, and carry them to computers without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrlens.cli.command import Commands
from cxrlens.cli.console import set_up_logging, show_json, show_lines, show_table, stoppable
from cxrlens.cli.options import Json
from cxrlens.errors import EXIT_USAGE, UsageError

if TYPE_CHECKING:
    from cxrlens.models.card import ModelCard
    from cxrlens.models.named import KeptModel, Record

app = Commands(help="Keep models under names: list, look at, add, check, export, remove.")

_SHOWN_DIGITS = 12

Models = Annotated[
    Path | None,
    typer.Option(
        help="Folder that keeps the models; by default $CXRLENS_MODELS, else the user's folder for data. Other "
        "commands find names in that one alone."
    ),
]
Name = Annotated[str, typer.Argument(help="Name of a kept model.")]
ForceName = Annotated[bool, typer.Option("--force", help="Replace a model that is kept under the same name.")]


@app.callback()
def _group() -> None:
    pass


@app.command("list")
def list_models(models: Models = None, json: Json = False) -> None:
    """List the models that are kept."""
    from cxrlens.models.named import kept_models
    from cxrlens.shelf.keeping import folder_of

    set_up_logging()
    found = kept_models(models)
    if json:
        show_json([_values(kept) for kept in found])
    elif found:
        show_table(
            f"models in {folder_of(models)}",
            ("name", "network", "input", "kind", "MB", "SHA-256", "added"),
            [
                (
                    kept.record.name,
                    kept.record.architecture,
                    kept.record.input,
                    kept.record.kind,
                    f"{kept.record.size / 1e6:.1f}",
                    kept.record.sha256[:_SHOWN_DIGITS],
                    kept.record.added[:10],
                )
                for kept in found
            ],
        )
    else:
        show_lines(
            [
                f"no model is kept in {folder_of(models)}; 'cxrlens demo' makes one, 'cxrlens model add FILE --name "
                "NAME' keeps one"
            ]
        )


@app.command("info")
def info(name: Name, models: Models = None, json: Json = False) -> None:
    """Say what a kept model is: network, input, scores, calibration, hash, and where it is from."""
    from cxrlens.shelf.keeping import read_card, require_kept

    set_up_logging()
    kept = require_kept(name, models)
    if not kept.file.is_file():
        raise UsageError(f"{kept.file}: the file of '{name}' is gone; add the model again")
    card = read_card(kept.file)
    facts = _card_values(card)
    if json:
        show_json({**_values(kept), "card": facts})
        return
    record = kept.record
    lines = [
        f"name: {name}",
        f"network: {card.architecture}, {card.preprocessing.size}",
        f"file: {kept.file} ({record.kind}, {record.size:,} bytes)",
        f"SHA-256: {record.sha256}",
        f"from: {record.source}",
        f"added: {record.added}",
        f"trained: {facts['trained']}",
        f"dev scores: {', '.join(f'{key} {value:.3f}' for key, value in facts['dev_scores'].items()) or 'not known'}",
        f"calibration: {facts['calibration']}",
        f"distance from its training images: {facts['distance']}",
    ]
    show_lines([*lines, f"all there is to know: cxrlens card --model {name}"] if record.kind != "onnx" else lines)


@app.command("add")
def add(
    file: Annotated[
        Path, typer.Argument(help="Model file, run folder, exported .onnx file, or a bundle of 'cxrlens model export'.")
    ],
    name: Annotated[
        str | None, typer.Option(help="Its name; by default that of the run or file, or those in a bundle.")
    ] = None,
    models: Models = None,
    force: ForceName = False,
    json: Json = False,
) -> None:
    """Keep a copy of a model under a name, or all models of a bundle, whose hashes are checked first."""
    from cxrlens.models.named import kept_models
    from cxrlens.shelf.bundle import add_bundle, is_bundle
    from cxrlens.shelf.keeping import add_model, suggested_name

    set_up_logging()
    before = [each.record for each in kept_models(models)]
    with stoppable(None):
        if is_bundle(file):
            kept = add_bundle(file, name=name, folder=models, force=force)
        else:
            kept = [add_model(file, suggested_name(file) if name is None else name, folder=models, force=force)]
    _show_kept(kept, before, json=json)


@app.command("export")
def export(
    out: Annotated[Path, typer.Option("--out", "-o", help="The bundle, a .zip file.")],
    name: Annotated[list[str] | None, typer.Argument(help="Names of kept models.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All models that are kept.")] = False,
    models: Models = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there.")] = False,
    json: Json = False,
) -> None:
    """Write models with their names and hashes into one file, for computers without a network."""
    from cxrlens.shelf.bundle import export_bundle

    set_up_logging()
    if bool(name) == all_:
        raise UsageError("name the models to export, or give --all; not both")
    with stoppable(None):
        kept = export_bundle(name or [], out, folder=models, force=force)
    if json:
        show_json({"file": out, "models": [_values(each) for each in kept]})
    else:
        names = ", ".join(each.record.name for each in kept)
        show_lines([f"bundle: {out} ({names})", f"on another computer: cxrlens model add {out.name}"])


@app.command("verify")
def verify(
    name: Annotated[list[str] | None, typer.Argument(help="Names of kept models; by default all.")] = None,
    models: Models = None,
    json: Json = False,
) -> None:
    """Compute the hashes of kept models anew. Exit code 2 when a file is damaged or gone."""
    from cxrlens.shelf.keeping import verify_models

    set_up_logging()
    found = verify_models(name or [], folder=models)
    bad = [each for each in found if each.state != "ok"]
    if json:
        show_json([{"name": each.model.record.name, "state": each.state, "file": each.model.file} for each in found])
    else:
        show_lines([f"{each.model.record.name}: {each.state}, {each.model.file}" for each in found])
        show_lines(["add what is damaged or missing again, with 'cxrlens model add FILE --name NAME'"] if bad else [])
    if bad:
        raise typer.Exit(EXIT_USAGE)


@app.command("remove")
def remove(name: Name, models: Models = None, json: Json = False) -> None:
    """Forget a kept model and delete its copy, not the file that it was added from."""
    from cxrlens.shelf.keeping import remove_model

    set_up_logging()
    kept = remove_model(name, folder=models)
    if json:
        show_json(_values(kept))
    else:
        show_lines([f"removed: {name} ({kept.file})"])


def _show_kept(kept: Sequence[KeptModel], before: Sequence[Record], *, json: bool) -> None:
    if json:
        show_json([_values(each) for each in kept])
        return
    for each in kept:
        record = each.record
        told = "kept already, with the same content, as" if record in before else "kept as"
        show_lines([f"{told} '{record.name}': {record.architecture}, {record.input}, SHA-256 {record.sha256}"])
    names = [each.record.name for each in kept]
    show_lines([f"use {'it' if len(names) == 1 else 'them'} with --model {' or --model '.join(names)}"])


def _values(kept: KeptModel) -> dict[str, Any]:
    return {**kept.record.model_dump(exclude={"format"}), "file": kept.file}


def _card_values(card: ModelCard) -> dict[str, Any]:
    """What a card says, in words where it says it in numbers that say little."""
    from cxrlens.models.distance import NOT_KNOWN

    recipe, data = (card.training.get(key) for key in ("recipe", "data"))
    said = [
        f"recipe {recipe['name']}" if isinstance(recipe, dict) and "name" in recipe else "",
        f"data {Path(str(data['folder'])).name}" if isinstance(data, dict) and "folder" in data else "",
        f"cxrlens {card.cxrlens_version}" if card.cxrlens_version else "",
        card.created,
    ]
    calibration = "none: its probability is no frequency"
    if card.calibration is not None:
        calibration = (
            f"for a prevalence of {card.calibration.prevalence:.3g}; retake from {card.threshold:.4g} on, review from "
            f"{card.calibration.review_threshold:.4g} on"
        )
    return {
        "architecture": card.architecture,
        "input": card.preprocessing.size,
        "trained": ", ".join(filter(None, said)) or "not known",
        "dev_scores": {key.removeprefix("dev_"): value for key, value in card.dev_scores.items() if value is not None},
        "threshold": card.threshold,
        "calibration": calibration,
        "distance": NOT_KNOWN if card.distance is None else str(card.distance),
    }
