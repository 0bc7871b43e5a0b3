"""``cxrlens explain`` as a function; `cxrlens.explain` gives the maps of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cxrlens.api.arguments import (
    FileName,
    check_choice,
    check_numbers,
    checked,
    fusion_of,
    model_of,
    path_of,
    processes,
    rows_of,
    sources_of,
)
from cxrlens.explanation import run
from cxrlens.explanation.run import ExplainResult, ExplanationSettings
from cxrlens.inputs.readers import require_file
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.outputs import output_folder


@checked
def explain_images(
    sources: FileName | Iterable[FileName],
    model: FileName | QualityModel,
    out: FileName = "explained",
    *,
    methods: str | Iterable[str] | None = None,
    layers: str = "both",
    annotations: FileName | None = None,
    split: str | None = None,
    dicom: bool = False,
    target: str = "affected",
    combination: str = "product",
    layer_weights: Sequence[float] | None = None,
    smooth: float | None = None,
    grid: str | None = None,
    interpolation: str | None = None,
    flip: bool = False,
    assess_any: bool = False,
    batch_size: int = 8,
    seed: int = 0,
    force: bool = False,
    device: str = "auto",
    precision: str = "f32",
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ExplainResult:
    """Show where a model looks: an overlay and the maps of each image, and a table.

    Args:
        sources: images, folders of images, and data set folders.
        model: a model file, a run folder (its best model), or a model that is loaded, with its own device and
            precision.
        out: new folder for overlays, maps and ``explanations.csv``.
        methods: ids of the maps' methods; by default Grad-CAM and NormGrad.
        layers: "last", "combined", "both" (Grad-CAM at last only, as published), or a module name.
        annotations: CSV whose objects are drawn on the overlays.
        split: of data sets: "train", "dev" or "test"; by default test, else dev.
        dicom: also write a DICOM report (SR), picture (SC) and outlines (GSPS) for each DICOM image. They carry the
            patient's identity.
        target: the explained class, "affected" or "predicted".
        combination: how the maps of the combined layers become one, see `cxrlens.explain`; likewise
            ``layer_weights``, ``smooth``, ``grid``, ``interpolation`` and ``flip``.
        assess_any: explain images too that surely are no frontal chest radiographs.
        batch_size: images per pass.
        seed: of ties, and of methods that draw random numbers.
        force: replace an earlier explanation's files in ``out``.
        device: "auto", "cpu", "cuda" ...
        precision: in which the network multiplies, see `cxrlens.load`.
        workers: processes that read images; by default half the processors, at most 8.
        progress: called as progress(done, total).

    Raises:
        UsageError: on an unknown method, layer or target, a missing file, or a model or folder that cannot be used.
        UnreadableImageError: when the one image given cannot be read.
        NothingToDoError: when the sources hold no readable image.
    """
    check_numbers(batch_size=batch_size, seed=seed, workers=workers)
    check_choice("target", target, ("affected", "predicted"))
    rows = rows_of(methods, layers)
    fusion = fusion_of(combination, layer_weights, smooth, grid, interpolation, flip=flip)
    paths, folder = sources_of(sources), Path(out)
    for path in paths:
        if not path.is_dir():
            require_file(path)
    loaded = model_of(model, device=device, precision=precision)
    loaded.check_rows(rows, fusion)
    settings = ExplanationSettings(target, fusion, seed, assess_any)
    results = run.dicom_results(folder, loaded, rows, settings) if dicom else None
    with output_folder(folder, run.OUTPUTS, force=force):
        if results:
            results.clear()
        return run.explain_images(
            paths,
            loaded,
            folder,
            rows,
            settings,
            annotations=path_of(annotations),
            split=split,
            dicom=results,
            batch_size=batch_size,
            workers=processes(workers),
            progress=progress,
        )
