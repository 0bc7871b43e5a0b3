"""Many screened folders read together: each content once, models apart, days, and what is said of odd folders."""

from __future__ import annotations

import csv
import json
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from screened_months import calibrated, image, key_of, probabilities, screened, unreadable

from cxrlens.analysis.images import Days, Found, read_folders
from cxrlens.analysis.run import AnalysisResult, AnalysisSettings, analyse, check_out
from cxrlens.analysis.tables import TABLES
from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.outputs import LOCK
from cxrlens.report.tables import Score
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store.postgresql import reached
from postgresql import PostgresServer

OTHER = {"model": "other", "model_sha256": "e" * 64}


def run(out: Path, *folders: Path, **settings: object) -> AnalysisResult:
    out.mkdir()
    return analyse(list(folders), out, AnalysisSettings(**settings))  # type: ignore[arg-type]


def rows(out: Path, table: str) -> list[dict[str, str]]:
    with (out / "tables" / f"{table}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_each_content_counts_once(tmp_path: Path) -> None:
    """The result of the folder screened last counts; tags and verdicts of all are put together."""
    first = screened(
        tmp_path / "first",
        [image("a", 0.9, station="XR1"), image("b", 0.2), image("copy of b", 0.2, content="b", date="2026-01-05")],
        {"a": "retake", "b": "retake"},
        created="2026-01-01T00:00:00+00:00",
    )
    second = screened(
        tmp_path / "second",
        [image("again a", 0.3, content="a"), image("c", 0.6), unreadable("d"), unreadable("e")],
        {"again a": "accept"},
        created="2026-02-01T00:00:00+00:00",
    )
    for order in ([first, second], [second, first, second]):
        found = read_folders(order)
        (model,) = found.models
        assert sorted(each.suggestion for each in model.images) == [
            "retake", "review", "review", "unreadable", "unreadable"
        ]  # fmt: skip
        (a,) = [each for each in model.images if each.probability == 0.3]
        assert dict(a.tags) == {"station": "XR1"}
        assert [kept.verdict for kept in a.verdicts] == ["accept"]  # the later one of the same reader
        (b,) = [each for each in model.images if each.probability == 0.2]
        assert (b.day, b.is_retaken) == (date(2026, 1, 5), True)
        assert (found.copies, found.replaced) == (2, 1)


def test_models_are_kept_apart(tmp_path: Path) -> None:
    """An image that two models have seen counts for each; its verdict does too."""
    one = screened(tmp_path / "one", [image("a", 0.9), image("b", 0.2), image("c", 0.2)], {"a": "retake"})
    two = screened(tmp_path / "two", [image("a", 0.1)], **OTHER)
    result = run(tmp_path / "out", one, two)
    assert [(len(model.model.images), model.model.info.model) for model in result.models] == [(3, "m"), (1, "other")]
    assert [model.rates.retaken.hits for model in result.models] == [1, 1]
    assert result.found.copies == 0
    assert any("screened with 2 models" in note for note in result.notes)
    table = rows(tmp_path / "out", "suggestions-and-verdicts")
    assert [(row["model"], row["suggestion"]) for row in table] == [
        ("m (dddddddd)", "retake"),
        ("m (dddddddd)", "review"),
        ("other (eeeeeeee)", "review"),
    ]
    page = (tmp_path / "out" / "analysis.html").read_text("utf-8")
    assert "m (dddddddd)" in page
    assert "other (eeeeeeee)" in page


def a_year(folder: Path, rng: np.random.Generator, *, shifted: bool = False) -> list[Path]:
    """A folder a quarter, with 60 images a month of two stations; in the last two months scores are higher."""
    calibration, paths = calibrated(rng), []
    for quarter in range(1, 5):
        images, verdicts = list[ScreenedImage](), dict[str, str]()
        for month in range(3 * quarter - 2, 3 * quarter + 1):
            found = probabilities(rng, 60, 0.1, 3.0 if shifted and month > 10 else 0.0)
            for number, probability in enumerate(found):
                day, station = f"2026-{month:02}-{1 + number % 28:02}", f"XR{number % 2}"
                name = f"{month}-{number}"
                images.append(image(name, probability, date=day, station=station, view="PA"))
                if number < 30:
                    verdicts[name] = "retake" if probability > 0.6 else "accept"
        path = folder / f"{quarter}"
        paths.append(screened(path, images, verdicts, calibration=calibration, model_sha256="f" * 64))
    return paths


def test_a_year_without_a_change(tmp_path: Path) -> None:
    result = run(tmp_path / "out", *a_year(tmp_path / "in", np.random.default_rng(1)), period="month")
    assert (result.has_drift, result.has_signals, result.warnings) == (False, False, [])
    (model,) = result.models
    chart = model.charts["suggested"]
    assert chart is not None
    assert [point.period for point in chart.points] == [f"2026-{month:02}" for month in range(1, 13)]
    assert sum(point.images for point in chart.points) == 720
    assert [test.name for test in model.drift if not isinstance(test, str)][:2] == ["all images", "2026-01"]
    written = {path.relative_to(tmp_path / "out").as_posix() for path in result.files}
    assert written >= {
        "analysis.html", "tables/rate-by-station.csv", "tables/rate-by-view.csv", "tables/rate-by-month.csv",
        "tables/control-chart-suggested.csv", "tables/drift.csv", "tables/agreement.csv", "figures/drift.svg",
        "figures/scores.svg", "figures/control-chart-suggested.svg",
    }  # fmt: skip
    assert {Path(name).stem for name in written if name.startswith("tables")} <= set(TABLES)
    stations = rows(tmp_path / "out", "rate-by-station")
    assert [(row["group"], row["images"]) for row in stations] == [("XR0", "360"), ("XR1", "360")]
    assert json.loads(json.dumps(result.to_dict(), default=str))["models"][0]["images"] == 720


def test_a_year_in_which_scores_rise(tmp_path: Path) -> None:
    folders = a_year(tmp_path / "in", np.random.default_rng(1), shifted=True)
    result = run(tmp_path / "out", *folders, period="month", baseline=date(2026, 10, 31))
    assert (result.has_drift, result.has_signals) == (True, True)
    (model,) = result.models
    assert {"2026-11", "2026-12"} <= {test.name for test in model.alarms}
    assert {point.period for chart in model.charts.values() if chart for point in chart.signals} >= {
        "2026-11",
        "2026-12",
    }
    assert any("scores are higher than" in said and "2026-11, 2026-12" in said for said in result.warnings)
    assert any("Signal" in said and "2026-12" in said for said in result.warnings)


def test_days_that_are_asked_for(tmp_path: Path) -> None:
    folder = screened(
        tmp_path / "in",
        [image(str(day), 0.2, date=f"2026-01-{day:02}") for day in range(1, 11)] + [image("undated", 0.2)],
    )
    found = read_folders([folder], days=Days(date(2026, 1, 3), date(2026, 1, 5)))
    assert (len(found.models[0].images), found.without_day, found.out_of_range) == (3, 1, 7)
    result = run(tmp_path / "out", folder, days=Days(first=date(2026, 1, 9)))
    assert result.models[0].rates.images == 2
    assert any("8 images of other days" in note and "1 image of which" in note for note in result.notes)
    with pytest.raises(NothingToDoError, match="none of the 11 images"):
        analyse([folder], tmp_path / "out", AnalysisSettings(days=Days(last=date(2025, 1, 1))))


def test_without_days_and_without_a_reference(tmp_path: Path) -> None:
    folder = screened(tmp_path / "in", [image("a", 0.9), image("b", None)])
    result = run(tmp_path / "out", folder)
    page = (tmp_path / "out" / "analysis.html").read_text("utf-8")
    assert "screen with --keep-tags date" in page
    assert "name the model file" in page
    assert list(result.models[0].charts.values()) == [None, None]
    for needed, words in (("needs_drift", "drift cannot be told"), ("needs_charts", "no control chart")):
        with pytest.raises(UsageError, match=words):
            analyse([folder], tmp_path / "out", AnalysisSettings(), **{needed: True})


def test_a_calibration_of_an_earlier_version_keeps_no_scores(tmp_path: Path) -> None:
    calibration = calibrated(np.random.default_rng(0), scores=None)
    result = run(tmp_path / "out", screened(tmp_path / "in", [image("a", 0.9)], calibration=calibration))
    assert "did not keep the scores" in str(result.models[0].drift)


def test_odd_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no screened folder"):
        read_folders([tmp_path])
    empty = screened(tmp_path / "empty", [])
    with pytest.raises(NothingToDoError, match="hold no results yet"):
        analyse([empty], tmp_path / "out", AnalysisSettings())
    ScreenedFolder(empty).calibration_file.write_text("{}")
    with pytest.raises(UsageError, match=r"calibration\.json: cannot be read"):
        read_folders([empty])
    with pytest.raises(UsageError, match="is a screened folder"):
        check_out([], empty)


def test_folders_at_work_and_with_results_to_come(tmp_path: Path) -> None:
    folder = screened(tmp_path / "in", [image("a", 0.9)])
    ScreenedFolder(folder).unstored_file.write_text("")
    with FileLock(folder / LOCK):
        result = run(tmp_path / "out", folder)
    assert [f"{folder} is being screened" in note for note in result.notes] == [True, False]
    assert "unstored.jsonl" in result.notes[1]
    quiet = read_folders([folder])
    assert quiet.at_work == Found().at_work


def test_a_folder_of_a_version_without_a_store(tmp_path: Path) -> None:
    """It is taken over as `screen` and `serve` do, with its verdicts."""
    made = Path(__file__).parents[1] / "screening" / "format1"
    folder = ScreenedFolder(tmp_path / "old")
    folder.path.mkdir()
    for name in ("screening.json", "results.jsonl"):
        shutil.copy(made / name, folder.path / name)
    shutil.copy(made / "committed", folder.committed_file)
    (model,) = read_folders([folder.path]).models
    assert len(model.images) > 1
    assert folder.store_file.exists()


def test_folders_with_reviews_in_a_database(postgres: PostgresServer, tmp_path: Path) -> None:
    """One in a database, one in its own file; the latter stays there."""
    server = reached(postgres.address())
    shared = screened(tmp_path / "shared", [image("a", 0.9)], {"a": "retake"}, server=server)
    own = screened(tmp_path / "own", [image("b", 0.2)])
    (model,) = read_folders([shared, own], server).models
    assert sorted(each.is_retaken for each in model.images) == [False, True]
    assert ScreenedFolder(own).database() is None
    with pytest.raises(UsageError, match="its reviews are in the database"):
        read_folders([shared, own])


def test_an_analysis_again_leaves_no_table_of_the_one_before(tmp_path: Path) -> None:
    with_station = screened(tmp_path / "a", [image("a", 0.9, station="XR1")])
    without = screened(tmp_path / "b", [image("a", 0.9)])
    run(tmp_path / "out", with_station)
    assert rows(tmp_path / "out", "rate-by-station")
    analyse([without], tmp_path / "out", AnalysisSettings())
    assert not (tmp_path / "out" / "tables" / "rate-by-station.csv").exists()
    (tmp_path / "out" / "tables" / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match=r"mine\.txt: was not written by cxrlens"):
        analyse([without], tmp_path / "out", AnalysisSettings())


def test_names_of_stations_are_no_formulas_and_no_markup(tmp_path: Path) -> None:
    run(tmp_path / "out", screened(tmp_path / "in", [image("a", 0.9, station="=<b>1</b>")]))
    assert rows(tmp_path / "out", "rate-by-station")[0]["group"] == "'=<b>1</b>"
    page = (tmp_path / "out" / "analysis.html").read_text("utf-8")
    assert "<b>1</b>" not in page
    assert key_of("a") not in page


def test_scores_of_tables_are_in_per_cent(tmp_path: Path) -> None:
    run(
        tmp_path / "out",
        screened(tmp_path / "in", [image(str(n), 0.9 if n < 3 else 0.2, view="PA") for n in range(40)]),
    )
    (row,) = rows(tmp_path / "out", "rate-by-view")
    assert (row["suggested_percent"], row["suggested_percent_n"]) == ("7.5", "40")
    assert Score(7.5, 1.6, 20.4, 40).text(2) == "7.50 (1.6 to 20.4)"
