"""The table of a screening, and the reasons in it."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from cxrlens.files import to_csv
from cxrlens.inspection.result import reason_of
from cxrlens.models.card import ModelCard
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store.store import Store
from cxrlens.screening.worklist import COLUMNS, row, write_worklist

KEY = "0" * 64


def test_newest_results_sorted_by_probability(tmp_path: Path) -> None:
    folder = ScreenedFolder(tmp_path)
    store = Store(folder)
    store.add(
        [
            ScreenedImage(name="bad.jpg", status="unreadable", reason="the file is empty"),
            ScreenedImage(name="c.jpg", key=KEY, probability=0.9, decision="affected", triage="retake"),
            ScreenedImage(name="b.jpg", key=KEY, probability=0.9, decision="affected", triage="retake"),
            ScreenedImage(name="a.jpg", key=KEY, probability=0.2, decision="normal", triage="pass"),
            ScreenedImage(name="d.jpg", key=KEY, probability=0.5, decision="normal", triage="review"),
        ]
    )
    store.add(
        [ScreenedImage(name="a.jpg", key=KEY, probability=0.95, decision="affected", triage="retake", peak=(3, 40))]
    )
    worklist = write_worklist(store, Path("/in"), keep_tags=())
    lines = folder.worklist_file.read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert [line.split(",")[0] for line in lines[1:]] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "bad.jpg"]
    assert ",40,3," in lines[1]  # x before y
    assert worklist.counts.as_dict() == {
        "images": 5, "retake": 3, "review": 1, "pass": 0, "affected": 3, "normal": 1,
        "not_assessable": 0, "unreadable": 1, "remarked": 0,
    }  # fmt: skip
    assert (tmp_path / "unreadable.txt").read_text() == "/in/bad.jpg: the file is empty\n"
    store.add([ScreenedImage(name="bad.jpg", key=KEY, probability=0.1, decision="normal", triage="pass")])
    write_worklist(store, Path("/in"), keep_tags=())
    assert not (tmp_path / "unreadable.txt").exists()


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=cmd|'/c calc'!A1.jpg", "./=cmd|'/c calc'!A1.jpg"),
        ("-rf.jpg", "./-rf.jpg"),
        ("@sum.jpg", "./@sum.jpg"),
        ("\tx.jpg", "./\tx.jpg"),
        ("＝x.jpg", "./＝x.jpg"),
        ("a=b.jpg", "a=b.jpg"),
        ("/in/=a.jpg", "/in/=a.jpg"),
    ],
)
def test_no_name_is_a_formula_and_all_are_paths(name: str, cell: str) -> None:
    text = to_csv(("name",), [row(ScreenedImage(name=name))], paths=("name",))
    assert list(csv.reader(io.StringIO(text, newline="")))[1] == [cell]
    assert Path("/in") / cell == Path("/in") / name


def test_no_other_text_is_a_formula() -> None:
    tags = {"station": "=1+1", "view": "PA"}
    cells = row(ScreenedImage(name="a", reason="@x", origin="DICOM DX", tags=tags))
    columns = ("name", "reason", "station", "view")
    assert to_csv(columns, [cells]) == "name,reason,station,view\na,'@x,'=1+1,PA\n"


def card(threshold: float, review: float | None) -> ModelCard:
    calibration = None if review is None else SimpleNamespace(review_threshold=review)
    return ModelCard.model_construct(threshold=threshold, calibration=calibration)


def test_a_folder_that_can_be_searched_again_has_no_row(tmp_path: Path) -> None:
    folder = ScreenedFolder(tmp_path / "out")
    folder.path.mkdir()
    store = Store(folder)
    store.add([ScreenedImage(name=name, status="unreadable", reason="may not be entered") for name in ("sub", "x")])
    assert write_worklist(store, tmp_path, keep_tags=()).counts.unreadable == 2
    (tmp_path / "sub").mkdir()
    assert write_worklist(store, tmp_path, keep_tags=()).counts.unreadable == 1
    assert (folder.path / "unreadable.txt").read_text().startswith(f"{tmp_path}/x: ")


@pytest.mark.parametrize(
    ("threshold", "review", "probability", "reason"),
    [
        (0.62, 0.3, 0.9964, "probability 0.996 is at or above the retake threshold 0.62"),
        (0.62, 0.3, 0.99996, "probability 0.99996 is at or above the retake threshold 0.62"),
        (0.62, 0.3, 1.0, "probability 1 is at or above the retake threshold 0.62"),
        (0.62, 0.3, 0.00002, "probability 0.00002 is below the review threshold 0.3"),
        (0.62, 0.3, 0.93, "probability 0.93 is at or above the retake threshold 0.62"),
        (0.62, 0.3, 0.62, "probability 0.62 is at or above the retake threshold 0.62"),
        (0.62, 0.3, 0.6199, "probability 0.6199 is below the retake threshold 0.62, but at or above the review "
                            "threshold 0.3"),
        (0.62, 0.3, 0.1, "probability 0.1 is below the review threshold 0.3"),
        (0.62, 0.62, 0.1, "probability 0.1 is below the retake threshold 0.62"),
        (0.5, None, 0.7, "probability 0.7 is at or above the threshold 0.5"),
        (0.5, None, 0.4999999, "probability 0.4999999 is below the threshold 0.5"),
    ],
)  # fmt: skip
def test_reasons(threshold: float, review: float | None, probability: float, reason: str) -> None:
    assert reason_of(card(threshold, review), probability) == reason
