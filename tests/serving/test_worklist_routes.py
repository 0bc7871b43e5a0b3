"""The worklist of a screened folder and its verdicts, over HTTP."""

from __future__ import annotations

import csv
import io
import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from serving_files import NAMES, OTHER_MODEL, PATIENT, PATIENT_ID, add_results, asking, key_of, running, screened

from cxrlens.errors import UsageError
from cxrlens.inputs.names import name_of, text_of
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.screening.exporting import verdicts_csv
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store.store import Store
from cxrlens.screening.store.verdicts import StaleVerdictError
from cxrlens.serving.app import create_app
from cxrlens.serving.review import Review
from cxrlens.serving.settings import ServerSettings


@pytest.fixture
def own(served_model: QualityModel, tmp_path: Path) -> Iterator[tuple[httpx.Client, ScreenedFolder]]:
    """A server of a folder of its own, that another model has screened."""
    folder = screened(tmp_path / "screened", root=str(tmp_path / "archive"))
    app = create_app(ServerSettings(), served_model, folder.path)
    with running(app) as url, asking(url) as client:
        yield client, folder


def give(client: httpx.Client, number: int, verdict: str) -> httpx.Response:
    return client.post("/api/verdicts", json={"key": key_of(number), "verdict": verdict})


def test_the_most_probable_come_first_and_what_could_not_be_read_last(client: httpx.Client) -> None:
    answer = client.get("/api/worklist").json()
    assert [image["name"] for image in answer["images"]] == [NAMES[1], NAMES[3], NAMES[2], NAMES[0], NAMES[4], NAMES[5]]
    assert (answer["total"], answer["shown"], answer["unreadable"]) == (6, 6, 2)
    assert (answer["same_model"], answer["remark"], answer["threshold"]) == (True, "", 0.5)
    first = answer["images"][0]
    assert (first["probability"], first["decision"], first["verdict"]) == (0.9, "affected", "none")
    assert first["peak"] == [3, 90]
    assert first["contours"] == [[[80.5, 1.5], [100.0, 2.0], [95.0, 9.0], [80.5, 1.5]]]


def test_parts_and_filters(client: httpx.Client) -> None:
    names = [image["name"] for image in client.get("/api/worklist").json()["images"]]
    part = client.get("/api/worklist", params={"offset": 1, "limit": 2}).json()
    assert [image["name"] for image in part["images"]] == names[1:3]
    assert (part["total"], part["shown"], part["offset"]) == (6, 6, 1)
    assert client.get("/api/worklist", params={"offset": 100}).json()["images"] == []
    for show, count in (("affected", 3), ("unreadable", 2), ("open", 4), ("decided", 0), ("all", 6)):
        found = client.get("/api/worklist", params={"show": show}).json()
        assert (found["shown"], found["total"]) == (count, 6)
    assert client.get("/api/worklist", params={"limit": 0}).status_code == 422
    assert client.get("/api/worklist", params={"show": "some"}).status_code == 422


def test_pictures_and_maps_are_the_folder_s(client: httpx.Client, folder: Path) -> None:
    image = client.get("/api/worklist").json()["images"][0]
    picture, map_ = client.get(image["picture"]), client.get(image["map"])
    assert picture.content == (folder / "pictures" / f"{image['key']}.jpg").read_bytes()
    assert map_.content == (folder / "maps" / f"{image['key']}.png").read_bytes()
    assert (picture.headers["content-type"], map_.headers["content-type"]) == ("image/jpeg", "image/png")
    unread = next(image for image in client.get("/api/worklist").json()["images"] if image["status"] != "ok")
    assert unread["picture"] == unread["map"] == ""


@pytest.mark.parametrize("key", [key_of(99), key_of(3), "0" * 63, "..%2f..%2fscreening.json", "%00", "A" * 64])
def test_other_keys_have_no_picture(client: httpx.Client, key: str) -> None:
    for what in ("picture", "map"):
        assert client.get(f"/api/worklist/{key}/{what}").status_code in (404, 422)


def test_no_patient_data_of_the_folder_is_answered(client: httpx.Client) -> None:
    for address in ("/api/worklist", "/api/verdicts", "/api/verdicts.csv", "/api/audit", "/metrics"):
        text = client.get(address).text
        assert PATIENT not in text
        assert PATIENT_ID not in text


def test_a_verdict_says_what_it_replaced(own: tuple[httpx.Client, ScreenedFolder]) -> None:
    client, _ = own
    steps = [
        ("retake", "none", True),
        ("accept", "retake", True),
        ("accept", "accept", False),
        ("none", "accept", True),
    ]
    ids = []
    for verdict, replaced, changed in steps:
        answer = give(client, 1, verdict).json()
        assert (answer["verdict"], answer["replaced"], answer["changed"]) == (verdict, replaced, changed)
        assert answer["name"] == NAMES[1]
        ids.append(answer["id"])
    assert ids == [1, 2, 2, 3]
    audit = client.get("/api/audit").json()
    assert [(entry["verdict"], entry["replaced"]) for entry in audit["entries"]] == [
        ("retake", "none"), ("accept", "retake"), ("none", "accept")
    ]  # fmt: skip
    assert audit["total"] == 3
    assert {entry["model_sha256"] for entry in audit["entries"]} == {OTHER_MODEL}
    assert [entry["id"] for entry in client.get("/api/audit", params={"after": 1, "limit": 1}).json()["entries"]] == [2]
    assert client.get("/api/verdicts").json() == {"verdicts": []}


