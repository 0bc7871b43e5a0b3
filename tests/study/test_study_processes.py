"""Processes that share out a study's units."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

from small_study import RecordedStudy, run_shallow_share

from cxrlens.study import execution
from cxrlens.study.records import Records


def test_two_processes_give_the_records_of_one(made: RecordedStudy, tmp_path: Path) -> None:
    records = Records(tmp_path)
    seen: list[tuple[int, int]] = []
    with mock.patch.object(execution, "_run_share", run_shallow_share):
        execution.run_on(
            ["cpu", "cpu"],
            made.plan,
            made.data,
            made.subjects,
            records,
            workers=0,
            progress=lambda done, total, what: seen.append((done, total)),
        )
    shared = RecordedStudy(made.plan, made.data, made.subjects, records)
    ids = {subject.id for subject in made.subjects}
    expected = {
        name: content for name, content in made.bytes().items() if "maps" not in name or set(name.split("/")) & ids
    }
    assert shared.bytes() == expected
    assert seen[-1][0] == seen[-1][1]
