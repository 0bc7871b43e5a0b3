"""``cxrlens compare``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    fusion_of,
    resize_of,
    rows_of,
    workers_of,
)
from cxrlens.errors import EXIT_GATE, UsageError

if TYPE_CHECKING:
    from cxrlens.comparison.run import CompareResult
    from cxrlens.saliency.explain import Row

_FLIPS_SHOWN = 20


def command(
    a: Annotated[str, typer.Argument(help='A model file or run folder, or a row such as "grad_cam last".')],
    b: Annotated[str, typer.Argument(help="What to compare with it: a model with a model, a row with a row.")],
    data: Annotated[Path, typer.Option(help="Data set folder.")],
    model: Annotated[Path | None, typer.Option("--model", "-m", help="The model whose rows are compared.")] = None,
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
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for tables.")] = Path("comparison"),
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
    from cxrlens.comparison import run as compare
    from cxrlens.inputs.dataset.dataset import Dataset
    from cxrlens.inspection.quality_model import load
    from cxrlens.outputs import output_folder
    from cxrlens.pointing.run import PointingSettings

    set_up_logging()
    data_set = Dataset(data)
    resize = resize_of(grid, interpolation, published=published_grid)
    fusion = fusion_of(combination, None, smooth, resize, flip=flip)
    settings = PointingSettings(tolerance, fusion, target.value, seed)
    shared: dict[str, Any] = {
        "margin": margin,
        "split": split,
        "batch_size": batch_size,
        "workers": workers_of(workers),
    }
    with stoppable(out), progress_bar("comparing") as progress:
        if model is None:
            rows = rows_of(method or ["normgrad_conv1x1"], layers)
            first, second = load(_model_path(a), device=device), load(_model_path(b), device=device)
            for loaded in (first, second):
                loaded.check_rows(rows, fusion)
            with output_folder(out, compare.OUTPUTS, force=force):
                result = compare.compare_models(
                    data_set, first, second, out, rows, settings, progress=progress, **shared
                )
        else:
            if method is not None:
                raise UsageError("--method is for two models; with --model, A and B are the rows")
            if a.split() == b.split():
                raise UsageError(f"A and B are the same row, '{a}'; name two")
            loaded, pair = load(model, device=device), (_row(a), _row(b))
            loaded.check_rows(pair, fusion)
            with output_folder(out, compare.OUTPUTS, force=force):
                result = compare.compare_methods(data_set, loaded, *pair, out, settings, progress=progress, **shared)
    _show(result, f"A: {a}, B: {b}", out, json=json)
    if fail_if_worse and result.worse:
        raise typer.Exit(EXIT_GATE)
    finish(result.unreadable)


def _model_path(text: str) -> Path:
    path = Path(text)
    if not path.exists():
        raise UsageError(f"{text}: no such model; to compare two rows of one model, name the model with --model")
    return path


def _row(text: str) -> Row:
    from cxrlens.saliency.explain import Row

    parts = text.split()
    if len(parts) != 2:
        raise UsageError(f"with --model, A and B are rows, 'METHOD LAYERS' such as 'grad_cam last', not '{text}'")
    return Row(*parts)


def _show(result: CompareResult, title: str, out: Path, *, json: bool) -> None:
    if json:
        show_json(
            {
                "scores": [asdict(score) for score in result.scores],
                "flips": result.flips,
                "worse": result.worse,
                "unreadable": result.unreadable,
                "files": [out / "comparison.csv", out / "flips.csv"],
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
    show_lines(["worse: " + (", ".join(result.worse) or "nothing"), f"tables: {out}"])
