"""``cxrlens test`` as a function."""

# ruff: noqa: PT028

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cxrlens.api.arguments import FileName, check_numbers, checked, dataset_of, model_of, processes
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.outputs import output_folder
from cxrlens.testing.run import OUTPUTS, ScoreResult, score_model


@checked
def test(
    data: FileName | Dataset,
    model: FileName | QualityModel,
    out: FileName = "test-results",
    *,
    split: str | None = None,
    batch_size: int = 16,
    seed: int = 0,
    force: bool = False,
    device: str = "auto",
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ScoreResult:
    """Score a model on labelled images.

    Args:
        data: a data set folder.
        model: a model file, a run folder (its best model), or a model that is loaded, with its own device.
        out: new folder for scores, predictions and figures.
        split: "train", "dev" or "test"; by default test, else dev.
        batch_size: images per pass.
        seed: of the bootstrap.
        force: replace an earlier test's files there.
        device: "auto", "cpu", "cuda" ...
        workers: processes that read images; by default half the processors, at most 8.
        progress: called as progress(done, total).

    Raises:
        UsageError: when data, model or ``out`` cannot be used.
        NothingToDoError: when no image has a label or can be read.
    """
    check_numbers(batch_size=batch_size, seed=seed, workers=workers)
    data_set, loaded, folder = dataset_of(data), model_of(model, device=device), Path(out)
    with output_folder(folder, OUTPUTS, force=force):
        return score_model(
            data_set,
            loaded,
            folder,
            split=split,
            batch_size=batch_size,
            workers=processes(workers),
            seed=seed,
            progress=progress,
        )


test.__test__ = False  # type: ignore[attr-defined]  # pytest takes an imported function of this name for a test
