"""Making the records of a study on a Ray cluster: workers score, the records are written here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cxrlens.cluster.ray_cluster import RayCluster
from cxrlens.cluster.ray_pool import RayPool
from cxrlens.errors import CxrlensError
from cxrlens.inputs.remarked import report_remarked
from cxrlens.models.location import model_path
from cxrlens.study.cluster_work import MakeScorer, ScoredUnit, UnitToScore, names_there
from cxrlens.study.data import StudyData
from cxrlens.study.execution import Progress
from cxrlens.study.plan import StudyPlan
from cxrlens.study.records import Records
from cxrlens.study.subjects import Subject
from cxrlens.study.work import all_work, is_missing


def run_on_cluster(
    cluster: RayCluster,
    plan: StudyPlan,
    data: StudyData,
    subjects: Sequence[Subject],
    records: Records,
    *,
    readers: int | None,
    progress: Progress | None,
) -> None:
    """As `run_study`, by the workers of a cluster.

    Args:
        readers: processes of a worker that read; None for one a processor.

    Raises:
        UsageError: when no worker can be used.
        CxrlensError: when a unit ends its workers.
    """
    numbered = [
        (number, unit)
        for number, unit in enumerate(all_work(plan, data, subjects))
        if is_missing(plan, data, subjects, records, unit)
    ]
    done, total = 0, sum(unit.cost for _, unit in numbered)
    if not numbered:
        return
    share = cluster.share
    models = {each.id: model_path(Path(each.source)).read_bytes() for each in subjects if each.weights == "trained"}
    make = MakeScorer(
        plan, data, tuple(subjects), models, share.device, share.cpus if readers is None else max(readers, 1)
    )
    items = data.items(plan)

    def tasks() -> Iterator[UnitToScore]:
        for number, unit in numbered:
            yield UnitToScore(number, names_there(plan, data, subjects, records, unit))

    remarks: dict[int, str] = {}
    with RayPool(cluster, make, _lost) as pool:
        for (_, unit), scored in zip(numbered, pool.in_order(tasks(), 1), strict=True):
            if scored.lost:
                first, last = (items[unit.indices[place]].origin for place in (0, -1))
                raise CxrlensError(f"{first} to {last}: {scored.lost}; leave out the image that does it")
            for (part, subject, block), arrays in scored.added.items():
                records.add(part, subject, block, arrays)
            remarks |= scored.remarks
            done += unit.cost
            if progress:
                progress(done, total, unit.title if done < total else "")
    report_remarked([line for _, line in sorted(remarks.items())])


def _lost(_task: UnitToScore, reason: str) -> ScoredUnit:
    return ScoredUnit(lost=reason)
