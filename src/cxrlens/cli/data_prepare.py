"""``cxrlens data prepare``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cxrlens.cli.console import finish, progress_bar, set_up_logging, show_json, show_lines, show_table, stoppable
from cxrlens.cli.options import Json, Seed, Workers, workers_of
from cxrlens.wording import counted


class KindChoice(StrEnum):
    auto = "auto"
    csv = "csv"
    object_cxr = "object-cxr"
    masks = "masks"
    image_folder = "image-folder"
    coco = "coco"


class SplitChoice(StrEnum):
    given = "given"
    random = "random"
    patient = "patient"


def command(
    source: Annotated[
        Path,
        typer.Argument(
            help="Object-CXR as downloaded (train.zip, dev.zip, train.csv, dev.csv) or unpacked, class folders, "
            "images with masks, a COCO JSON, or a CSV path,label[,split,patient_id]."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder for the data set; one that was stopped goes on.")],
    kind: Annotated[KindChoice, typer.Option(help="Kind of the source; by default by its looks.")] = KindChoice.auto,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images of a CSV or a COCO JSON; by default the file's own.")
    ] = None,
    affected: Annotated[
        list[str] | None, typer.Option(help="Class (or COCO category) that means affected; repeat it.")
    ] = None,
    normal: Annotated[list[str] | None, typer.Option(help="Class that means normal; repeat it.")] = None,
    size: Annotated[
        int | None, typer.Option(min=16, help="Write copies whose longer side has at most so many pixels.")
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the images instead of naming where they lie.")] = False,
    relative: Annotated[
        bool, typer.Option("--relative", help="Name images that stay where they are from OUT on, not from the root.")
    ] = False,
    split_by: Annotated[
        SplitChoice | None,
        typer.Option(help="Splits as given, or drawn anew at random or by patient; by default given where there are."),
    ] = None,
    dev_share: Annotated[
        float | None, typer.Option(min=0, max=0.95, help="Share of images drawn for dev; 0.1 where none is given.")
    ] = None,
    test_share: Annotated[
        float | None, typer.Option(min=0, max=0.95, help="Share of images drawn for test; none by default.")
    ] = None,
    patient_pattern: Annotated[
        str | None, typer.Option(help="Regular expression that finds the patient in a file's name, e.g. '(\\d+)_'.")
    ] = None,
    dev_as_test: Annotated[bool, typer.Option("--dev-as-test", help="Offer the images of dev as test too.")] = False,
    seed: Seed = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a data set that was prepared from another source or otherwise.")
    ] = False,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Make one data set with a manifest of what you have; every command reads it. Goes on where it was stopped."""
    from cxrlens.dataset.prepare.record import ClassNames
    from cxrlens.dataset.prepare.run import Options, prepare
    from cxrlens.dataset.prepare.write import Form

    set_up_logging()
    options = Options(
        kind=None if kind is KindChoice.auto else kind.value,
        images=images,
        names=ClassNames(tuple(affected or ()), tuple(normal or ())),
        form=Form(size, copy),
        relative=relative,
        how=None if split_by is None else split_by.value,
        dev_share=dev_share,
        test_share=test_share,
        dev_as_test=dev_as_test,
        patient_pattern=patient_pattern,
        seed=seed,
    )
    with stoppable(out, goes_on=""), progress_bar("preparing") as progress:
        result = prepare(source, out, options, force=force, workers=workers_of(workers), progress=progress)
    if json:
        show_json({**vars(result), "rule": vars(result.rule)})
    else:
        columns = ("split", *next(iter(result.counts.values())))
        show_table(f"{source}", columns, [(name, *counts.values()) for name, counts in result.counts.items()])
        left_out = f", {len(result.unreadable)} could not be read" if result.unreadable else ""
        reused = counted(result.reused, "was", "were")
        show_lines([
            f"{counted(result.made, 'image')} prepared, {reused} there already{left_out}",
            f"manifest: {result.manifest}",
        ])  # fmt: skip
    finish(result.unreadable)
