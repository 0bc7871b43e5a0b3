"""``cxrlens study`` as a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrlens.api.arguments import FileName, as_list, check_choice, check_numbers, checked, dataset_of, paths_of
from cxrlens.cluster.ray_cluster import ClusterSettings
from cxrlens.devices import device_names, resolve_device
from cxrlens.errors import UsageError
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.models.precision import resolve_precision
from cxrlens.study import run
from cxrlens.study.plan import load_plan
from cxrlens.study.report import StudyResult

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback


@checked
def study(
    data: FileName | Dataset,
    out: FileName,
    *,
    plan: FileName = "quick",
    models: FileName | Iterable[FileName] = (),
    rows: str | Iterable[str] = (),
    grid: str | None = None,
    interpolation: str | None = None,
    flip: bool = False,
    split: str | None = None,
    seed: int | None = None,
    device: str = "auto",
    precision: str | None = None,
    devices: int = 1,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    ray_workers: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    training_progress: Callable[[str, int, int], None] | None = None,
    callbacks: Sequence[Callback] = (),
) -> StudyResult:
    """Run the paper's experiments and the checks that they lack; goes on where it was stopped.

    Args:
        data: a data set folder.
        out: folder of the study; a study that is there goes on.
        plan: "quick", "paper", or a YAML file, see docs/study.md. The arguments from ``grid`` to ``precision`` replace
            its values where they are given.
        models: trained models, in place of the plan's trainings.
        rows: further ones, such as "xgrad_cam combined".
        grid: where a layer's cells lie, see `cxrlens.explain`; likewise ``interpolation``.
        flip: average maps with those of the mirrored images.
        split: "train", "dev" or "test"; by default test, else dev.
        seed: of everything random.
        device: "auto", "cpu", "cuda" ...
        precision: in which the networks multiply: "f32", "bf16" or "auto".
        devices: how many devices, or processes on a CPU, share the images.
        workers: processes that read images; by default half the processors, at most 8.
        engine: "local" for this computer, "ray" for the workers of a Ray cluster.
        address: of the cluster: "auto" for the one that this computer belongs to, or HOST:PORT; without it, one is
            started here that ends with the study.
        ray_workers: how many of its workers; by default as many as it has room for.
        progress: called as progress(done, total, what).
        training_progress: called as training_progress(split, done, total) while images of trainings are decoded.
        callbacks: Lightning's, of each training.

    Raises:
        UsageError: when data, plan or models cannot be used, or ``out`` holds something else.
        NothingToDoError: when no image has an object.
    """
    check_numbers(seed=seed, devices=devices, workers=workers, ray_workers=ray_workers)
    check_choice("engine", engine, ("local", "ray"))
    cluster = None
    if engine == "ray":
        if devices > 1:
            raise UsageError("`devices` shares the images out on this computer; leave it or `engine=ray` out")
        if precision == "auto":
            raise UsageError("`precision=auto` may be another one on each computer; name f32 or bf16 with `engine=ray`")
        cluster = ClusterSettings(address, ray_workers, device)
        # workers may be in another folder
        data = Dataset(data.root.absolute()) if isinstance(data, Dataset) else Path(data).absolute()
    elif address is not None or ray_workers is not None:
        raise UsageError("`address` and `ray_workers` are of a Ray cluster; give `engine=ray` with them")
    named = {"split": split, "seed": seed, "grid": grid, "interpolation": interpolation, "flip": flip or None}
    changes: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    if precision is not None:
        changes["precision"] = precision if cluster else resolve_precision(precision, resolve_device(device))
    chosen = load_plan(str(plan), changes)
    more = as_list(rows)
    if more:
        chosen = load_plan(str(plan), {**changes, "rows": [*chosen.rows, *more]})
    return run.run(
        dataset_of(data),
        Path(out),
        chosen,
        models=paths_of(models),
        devices=device_names("auto" if cluster else device, devices),
        workers=workers,
        cluster=cluster,
        progress=progress,
        training_progress=training_progress,
        callbacks=callbacks,
    )
