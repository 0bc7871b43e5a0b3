"""Options that several commands share, and how their texts become rows and paths."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlens.errors import UsageError

if TYPE_CHECKING:
    from cxrlens.inputs.cache.store import ArrayStore
    from cxrlens.saliency.explain import Row
    from cxrlens.saliency.fusion import Fusion
    from cxrlens.saliency.resizing import MapResize


class TargetChoice(StrEnum):
    affected = "affected"
    predicted = "predicted"


class CombinationChoice(StrEnum):
    product = "product"
    geometric = "geometric"
    mean = "mean"
    max = "max"


class GridChoice(StrEnum):
    centres = "centres"
    areas = "areas"


class InterpolationChoice(StrEnum):
    bilinear = "bilinear"
    bicubic = "bicubic"
    bspline = "bspline"


class PrecisionChoice(StrEnum):
    auto = "auto"
    f32 = "f32"
    bf16 = "bf16"
    int8 = "int8"


class RuntimeChoice(StrEnum):
    torch = "torch"
    onnx = "onnx"
    openvino = "openvino"


class ScoringTarget(StrEnum):
    affected = "affected"
    predicted = "predicted"
    true = "true"


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps ...")]
Precision = Annotated[
    PrecisionChoice,
    typer.Option(
        help="In which the network multiplies; auto is the faster of f32 and bf16. int8 is for files that were "
        "exported with --int8: probabilities in 8-bit integers, maps in f32."
    ),
]
Runtime = Annotated[
    RuntimeChoice | None, typer.Option(help="What runs the network; by default onnx for a model in a .onnx file.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
Force = Annotated[bool, typer.Option("--force", help="Write into an output folder that is not empty.")]
Workers = Annotated[
    int | None, typer.Option(min=0, help="Loader processes; by default half the processors, at most 8.")
]
CacheDir = Annotated[
    Path | None,
    typer.Option(help="Folder of decoded images; by default $CXRLENS_CACHE, else the user's folder for caches."),
]
CacheSize = Annotated[
    str | None,
    typer.Option(
        help="What decoded images may take, such as 20GB; the least recently used go first. "
        "By default $CXRLENS_CACHE_SIZE, else 20GB."
    ),
]
Database = Annotated[
    str | None,
    typer.Option(
        envvar="CXRLENS_DATABASE",
        show_envvar=True,
        help="Database that holds results and verdicts in place of the folder: postgresql://USER@HOST/NAME. "
        "Other users of this machine can read a command's options: a password is safer in the variable.",
    ),
]
ReasonList = Annotated[
    Path | None,
    typer.Option(
        "--reasons",
        help="YAML or JSON list of the reasons for a retake: id, title, and affected, if it means a foreign object. "
        "The folder keeps it; see docs/screening.md for the one that is used without.",
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Images per pass.")]
Model = Annotated[Path, typer.Option("--model", "-m", help="Model file, or a run folder (its best model).")]
Split = Annotated[str | None, typer.Option(help="train, dev or test; by default test, else dev.")]
Methods = Annotated[
    list[str] | None,
    typer.Option("--method", help="Method id; repeat it, or join ids with commas. By default Grad-CAM and NormGrad."),
]
Layers = Annotated[
    str,
    typer.Option(help="last, combined, both (Grad-CAM at last only, as published), or a module name."),
]
Smooth = Annotated[
    float | None,
    typer.Option(min=0.1, help="Sigma in pixels of a Gaussian over the map; the paper smooths with 1."),
]

Dicom = Annotated[
    bool,
    typer.Option(
        "--dicom",
        help="Also write a DICOM report (SR) and picture (SC) for each DICOM image. They carry the patient's identity.",
    ),
]
Combination = Annotated[
    CombinationChoice, typer.Option(help="How the maps of the combined layers become one; the paper multiplies them.")
]
LayerWeights = Annotated[
    str | None, typer.Option(help="Weights of the combined layers for geometric or mean, joined with commas.")
]
Grid = Annotated[
    GridChoice | None,
    typer.Option(
        help="Where a layer's cells lie: on the pixels they are centred on (centres, the default), or spread evenly "
        "over the image (areas)."
    ),
]
Interpolation = Annotated[
    InterpolationChoice | None,
    typer.Option(help="Between the cells: bicubic (the default), bspline (smoother) or bilinear."),
]
PublishedGrid = Annotated[
    bool,
    typer.Option("--published-grid", help="The resize of the published maps: --grid areas --interpolation bilinear."),
]
AssessAny = Annotated[
    bool,
    typer.Option(
        "--assess-any",
        help="Judge images too that surely are no frontal chest radiographs; they never pass unreviewed.",
    ),
]
Flip = Annotated[bool, typer.Option("--flip", help="Average with the map of the mirrored image, at twice the cost.")]


def fusion_of(
    combination: CombinationChoice,
    layer_weights: str | None,
    smooth: float | None,
    resize: MapResize,
    *,
    flip: bool,
) -> Fusion:
    """The way to a map of the input's size, as the options name it."""
    from cxrlens.saliency.fusion import Fusion

    try:
        weights = None if layer_weights is None else tuple(float(part) for part in layer_weights.split(","))
    except ValueError as error:
        raise UsageError(f"--layer-weights takes numbers joined with commas, not '{layer_weights}'") from error
    return Fusion(combination.value, weights, smooth, resize, flip)


