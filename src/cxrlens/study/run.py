"""The work of ``cxrlens study``: trainings, records, then the report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch.callbacks import Callback

from cxrlens.cluster.ray_cluster import ClusterSettings, RayCluster, require_ray
from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.files import plain, write_text
from cxrlens.inputs.dataset.dataset import Dataset, log_remarks
from cxrlens.inputs.decoding import decode_images
from cxrlens.inputs.processes import default_workers
from cxrlens.inputs.reading import Unreadable
from cxrlens.inputs.unreadable import report_unreadable
from cxrlens.models.model_file import load_model
from cxrlens.models.precision import resolve_precision
from cxrlens.models.registry import file_name_of
from cxrlens.outputs import output_folder, own_names
from cxrlens.study.cluster_execution import run_on_cluster
from cxrlens.study.data import StudyData
from cxrlens.study.execution import Progress, run_on
from cxrlens.study.plan import StudyPlan, Training
from cxrlens.study.records import Records, score_settings
from cxrlens.study.report import StudyResult, write_report
from cxrlens.study.results import Results
from cxrlens.study.rows import planned_rows
from cxrlens.study.subjects import find_subjects
from cxrlens.training.fitting import Hardware
from cxrlens.training.recipe import resolve_recipe
from cxrlens.training.run import train_model

log = logging.getLogger(__name__)

_PLAN = "study.yaml"
OUTPUTS = (
    _PLAN,
    "environment.json",
    "figures",
    "findings.md",
    "gallery",
    "records",
    "report.html",
    "runs",
    "submissions",
    "tables",
    "unreadable.txt",
)
"""What a study writes right into its folder."""


def run(
    data: Dataset,
    out: Path,
    plan: StudyPlan,
    *,
    models: Sequence[Path] = (),
    devices: Sequence[str] = ("cpu",),
    workers: int | None = 0,
    cluster: ClusterSettings | None = None,
    progress: Progress | None = None,
    training_progress: Callable[[str, int, int], None] | None = None,
    callbacks: Sequence[Callback] = (),
) -> StudyResult:
    """Run a study, or go on with it.

    Args:
        data: a data set folder.
        out: where everything goes; records that are there already are used.
        models: trained models, in place of the plan's models and training; the architectures of the study are then
            theirs.
        devices: a process for each; trainings are made on the first.
        workers: processes that read; None for as many as is usual, on a cluster one a processor of each worker.
        cluster: makes the records on the workers of a Ray cluster, in place of the devices; the data set must lie where
            they find it under the same path.
        progress: called as progress(done, total, what is being done) while the records are made.
        training_progress: called as progress(split, done, total) while a training decodes images.
        callbacks: Lightning's, of each training.

    Raises:
        UsageError: when data, plan or models cannot be used, or ``out`` holds something else.
        NothingToDoError: when no image has an object.
    """
    with _claimed(out):
        return _run(data, out, plan, models, devices, workers, cluster, progress, training_progress, callbacks)


def _run(
    data: Dataset,
    out: Path,
    plan: StudyPlan,
    models: Sequence[Path],
    devices: Sequence[str],
    workers: int | None,
    cluster: ClusterSettings | None,
    progress: Progress | None,
    training_progress: Callable[[str, int, int], None] | None,
    callbacks: Sequence[Callback],
) -> StudyResult:
    if cluster is not None:
        require_ray()
    split = data.scored_split(plan.split)
    if cluster is None:
        resolve_precision(plan.precision, torch.device(devices[0]))
    plan, trained = _with_models(plan, models)
    _check_rows(plan)
    _check_trainings(plan, trained)
    study_data = StudyData.of(data.root, split, _train_split(data), plan.kinds)
    if not study_data.annotated:
        raise NothingToDoError(f"{data.root}: no image of '{split.name}' has an annotated object; add {split.name}.csv")
    hardware = Hardware(torch.device(devices[0]))
    trained = _train(plan, data, out, trained, hardware, training_progress, callbacks)
    subjects = find_subjects(plan, trained)
    write_text(out / _PLAN, yaml.safe_dump(plain(plan.model_dump()), sort_keys=False))
    records = Records(out / "records" / score_settings(plan, study_data))
    here = default_workers() if workers is None else workers
    if cluster is None:
        run_on(devices, plan, study_data, subjects, records, workers=here, progress=progress)
    else:
        with RayCluster(cluster) as reached:
            run_on_cluster(reached, plan, study_data, subjects, records, readers=workers, progress=progress)
    results = Results(plan, study_data, subjects, records)
    if not results.indices:
        raise NothingToDoError(f"{data.root}: none of the {len(study_data.annotated)} annotated images can be read")
    unreadable = _unreadable(results, here)
    report_unreadable(unreadable, out)
    log.info("tables, figures and report")
    return write_report(out, results, devices[0], unreadable)


@contextmanager
def _claimed(out: Path) -> Iterator[None]:
    """Make the folder, or make sure that it is a study's: a plan that somebody wrote does not make it one.

    No other process writes into it meanwhile.
    """
    is_study = _PLAN in own_names(out) or _is_study_of_earlier_version(out)
    known = OUTPUTS if is_study else ()
    remedy = f"it holds no study ({_PLAN}); give another --out"
    with output_folder(out, OUTPUTS, force=is_study, known=known, remedy=remedy):
        yield


def _is_study_of_earlier_version(out: Path) -> bool:
    """True for a folder in which a study was begun before folders had a mark."""
    plan = out / _PLAN
    return plan.is_file() and ((out / "records").is_dir() or (out / "runs").is_dir() or plan.stat().st_size == 0)


def _with_models(plan: StudyPlan, models: Sequence[Path]) -> tuple[StudyPlan, dict[str, list[Path]]]:
    """The plan for the given models, and the trained models by architecture."""
    if not models:
        return plan, {name: list(paths) for name, paths in plan.models.items() if name in plan.architectures}
    found: dict[str, list[Path]] = {}
    for path in models:
        found.setdefault(load_model(path)[1].architecture, []).append(path)
    names = [name for name in plan.architectures if name in found]
    names += [name for name in found if name not in names]
    by_name = {name: tuple(found[name]) for name in names}
    changes: dict[str, Any] = {"architectures": tuple(names), "models": by_name, "training": None}
    return plan.model_copy(update=changes), found


def _check_rows(plan: StudyPlan) -> None:
    """Unknown methods are found before any training."""
    for architecture in plan.architectures:
        planned_rows(plan, architecture)


def _check_trainings(plan: StudyPlan, given: Mapping[str, Sequence[Path]]) -> None:
    """Likewise what a recipe cannot hold."""
    for architecture in plan.architectures:
        if plan.training is None or given.get(architecture):
            continue
        for seed in plan.training.seeds:
            try:
                resolve_recipe(plan.training.recipe, _settings(plan.training, architecture, seed))
            except UsageError as error:
                raise UsageError(f"the plan's training of {architecture}: {error}") from error


def _settings(training: Training, architecture: str, seed: int) -> dict[str, Any]:
    """The values on top of the recipe."""
    return {**training.settings, **training.settings_of.get(architecture, {}), "seed": seed}


def _train(
    plan: StudyPlan,
    data: Dataset,
    out: Path,
    given: dict[str, list[Path]],
    hardware: Hardware,
    progress: Callable[[str, int, int], None] | None,
    callbacks: Sequence[Callback],
) -> dict[str, list[Path]]:
    """The given models, and for architectures without one those of the plan's trainings, made where they lack."""
    found = dict(given)
    if plan.training is None:
        return found
    for architecture in plan.architectures:
        if found.get(architecture):
            continue
        for seed in plan.training.seeds:
            run_dir = out / "runs" / f"{file_name_of(architecture)}-seed{seed}"
            started = (run_dir / "config.yaml").is_file()
            try:
                train_model(
                    data,
                    run_dir,
                    architecture=architecture,
                    recipe=plan.training.recipe,
                    overrides=_settings(plan.training, architecture, seed),
                    hardware=hardware,
                    resume=started,
                    callbacks=list(callbacks),
                    progress=progress,
                )
            except NothingToDoError:
                log.info("%s is trained", run_dir)
            found.setdefault(architecture, []).append(run_dir)
    return found


def _train_split(data: Dataset) -> Any:
    if "train" not in data.splits:
        return None
    try:
        return log_remarks(data.split("train"))
    except UsageError as error:  # one baseline less is no reason to stop
        log.warning("no mean-annotation baseline: %s", error)
        return None


def _unreadable(results: Results, workers: int) -> list[str]:
    """The reasons for which images have no records; they are read once more, as the records do not say."""
    items = results.data.items(results.plan)
    read = set(results.all_indices)
    origins = [item.origin for index, item in enumerate(items) if index not in read]
    images = decode_images(origins, results.subjects[0].preprocessing, workers=workers)
    return [
        image.reason if isinstance(image, Unreadable) else f"{origin}: could not be read when it was its turn"
        for origin, image in zip(origins, images, strict=True)
    ]
