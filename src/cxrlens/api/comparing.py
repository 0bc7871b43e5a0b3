"""``cxrlens compare`` as a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cxrlens.api.arguments import (
    FileName,
    check_choice,
    check_numbers,
    check_range,
    checked,
    dataset_of,
    fusion_of,
    model_of,
    processes,
    rows_of,
)
from cxrlens.api.pointing import TARGETS
from cxrlens.comparison import run
from cxrlens.comparison.run import CompareResult
from cxrlens.errors import UsageError
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inspection.quality_model import DEFAULT_METHOD, QualityModel
from cxrlens.models.named import named_model
from cxrlens.outputs import output_folder
from cxrlens.pointing.run import DEFAULT_TOLERANCE, PointingSettings
from cxrlens.saliency.explain import Row


@checked
def compare(
    a: FileName | QualityModel,
    b: FileName | QualityModel,
    data: FileName | Dataset,
    out: FileName = "comparison",
    *,
    model: FileName | QualityModel | None = None,
    methods: str | Iterable[str] | None = None,
    layers: str = "combined",
    tolerance: float = DEFAULT_TOLERANCE,
    combination: str = "product",
    smooth: float | None = None,
    grid: str | None = None,
    interpolation: str | None = None,
    flip: bool = False,
    target: str = "affected",
    margin: float = 0.0,
    split: str | None = None,
    batch_size: int = 8,
    seed: int = 0,
    force: bool = False,
    device: str = "auto",
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CompareResult:
    """Compare two models, or two rows of one model, on the same images: paired intervals, and the images that flipped.

    Args:
        a: a model file, a run folder, the name of a kept model or a model that is loaded; with ``model`` a row such as
            "grad_cam last".
        b: what to compare with it: a model with a model, a row with a row.
        data: a data set folder.
        out: new folder for tables.
        model: the model whose rows are compared.
        methods: of two models' maps; by default NormGrad conv1x1.
        layers: of their maps.
        tolerance: share of the input's longer side.
        combination: see `cxrlens.explain`; likewise ``smooth``, ``grid``, ``interpolation`` and ``flip``.
        target: the explained class: "affected", "predicted" or "true" (the label).
        margin: how much worse B may be; it is worse in a score when the 95 % interval of B - A lies wholly below minus
            the margin.
        split: "train", "dev" or "test"; by default test, else dev.
        batch_size: images per pass.
        seed: of ties and of the bootstrap.
        force: replace an earlier comparison's files in ``out``.
        device: "auto", "cpu", "cuda" ...
        workers: processes that read images; by default half the processors, at most 8.
        progress: called as progress(done, total).

    Raises:
        UsageError: when data, a model, a row or ``out`` cannot be used.
        NothingToDoError: when no image has a label or can be read, or for rows, none has an object.
    """
    check_numbers(batch_size=batch_size, seed=seed, workers=workers)
    check_range("tolerance", tolerance, 0.0001, 1)
    check_range("margin", margin, 0, 1)
    check_choice("target", target, TARGETS)
    data_set, folder = dataset_of(data), Path(out)
    fusion = fusion_of(combination, None, smooth, grid, interpolation, flip=flip)
    settings = PointingSettings(tolerance, fusion, target, seed)
    shared: dict[str, Any] = {
        "margin": margin,
        "split": split,
        "batch_size": batch_size,
        "workers": processes(workers),
        "progress": progress,
    }
    if model is None:
        rows = rows_of(DEFAULT_METHOD if methods is None else methods, layers)
        first, second = _model(a, device), _model(b, device)
        for loaded in (first, second):
            loaded.check_rows(rows, fusion)
        with output_folder(folder, run.OUTPUTS, force=force):
            return run.compare_models(data_set, first, second, folder, rows, settings, **shared)
    if methods is not None:
        raise UsageError("`methods` is for two models; with `model`, A and B are the rows")
    if str(a).split() == str(b).split():
        raise UsageError(f"A and B are the same row, '{a}'; name two")
    loaded, pair = model_of(model, device=device), (_row(a), _row(b))
    loaded.check_rows(pair, fusion)
    with output_folder(folder, run.OUTPUTS, force=force):
        return run.compare_methods(data_set, loaded, *pair, folder, settings, **shared)


def _model(given: FileName | QualityModel, device: str) -> QualityModel:
    if isinstance(given, str | Path) and not named_model(Path(given)).exists():
        raise UsageError(
            f"{given}: no such model, and none is kept under this name ('cxrlens model list' shows those that are); to "
            "compare two rows of one model, name the model with `model`"
        )
    return model_of(given, device=device)


def _row(given: FileName | QualityModel) -> Row:
    parts = str(given).split()
    if len(parts) != 2:
        raise UsageError(f"with `model`, A and B are rows, 'METHOD LAYERS' such as 'grad_cam last', not '{given}'")
    return Row(*parts)