def test_a_verdict_that_another_reader_has_given_meanwhile_stands(own: tuple[httpx.Client, ScreenedFolder]) -> None:
    client, folder = own

    def post(verdict: str, seen: str | None) -> httpx.Response:
        return client.post("/api/verdicts", json={"key": key_of(1), "verdict": verdict, "seen": seen})

    assert post("retake", "none").status_code == 200
    refused = post("accept", "none")  # this reader's page still shows none
    assert refused.status_code == 409
    assert refused.json()["detail"].startswith(f"{NAMES[1]}: another reader has given the verdict 'retake' at 20")
    assert post("none", "accept").status_code == 409
    assert [kept["verdict"] for kept in client.get("/api/verdicts").json()["verdicts"]] == ["retake"]
    again = post("retake", "none")  # the same, or a request that is repeated because its answer was lost
    assert (again.status_code, again.json()["changed"]) == (200, False)
    assert post("accept", "retake").json()["replaced"] == "retake"
    assert post("none", None).json()["replaced"] == "accept"  # who says nothing of what was seen replaces it
    withdrawn = post("retake", "accept")
    assert (withdrawn.status_code, "has withdrawn the verdict" in withdrawn.json()["detail"]) == (409, True)
    assert client.get("/api/audit").json()["total"] == 3
    with Store(folder) as store, ThreadPoolExecutor(8) as pool:

        def race(number: int) -> str:
            try:
                store.verdicts.give(key_of(1), ("accept", "retake")[number % 2], lambda: "0" * 64, "none")
            except StaleVerdictError as error:
                return error.standing
            return ""

        found = [*pool.map(race, range(16))]
    (standing,) = [kept["verdict"] for kept in client.get("/api/verdicts").json()["verdicts"]]
    assert sorted(found) == [*[""] * 8, *[standing] * 8]  # all who said the other thing were told


def test_verdicts_stand_in_the_list_and_in_the_csv(own: tuple[httpx.Client, ScreenedFolder], tmp_path: Path) -> None:
    client, _ = own
    give(client, 0, "retake")
    give(client, 1, "retake")
    give(client, 2, "accept")
    give(client, 0, "none")
    listed = {image["name"]: image["verdict"] for image in client.get("/api/worklist").json()["images"]}
    assert listed == dict(zip(NAMES, ("none", "retake", "accept", "accept", "none", "none"), strict=True))
    assert client.get("/api/worklist").json()["decided"] == 3
    assert client.get("/api/worklist", params={"show": "open"}).json()["shown"] == 1
    assert [kept["key"] for kept in client.get("/api/verdicts").json()["verdicts"]] == [key_of(1), key_of(2)]
    response = client.get("/api/verdicts.csv")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.text.splitlines()[0] == "path,label,verdict,name,key,probability,time,reader,reason,comment,marks"
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert [(row["name"], row["label"], row["verdict"], row["key"], row["probability"]) for row in rows] == [
        (NAMES[1], "affected", "retake", key_of(1), "0.9"),
        (NAMES[3], "normal", "accept", key_of(2), "0.625"),
        (NAMES[2], "normal", "accept", key_of(2), "0.625"),
    ]
    assert [row["path"] for row in rows] == [str(tmp_path / "archive" / row["name"]) for row in rows]


def test_verdicts_outlive_the_server_and_their_image(served_model: QualityModel, tmp_path: Path) -> None:
    folder = screened(tmp_path / "screened")
    app = create_app(ServerSettings(), served_model, folder.path)
    with running(app) as url, asking(url) as client:
        give(client, 0, "accept")
    with Store(folder) as store:
        images = [image for image in store.results.newest() if image.key != key_of(0)]
        store.results.clear()
        store.add(images)
    review = Review(folder.path, "model", OTHER_MODEL)
    rows = list(csv.DictReader(io.StringIO(verdicts_csv(review.store).content.decode())))
    assert [(row["name"], row["path"]) for row in rows] == [(NAMES[0], str(Path("/archive", NAMES[0])))]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"key": key_of(77), "verdict": "accept"}, 404),
        ({"key": "", "verdict": "accept"}, 422),
        ({"key": key_of(0), "verdict": "maybe"}, 422),
        ({"key": key_of(0), "verdict": "accept", "by": "me"}, 422),
        ({"key": key_of(0)}, 422),
        ([], 422),
    ],
)
def test_verdicts_that_are_none(client: httpx.Client, body: object, status: int) -> None:
    response = client.post("/api/verdicts", json=body)
    assert response.status_code == status
    assert response.json().keys() == {"detail"}
    assert client.get("/api/audit").json()["total"] == 0


