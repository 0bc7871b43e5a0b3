"""Making the records of a study: every network on every image once, all scores from the maps while in memory.

The images are cut into blocks of one batch. Whatever a record file of a block lacks is computed, and nothing else, so
that a study goes on after it was killed, and a new row costs its own maps alone. Blocks are shared out among processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import multiprocessing

from cxrlens.evaluation.baselines import FloatMap
from cxrlens.inputs.dataset.layouts import Item
from cxrlens.inputs.decoding import Batch, BatchReader, DecodedImage
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.remarked import remarked, report_remarked
from cxrlens.process import isolated_children, keep_freed_memory
from cxrlens.study.blocks import BlockRun, score_sample
from cxrlens.study.data import StudyData
from cxrlens.study.plan import StudyPlan
from cxrlens.study.records import Records
from cxrlens.study.subjects import Models, Subject
from cxrlens.study.work import Unit, all_work, is_missing

Progress: TypeAlias = Callable[[int, int, str], None]

_SECONDS_BETWEEN_LOOKS = 2.0


def run_study(
    plan: StudyPlan,
    data: StudyData,
    subjects: Sequence[Subject],
    records: Records,
    *,
    device: str,
    workers: int = 0,
    rank: int = 0,
    processes: int = 1,
    progress: Progress | None = None,
) -> None:
    """Make every record that is missing, or this process's share of them.

    Args:
        records: in a folder that belongs to this data and these settings (`score_settings`).
        device: of the networks and the scores.
        workers: loader processes.
        rank: which of the ``processes`` this is; it does the blocks whose number leaves this remainder.
        progress: called as progress(done, total, what is being done); a unit is one network on one block.
    """
    work = [
        unit
        for number, unit in enumerate(all_work(plan, data, subjects))
        if number % processes == rank and is_missing(plan, data, subjects, records, unit)
    ]
    models = Models(device, plan.precision)
    training_maps: dict[Preprocessing, FloatMap | None] = {}
    done, total = 0, sum(unit.cost for unit in work)
    remarks: dict[int, str] = {}
    for unit, batch in _read(work, data.items(plan), plan, workers):
        if progress:
            progress(done, total, unit.title)
        for item, image in zip(batch.items, batch.images, strict=True):
            if image.remarks:
                remarks[image.index] = remarked(item.origin, image.remarks)
        score_unit(plan, data, subjects, records, models, unit, batch, training_maps)
        done += unit.cost
    if progress:
        progress(total, total, "")
    report_remarked([line for _, line in sorted(remarks.items())])


def score_unit(
    plan: StudyPlan,
    data: StudyData,
    subjects: Sequence[Subject],
    records: Records,
    models: Models,
    unit: Unit,
    batch: Batch,
    training_maps: dict[Preprocessing, FloatMap | None],
) -> None:
    """Make what the records of a unit lack.

    Args:
        batch: its images that can be read.
        training_maps: those that were made for units before.
    """
    if unit.sample is None:
        BlockRun(plan, data, subjects, records, models, unit, batch, training_maps).run()
    elif batch.items:
        score_sample(plan, records, models, unit, batch)


def run_on(
    devices: Sequence[str],
    plan: StudyPlan,
    data: StudyData,
    subjects: Sequence[Subject],
    records: Records,
    *,
    workers: int,
    progress: Progress | None,
) -> None:
    """As `run_study`, a process for each of the devices; they share nothing but the folder of the records."""
    if len(devices) == 1:
        run_study(plan, data, subjects, records, device=devices[0], workers=workers, progress=progress)
        return
    threads = max(1, torch.get_num_threads() // len(devices))
    share = (list(devices), plan, data, list(subjects), records, max(workers // len(devices), 1), threads)
    with isolated_children():
        processes = multiprocessing.start_processes(  # type: ignore[attr-defined, no-untyped-call]
            _run_share, share, nprocs=len(devices), join=False, start_method="spawn"
        )
    units = [unit for unit in all_work(plan, data, subjects) if is_missing(plan, data, subjects, records, unit)]
    total = sum(unit.cost for unit in units)
    while not processes.join(timeout=_SECONDS_BETWEEN_LOOKS):
        units = [unit for unit in units if is_missing(plan, data, subjects, records, unit)]
        if progress:
            progress(total - sum(unit.cost for unit in units), total, units[0].title if units else "")
    if progress:
        progress(total, total, "")


def _run_share(
    rank: int,
    devices: list[str],
    plan: StudyPlan,
    data: StudyData,
    subjects: list[Subject],
    records: Records,
    workers: int,
    threads: int,
) -> None:
    keep_freed_memory()
    torch.set_num_threads(threads)
    run_study(plan, data, subjects, records, device=devices[rank], workers=workers, rank=rank, processes=len(devices))


def _read(work: Sequence[Unit], items: Sequence[Item], plan: StudyPlan, workers: int) -> Iterator[tuple[Unit, Batch]]:
    """Each unit with its images, read ahead by the loader processes; images that cannot be read are left out."""
    start = 0
    while start < len(work):
        end = start
        while end < len(work) and work[end].preprocessing == work[start].preprocessing:
            end += 1
        units = work[start:end]
        places = [(number, index) for number, unit in enumerate(units) for index in unit.indices]
        reader = BatchReader(
            [items[index] for _, index in places], units[0].preprocessing, batch_size=1, workers=workers
        )
        waiting: dict[int, list[tuple[int, DecodedImage]]] = {}
        current = 0
        for single in reader:
            (image,) = single.images
            number, index = places[image.index]
            while current < number:
                yield units[current], batch_of(waiting.pop(current, []), items)
                current += 1
            waiting.setdefault(number, []).append((index, image))
        while current < len(units):
            yield units[current], batch_of(waiting.pop(current, []), items)
            current += 1
        start = end


def batch_of(images: Sequence[tuple[int, DecodedImage]], items: Sequence[Item]) -> Batch:
    """Images, each with its index in the study, as a batch."""
    decoded = [replace(image, index=index) for index, image in images]
    grey = [image.grey for _, image in images if image.grey is not None]
    return Batch([items[index] for index, _ in images], decoded, torch.stack(grey) if grey else torch.empty(0))
