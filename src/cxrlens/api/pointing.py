"""``cxrlens pointing-game`` as functions: on the images of a folder, and on one image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cxrlens.api.arguments import (
    FileName,
    check_choice,
    check_numbers,
    check_range,
    checked,
    dataset_of,
    fusion_of,
    model_of,
    path_of,
    processes,
    rows_of,
)
from cxrlens.errors import UsageError
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.readers import require_file
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.outputs import output_folder
from cxrlens.pointing.run import (
    DEFAULT_TOLERANCE,
    PointingGameResult,
    PointingSettings,
    SingleResult,
    annotated_item,
    outputs_of,
    play_folder,
    play_image,
)

TARGETS = ("affected", "predicted", "true")


@checked
def play_pointing_game(
    data: FileName | Dataset,
    model: FileName | QualityModel,
    out: FileName = "pointing-game",
    *,
    annotations: FileName | None = None,
    train_annotations: FileName | None = None,
    methods: str | Iterable[str] | None = None,
    layers: str = "both",
    tolerance: float = DEFAULT_TOLERANCE,
    combination: str = "product",
    layer_weights: Sequence[float] | None = None,
    smooth: float | None = None,
    grid: str | None = None,
    interpolation: str | None = None,
    flip: bool = False,
    target: str = "affected",
    split: str | None = None,
    batch_size: int = 8,
    seed: int = 0,
    force: bool = False,
    device: str = "auto",
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PointingGameResult:
    """Measure whether the highest point of each map lies on an annotated object, beside baselines.

    Args:
        data: a data set folder, or a folder of images.
        model: a model file, a run folder (its best model), or a model that is loaded, with its own device.
        out: new folder for tables, figures and the page ``report.html``.
        annotations: CSV of the objects in a folder of images.
        train_annotations: CSV of training images, beside them, for the mean-annotation baseline; a data set brings
            its own.
        methods: ids of the maps' methods; by default Grad-CAM and NormGrad.
        layers: "last", "combined", "both" (Grad-CAM at last only, as published), or a module name.
        tolerance: share of the input's longer side; 0.025 is 15 px at 600 px.
        combination: how the maps of the combined layers become one, see `cxrlens.explain`; likewise
            ``layer_weights``, ``smooth``, ``grid``, ``interpolation`` and ``flip``.
        target: the explained class: "affected", "predicted" or "true" (the label).
        split: "train", "dev" or "test"; by default test, else dev.
        batch_size: images per pass.
        seed: decides ties, and drives the bootstrap of the random baseline.
        force: replace an earlier game's files in ``out``.
        device: "auto", "cpu", "cuda" ...
        workers: processes that read images; by default half the processors, at most 8.
        progress: called as progress(done, total).

    Raises:
        UsageError: when data, model, a method or ``out`` cannot be used.
        NothingToDoError: when no readable image has an object.
    """
    check_numbers(batch_size=batch_size, workers=workers)
    settings = _settings(tolerance, combination, layer_weights, smooth, grid, interpolation, target, seed, flip=flip)
    rows = rows_of(methods, layers)
    data_set, loaded, folder = dataset_of(data), model_of(model, device=device), Path(out)
    loaded.check_rows(rows, settings.fusion)
    with output_folder(folder, outputs_of(data_set.root), force=force):
        return play_folder(
            data_set,
            loaded,
            folder,
            rows,
            settings,
            annotations=path_of(annotations),
            train_annotations=path_of(train_annotations),
            split=split,
            batch_size=batch_size,
            workers=processes(workers),
            progress=progress,
        )


@checked
def play_on_image(
    image: FileName,
    model: FileName | QualityModel,
    out: FileName = "pointing-game",
    *,
    annotation: str | None = None,
    annotations: FileName | None = None,
    mask: FileName | None = None,
    methods: str | Iterable[str] | None = None,
    layers: str = "both",
    tolerance: float = DEFAULT_TOLERANCE,
    combination: str = "product",
    layer_weights: Sequence[float] | None = None,
    smooth: float | None = None,
    grid: str | None = None,
    interpolation: str | None = None,
    flip: bool = False,
    target: str = "affected",
    seed: int = 0,
    force: bool = False,
    device: str = "auto",
) -> SingleResult:
    """Play the Pointing Game on one image whose objects are known, and draw its overlay.

    Args:
        image: its file.
        model: as in `play_pointing_game`, like all that is not named here.
        out: new folder for the overlay.
        annotation: the objects as text, such as "0 10 20 30 40"; give one of this and the next two.
        annotations: a CSV that has the image's objects.
        mask: a picture; what is not black in it is an object.

    Raises:
        UsageError: when none or several of the three are given, or model, method or ``out`` cannot be used.
        UnreadableImageError: when the image or its mask cannot be read.
        NothingToDoError: when the objects mark nothing in the image.
    """
    path, folder = Path(image), Path(out)
    settings = _settings(tolerance, combination, layer_weights, smooth, grid, interpolation, target, seed, flip=flip)
    rows = rows_of(methods, layers)
    require_file(path)
    if [annotations, annotation, mask].count(None) != 2:
        raise UsageError("a single image needs one of `annotation=TEXT`, `annotations=CSV` and `mask=IMAGE`")
    loaded = model_of(model, device=device)
    loaded.check_rows(rows, settings.fusion)
    with output_folder(folder, outputs_of(path), force=force):
        item = annotated_item(path, annotation=annotation, table=path_of(annotations), mask=path_of(mask))
        return play_image(item, loaded, folder, rows, settings)


def _settings(
    tolerance: float,
    combination: str,
    layer_weights: Sequence[float] | None,
    smooth: float | None,
    grid: str | None,
    interpolation: str | None,
    target: str,
    seed: int,
    *,
    flip: bool,
) -> PointingSettings:
    check_numbers(seed=seed)
    check_range("tolerance", tolerance, 0.0001, 1)
    check_choice("target", target, TARGETS)
    fusion = fusion_of(combination, layer_weights, smooth, grid, interpolation, flip=flip)
    return PointingSettings(tolerance, fusion, target, seed)
