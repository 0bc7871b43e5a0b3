"""One study on several devices or processes: each makes the records of its share of the blocks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import multiprocessing

from cxrlens.process import keep_freed_memory
from cxrlens.study.data import StudyData
from cxrlens.study.execution import Progress, run_study
from cxrlens.study.plan import StudyPlan
from cxrlens.study.records import Records
from cxrlens.study.subjects import Subject
from cxrlens.study.work import all_work, is_missing

_SECONDS_BETWEEN_LOOKS = 2.0


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