def test_new_results_are_listed_while_screening_goes_on(own: tuple[httpx.Client, ScreenedFolder]) -> None:
    client, folder = own
    assert client.get("/api/worklist").json()["total"] == 6
    add_results(folder, ScreenedImage(name="new.png", key=key_of(50), probability=0.99, decision="affected"))
    answer = client.get("/api/worklist").json()
    assert (answer["total"], answer["images"][0]["name"]) == (7, "new.png")


def test_results_that_are_damaged_are_said(own: tuple[httpx.Client, ScreenedFolder]) -> None:
    client, folder = own
    folder.store_file.unlink()
    folder.store_file.write_bytes(b"no database")
    response = client.get("/api/worklist")
    assert response.status_code == 503
    assert "store.sqlite: cannot be read or written" in response.json()["detail"]
    assert client.get("/health").status_code == 200


def test_a_damaged_result_in_the_store_is_said(own: tuple[httpx.Client, ScreenedFolder]) -> None:
    client, folder = own
    with closing(sqlite3.connect(folder.store_file)) as connection:
        connection.execute("UPDATE results SET record = replace(record, ?, ?)", (key_of(1), "../../etc/passwd"))
        connection.commit()
    response = client.get("/api/worklist")
    assert response.status_code == 503
    assert "holds a damaged result (key should be text of the form " in response.json()["detail"]


def test_what_is_done_to_the_export_does_not_matter(own: tuple[httpx.Client, ScreenedFolder]) -> None:
    client, folder = own
    before = client.get("/api/worklist").json()
    folder.results_file.write_bytes(b"{}\n")
    assert client.get("/api/worklist").json() == before
    folder.results_file.unlink()
    assert client.get("/api/worklist").json() == before


def test_another_model_is_said(own: tuple[httpx.Client, ScreenedFolder]) -> None:
    client, _ = own
    answer = client.get("/api/worklist").json()
    assert answer["same_model"] is False
    assert "model-a.safetensors" in answer["remark"]


def test_a_server_without_a_folder_says_so(served_model: QualityModel) -> None:
    with running(create_app(ServerSettings(), served_model)) as url, asking(url) as client:
        for address in ("/api/worklist", "/api/verdicts", "/api/verdicts.csv", "/api/audit"):
            response = client.get(address)
            assert response.status_code == 404
            assert "cxrlens serve" in response.json()["detail"]
        assert give(client, 0, "accept").status_code == 404


def test_a_folder_that_was_not_screened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no screened folder"):
        Review(tmp_path, "model", OTHER_MODEL)


def test_a_path_that_is_no_text_comes_back_in_the_csv(tmp_path: Path) -> None:
    folder = screened(tmp_path / "screened", root=str(tmp_path))
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    add_results(folder, ScreenedImage(name=name_of(path, tmp_path), key=key_of(60), probability=0.5))
    review = Review(folder.path, "model", OTHER_MODEL)
    assert review.give(key_of(60), "accept")
    assert os.fsencode(path) + b",normal,accept," in verdicts_csv(review.store).content


def test_no_name_is_a_formula_in_a_spreadsheet(tmp_path: Path) -> None:
    folder = screened(tmp_path / "screened", root="/archive")
    add_results(folder, ScreenedImage(name="=1+1.png", key=key_of(60), probability=0.5))
    review = Review(folder.path, "model", OTHER_MODEL)
    assert review.give(key_of(60), "accept")
    [row] = csv.DictReader(io.StringIO(verdicts_csv(review.store).content.decode()))
    assert (row["name"], row["path"]) == ("./=1+1.png", str(Path("/archive/=1+1.png")))


def test_a_folder_that_is_screened_anew_has_its_new_model(tmp_path: Path) -> None:
    """The audit log cannot be corrected later."""
    review = Review(screened(tmp_path / "screened").path, "model", OTHER_MODEL)
    assert (review.part().same_model, review.remark()) == (True, "")
    screened(tmp_path / "screened", model_sha256="e" * 64, root="/elsewhere")
    assert review.give(key_of(0), "accept")
    assert review.store.verdicts.audit()[1][0].model_sha256 == "e" * 64
    assert "another model than model" in review.part().remark
    assert b"/elsewhere/" in verdicts_csv(review.store).content


def test_a_root_that_is_no_text_is_that_of_the_paths(tmp_path: Path) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder = screened(tmp_path / "screened", root=text_of(root))
    review = Review(folder.path, "model", OTHER_MODEL)
    assert review.give(key_of(0), "accept")
    assert os.fsencode(root / NAMES[0]) in verdicts_csv(review.store).content
