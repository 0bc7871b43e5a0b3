"""Options that several commands share, and how their texts become numbers and names."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlens.errors import UsageError

if TYPE_CHECKING:
    from cxrlens.saliency.resizing import MapResize


class EngineChoice(StrEnum):
    local = "local"
    ray = "ray"


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


def named(path: Path | None) -> Path | None:
    """The file of the model that is kept under this name; any other path as it is."""
    from cxrlens.models.named import named_model

    return None if path is None else named_model(path)


def all_named(paths: list[Path] | None) -> list[Path] | None:
    """As `named`, each of them."""
    from cxrlens.models.named import named_model

    return None if paths is None else [named_model(path) for path in paths]


def _no_model() -> Path:
    raise UsageError(
        "which model? give --model a model file, a run folder, or a name that 'cxrlens model list' shows; "
        "'cxrlens demo' makes a model of built-in drawings, 'cxrlens train DATA' one of your images, and "
        "'cxrlens model add FILE --name NAME' keeps one that you were given"
    )


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
KeepTags = Annotated[
    list[str] | None,
    typer.Option(
        "--keep-tags",
        help="What to keep of DICOM headers, joined with commas, by default nothing: station, room, date, "
        "operator, view, exposure-index, target-exposure-index, deviation-index, detector, manufacturer, device; "
        "and, only if the patient may be known, patient-id, accession-number, study-uid, image-uid.",
    ),
]
EngineOption = Annotated[
    EngineChoice,
    typer.Option(
        "--engine", help="Where the work is done: local on this computer, ray on the workers of a Ray cluster."
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Of the Ray cluster: auto for the one that this computer belongs to, or HOST:PORT; without it, one is "
        "started on this computer that ends with the command."
    ),
]
RayWorkers = Annotated[
    int | None,
    typer.Option(
        "--ray-workers",
        min=1,
        help="Workers of the Ray cluster; by default as many as it has room for, and more when it grows.",
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Images per pass.")]
Model = Annotated[
    Path,
    typer.Option(
        "--model",
        "-m",
        help="Model file, run folder (its best model), or name of a kept model (cxrlens model list).",
        default_factory=_no_model,
        show_default=False,
        callback=named,
    ),
]
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


def numbers_of(layer_weights: str | None) -> list[float] | None:
    """The weights of the layers that the option names.

    Raises:
        UsageError: when they are no numbers.
    """
    try:
        return None if layer_weights is None else [float(part) for part in layer_weights.split(",")]
    except ValueError as error:
        raise UsageError(f"--layer-weights takes numbers joined with commas, not '{layer_weights}'") from error


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


def named_methods(methods: list[str] | None) -> list[str] | None:
    """The method ids that the option names, each once; None where it is left out.

    Raises:
        UsageError: when it names none.
    """
    if methods is None:
        return None
    found = list(dict.fromkeys(part.strip() for text in methods for part in text.split(",") if part.strip()))
    if not found:
        raise UsageError(f"--method names none in '{methods[0]}'; name one, or leave it out")
    return found


def workers_of(workers: int | None) -> int:
    """The number of loader processes."""
    from cxrlens.inputs.processes import default_workers

    return default_workers() if workers is None else workers
