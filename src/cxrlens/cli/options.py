"""Options that several commands share, and how their texts become rows and paths."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlens.errors import UsageError

if TYPE_CHECKING:
    from cxrlens.inputs.cache.store import ArrayStore
    from cxrlens.saliency.explain import Fusion, Row


class TargetChoice(StrEnum):
    affected = "affected"
    predicted = "predicted"


class CombinationChoice(StrEnum):
    product = "product"
    geometric = "geometric"
    mean = "mean"
    max = "max"


class ScoringTarget(StrEnum):
    affected = "affected"
    predicted = "predicted"
    true = "true"


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps ...")]
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


def fusion_of(combination: CombinationChoice, layer_weights: str | None, smooth: float | None) -> Fusion:
    """Combination and smoothing of maps, as the options name it."""
    from cxrlens.saliency.explain import Fusion

    if layer_weights is None:
        return Fusion(combination.value, None, smooth)
    try:
        return Fusion(combination.value, tuple(float(part) for part in layer_weights.split(",")), smooth)
    except ValueError as error:
        raise UsageError(f"--layer-weights takes numbers joined with commas, not '{layer_weights}'") from error


def rows_of(methods: list[str] | None, layers: str) -> list[Row]:
    """The (method, layers) rows that the options name."""
    from cxrlens.saliency.explain import default_rows
    from cxrlens.saliency.methods import DEFAULT_METHODS

    named = [part.strip() for text in methods or [] for part in text.split(",") if part.strip()]
    return default_rows(dict.fromkeys(named) if named else DEFAULT_METHODS, layers)


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