def resize_of(grid: GridChoice | None, interpolation: InterpolationChoice | None, *, published: bool) -> MapResize:
    """The resize of maps that the options name, see `named_resize`; the default where they do not."""
    from cxrlens.saliency.resizing import DEFAULT_RESIZE, MapResize

    named = named_resize(grid, interpolation, published=published)
    return MapResize(named[0] or DEFAULT_RESIZE.grid, named[1] or DEFAULT_RESIZE.interpolation)


def named_resize(
    grid: GridChoice | None, interpolation: InterpolationChoice | None, *, published: bool
) -> tuple[str | None, str | None]:
    """The grid and the interpolation that the options name, None where they name none.

    Raises:
        UsageError: when the published ones are asked for beside others.
    """
    if published and (grid is not None or interpolation is not None):
        raise UsageError("--published-grid is --grid areas --interpolation bilinear; leave these two out, or it")
    if published:
        return GridChoice.areas.value, InterpolationChoice.bilinear.value
    return grid and grid.value, interpolation and interpolation.value


def rows_of(methods: list[str] | None, layers: str) -> list[Row]:
    """The (method, layers) rows that the options name."""
    from cxrlens.saliency.explain import default_rows
    from cxrlens.saliency.methods import DEFAULT_METHODS

    return default_rows(named_methods(methods) or DEFAULT_METHODS, layers)


def named_methods(methods: list[str] | None) -> list[str]:
    """The method ids that the option names, each once; none where it is left out."""
    return list(dict.fromkeys(part.strip() for text in methods or [] for part in text.split(",") if part.strip()))


def workers_of(workers: int | None) -> int:
    """The number of loader processes."""
    from cxrlens.inputs.processes import default_workers

    return default_workers() if workers is None else workers


def share_of(text: str, option: str) -> float:
    """A share such as "0.12" or "12%", strictly between 0 and 1.

    Raises:
        UsageError: when it is none.
    """
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / (100 if number != text.strip() else 1)
    except ValueError as error:
        raise UsageError(f"{option} takes a share such as 0.12 or 12%, not '{text}'") from error
    if not 0 < share < 1:
        raise UsageError(
            f"{option} takes a share between 0 and 1, such as 0.12 or 12%, both ends left out; not '{text}'"
        )
    return share


def store_of(cache_dir: Path | None, cache_size: str | None = None) -> ArrayStore:
    """The cache of decoded images."""
    from cxrlens.inputs.cache.location import default_folder, default_limit, parse_size
    from cxrlens.inputs.cache.store import ArrayStore

    limit = default_limit() if cache_size is None else parse_size(cache_size)
    return ArrayStore(cache_dir or default_folder(), limit)
