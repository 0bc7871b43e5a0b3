"""``cxrlens calibrate`` as a function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cxrlens.api.arguments import FileName, check_numbers, checked, dataset_of, processes, share_of
from cxrlens.calibration.operating_points import TargetKind, ThresholdTarget
from cxrlens.calibration.run import CalibrateResult, TriageGoals, calibrate_model, only_writer
from cxrlens.errors import UsageError
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inspection.quality_model import load

_DEFAULT_SPECIFICITY = 0.95
_DEFAULT_SEEN = 0.95


@checked
def calibrate(
    data: FileName | Dataset,
    model: FileName,
    out: FileName = "calibrated.safetensors",
    *,
    specificity: float | str | None = None,
    sensitivity: float | str | None = None,
    max_retake_rate: float | str | None = None,
    prevalence: float | str | None = None,
    review: str | None = None,
    split: str | None = None,
    batch_size: int = 16,
    seed: int = 0,
    force: bool = False,
    device: str = "auto",
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CalibrateResult:
    """Set a model's threshold and make its probabilities right for a site, in a copy of its file.

    Shares are numbers strictly between 0 and 1, or text such as "3%". At most one of the first three sets the retake
    threshold; by default it is a specificity of 0.95.

    Args:
        data: a data set folder with labelled images, best some that no training has seen.
        model: a model file, or a run folder (its best model).
        out: the calibrated copy, NAME.safetensors; tables and figures go beside it.
        specificity: at least this share of normal images is not retaken.
        sensitivity: at least this share of affected images is retaken.
        max_retake_rate: at most this share of all images is retaken.
        prevalence: share of affected images at the site; by default the data's.
        review: what retake and review together give: "sensitivity=0.95" (of seeing affected images), "npv=0.99"
            (share of normal ones among passed images), or "none". By default "sensitivity=0.95"; with ``sensitivity``
            halfway from that to 1.
        split: "train", "dev" or "test"; by default test, else dev.
        batch_size: images per pass.
        seed: of folds and resamples.
        force: replace what is there.
        device: "auto", "cpu", "cuda" ...
        workers: processes that read images; by default half the processors, at most 8.
        progress: called as progress(done, total).

    Raises:
        UsageError: when data, model, shares or ``out`` cannot be used, or no threshold reaches what is asked for.
        NothingToDoError: when no image has a label or can be read.
    """
    check_numbers(batch_size=batch_size, seed=seed, workers=workers)
    data_set, source, copy = dataset_of(data), Path(model), Path(out)
    retake = _retake(specificity, sensitivity, max_retake_rate)
    goals = TriageGoals(
        retake, _review(review, retake), None if prevalence is None else share_of(prevalence, "prevalence")
    )
    loaded = load(source, device=device)
    with only_writer(source, copy, force=force):
        return calibrate_model(
            data_set,
            loaded,
            source,
            copy,
            goals,
            split=split,
            batch_size=batch_size,
            workers=processes(workers),
            seed=seed,
            progress=progress,
        )


def _retake(
    specificity: float | str | None, sensitivity: float | str | None, max_retake_rate: float | str | None
) -> ThresholdTarget:
    arguments: dict[TargetKind, tuple[str, float | str | None]] = {
        "specificity": ("specificity", specificity),
        "sensitivity": ("sensitivity", sensitivity),
        "retake_rate": ("max_retake_rate", max_retake_rate),
    }
    given = [
        ThresholdTarget(kind, share_of(value, name)) for kind, (name, value) in arguments.items() if value is not None
    ]
    if len(given) > 1:
        raise UsageError("`specificity`, `sensitivity` and `max_retake_rate` each set the threshold: give one of them")
    return given[0] if given else ThresholdTarget("specificity", _DEFAULT_SPECIFICITY)


def _review(text: str | None, retake: ThresholdTarget) -> ThresholdTarget | None:
    if text is None:
        return ThresholdTarget("sensitivity", (1 + retake.value) / 2 if retake.kind == "sensitivity" else _DEFAULT_SEEN)
    if text == "none":
        return None
    kind, equals, value = text.partition("=")
    if not equals or kind not in ("sensitivity", "npv"):
        raise UsageError(f"`review` takes sensitivity=0.95, npv=0.99 or none, not '{text}'")
    return ThresholdTarget("npv" if kind == "npv" else "sensitivity", share_of(value, "review"))
