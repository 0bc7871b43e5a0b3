"""`cxrlens screen --database`: reviews in PostgreSQL, and a database that goes away in the middle."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pytest
from test_screen import FAST, folder, results, run, table

from command_line import cxrlens
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.reading import ReadImage
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.recording import ResultToRecord
from cxrlens.screening.screen import Screening
from cxrlens.screening.store.postgresql import Server, reached
from cxrlens.screening.store.results import ResultTable
from cxrlens.screening.store.store import Store
from postgresql import PASSWORD, PostgresServer

__all__ = ["folder"]  # a fixture


@pytest.fixture
def database(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Named by the variable of the environment."""
    monkeypatch.setenv("CXRLENS_DATABASE", postgres.address())
    return reached(postgres.address())


def said(out: Path) -> str:
    """All that a screening has written into files of text."""
    return "".join(
        path.read_text("utf-8") for path in out.iterdir() if path.suffix in (".json", ".jsonl", ".csv", ".html")
    )


def test_a_screening_is_the_same_in_a_database(
    folder: Path, model: Path, database: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_database, in_file = tmp_path / "database", tmp_path / "file"
    for _ in range(2):
        assert run(folder, model, in_database).code == 0
    finished = run(folder, model, in_database)
    assert (finished.code, finished.json["computed"]) == (0, 0)
    assert not (in_database / "store.sqlite").exists()
    assert PASSWORD not in said(in_database) + finished.out + finished.err
    with Store(ScreenedFolder(in_database), database) as store:
        key = next(store.results.newest()).key
        assert store.verdicts.give(key, "accept", lambda: "a" * 64)
    assert run(folder, model, in_database, "--force").json["computed"] == 12
    with Store(ScreenedFolder(in_database), database) as store:
        assert [kept.key for kept in store.verdicts.standing()] == [key]
    monkeypatch.delenv("CXRLENS_DATABASE")
    assert run(folder, model, in_file).code == 0
    assert (in_database / "results.jsonl").read_bytes() == (in_file / "results.jsonl").read_bytes()
    assert (in_database / "worklist.csv").read_bytes() == (in_file / "worklist.csv").read_bytes()
    for more in ((), ("--force",)):
        refused = run(folder, model, in_database, *more)
        assert refused.code == 2
        assert refused.errors == [
            f"{in_database}: its reviews are in the database {database.place}; give --database, or set the variable "
            "CXRLENS_DATABASE"
        ]


def test_a_screened_folder_moves_when_it_is_gone_on_with(
    folder: Path, model: Path, postgres: PostgresServer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run(folder, model, out).code == 0
    before = (out / "results.jsonl").read_bytes()
    finished = run(folder, model, out, "--database", postgres.address())
    assert (finished.code, finished.json["computed"]) == (0, 0)
    assert f"{out}: its reviews are in postgresql://127.0.0.1:{postgres.port}/postgres now" in finished.err
    assert (out / "results.jsonl").read_bytes() == before
    assert PASSWORD not in said(out) + finished.out + finished.err


def test_a_wrong_password_ends_it_before_anything_is_made(
    folder: Path, model: Path, postgres: PostgresServer, tmp_path: Path
) -> None:
    finished = run(folder, model, tmp_path / "out", "--database", postgres.address(password="Zx9-wrong"))
    assert finished.code == 2
    assert len(finished.errors) == 1
    assert "password authentication failed" in finished.err
    assert "Zx9-wrong" not in finished.err
    assert "Traceback" not in finished.err
    assert not (tmp_path / "out").exists()


def test_a_database_that_goes_away_in_the_middle_costs_nothing(
    folder: Path, model: Path, postgres: PostgresServer, database: Server, tmp_path: Path
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    real, calls, seen = ResultTable.add, 0, 0
    inspect = Screening._inspected

    def add(table: ResultTable, images: list[ScreenedImage], states: dict[str, str] | None = None) -> list[str]:
        nonlocal calls
        calls += 1
        if calls == 3:  # the first is of what an earlier run could not put there
            postgres.kill()
        return real(table, images, states)

    def inspected(screening: Screening, images: list[ReadImage]) -> list[ResultToRecord]:
        nonlocal seen
        seen += len(images)
        return inspect(screening, images)

    try:
        with mock.patch.object(ResultTable, "add", add), mock.patch.object(Screening, "_inspected", inspected):
            stopped = run(folder, model, out)
        again = run(folder, model, out)
    finally:
        postgres.start()
    assert (stopped.code, again.code) == (2, 2)
    [error] = stopped.errors
    assert error.startswith(f"{database.place}: cannot be read or written (")
    assert error.endswith(f"what was computed is in {out / 'unstored.jsonl'}, and the same command goes on with it")
    assert "Traceback" not in stopped.err + again.err
    assert len((out / "unstored.jsonl").read_text().splitlines()) == seen - 4 >= 4  # one batch had arrived
    assert PASSWORD not in stopped.err
    finished = run(folder, model, out)
    assert (finished.code, finished.json["computed"]) == (0, 12 - seen)
    assert run(folder, model, whole).code == 0
    assert results(out) == results(whole)
    assert table(out / "worklist.csv") == table(whole / "worklist.csv")
    assert not (out / "unstored.jsonl").exists()


def test_help_tells_of_the_variable_and_not_what_is_in_it(postgres: PostgresServer, database: Server) -> None:
    for command in ("screen", "serve"):
        shown = cxrlens(command, "--help").out
        assert "CXRLENS_DATABASE" in shown
        assert PASSWORD not in shown


def test_screening_json_names_the_database_without_its_user(
    folder: Path, model: Path, database: Server, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert cxrlens("screen", "-m", model, "-o", out, *FAST, folder).code == 0
    known = json.loads((out / "screening.json").read_text())["database"]
    assert known["place"] == database.place
    assert "tester" not in (out / "screening.json").read_text()
    assert known["screening"] not in (out / "report.html").read_text()
