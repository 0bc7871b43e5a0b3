"""``cxrlens compare``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlens.cli.console import finish, progress_bar, set_up_logging, show_json, show_lines, show_table, stoppable
from cxrlens.cli.options import (
    BatchSize,
    Combination,
    CombinationChoice,
    Device,
    Flip,
    Force,
    Grid,
    Interpolation,
    Json,
    Layers,
    Methods,
    PublishedGrid,
    ScoringTarget,
    Seed,
    Smooth,
    Split,
    Workers,
    named,
    named_methods,
    named_resize,
)
from cxrlens.errors import EXIT_GATE

if TYPE_CHECKING:
    from cxrlens.comparison.run import CompareResult

_FLIPS_SHOWN = 20


def command(
    a: Annotated[
        str, typer.Argument(help='A model file, run folder or name of a model, or a row such as "grad_cam last".')
    ],
    b: Annotated[str, typer.Argument(help="What to compare with it: a model with a model, a row with a row.")],
    data: Annotated[Path, typer.Option(help="Data set folder.")],
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="The model whose rows are compared.", callback=named)
    ] = None,
    method: Methods = None,
    layers: Layers = "combined",
    tolerance: Annotated[float, typer.Option(min=0.0001, max=1, help="Share of the side.")] = 0.025,
    combination: Combination = CombinationChoice.product,
    smooth: Smooth = None,
    grid: Grid = None,
    interpolation: Interpolation = None,
    published_grid: PublishedGrid = False,
    flip: Flip = False,
    target: Annotated[ScoringTarget, typer.Option(help="The class to explain.")] = ScoringTarget.affected,
    fail_if_worse: Annotated[
        bool, typer.Option("--fail-if-worse", help="Exit code 10 when B is worse in any score.")
    ] = False,
    margin: Annotated[float, typer.Option(min=0, max=1, help="How much worse B may be.")] = 0.0,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for page and tables.")] = Path("comparison"),
    split: Split = None,
    batch_size: BatchSize = 8,
    seed: Seed = 0,
    force: Force = False,
    device: Device = "auto",
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Compare two models, or two methods, on the same images, with paired intervals and the images that flipped.

    B is worse in a score when the 95 % interval of the difference B - A lies wholly below minus the margin.
    """
    from cxrlens.api.comparing import compare

    set_up_logging()
    resize = named_resize(grid, interpolation, published=published_grid)
    with stoppable(out), progress_bar("comparing") as progress:
        result = compare(
            a,
            b,
            data,
            out,
            model=model,
            methods=named_methods(method),
            layers=layers,
            tolerance=tolerance,
            combination=combination.value,
            smooth=smooth,
            grid=resize[0],
            interpolation=resize[1],
            flip=flip,
            target=target.value,
            margin=margin,
            split=split,
            batch_size=batch_size,
            seed=seed,
            force=force,
            device=device,
            workers=workers,
            progress=progress,
        )
    _show(result, f"A: {a}, B: {b}", out, json=json)
    if fail_if_worse and result.worse:
        raise typer.Exit(EXIT_GATE)
    finish(result.unreadable)


def _show(result: CompareResult, title: str, out: Path, *, json: bool) -> None:
    if json:
        show_json(
            {
                "scores": [asdict(score) for score in result.scores],
                "flips": result.flips,
                "worse": result.worse,
                "unreadable": result.unreadable,
                "files": [out / "comparison.csv", out / "flips.csv", result.page],
            }
        )
        return
    columns = ("score", "n", "a", "b", "difference", "low", "high", "lost", "gained")
    show_table(title, columns, [[getattr(score, column) for column in columns] for score in result.scores])
    shown = result.flips[:_FLIPS_SHOWN]
    if shown:
        show_table(
            f"{len(result.flips)} flips" + (f", the first {len(shown)}" if len(shown) < len(result.flips) else ""),
            ("image", "score", "flip"),
            [[flip[column] for column in ("image", "score", "flip")] for flip in shown],
        )
    show_lines(["worse: " + (", ".join(result.worse) or "nothing"), f"page: {result.page}", f"tables: {out}"])
