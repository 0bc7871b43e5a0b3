"""Readers by name, reasons, comments, drawn objects, blind reading and agreement, over HTTP."""

from __future__ import annotations

import csv
import hashlib
import io
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving_files import NAMES, asking, key_of, running, screened

from cxrlens.errors import UsageError
from cxrlens.inputs.annotations.shapes import Polygon, Rectangle
from cxrlens.inputs.annotations.table import read_annotations
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.reasons import DEFAULT_REASONS
from cxrlens.screening.store.postgresql import Server
from cxrlens.serving.app import create_app
from cxrlens.serving.readers import Reader, read_readers
from cxrlens.serving.settings import ServerSettings

TOKENS = {name: f"a-token-of-{name}-0123" for name in ("Anna", "Ben", "Cleo")}
SETTINGS = ServerSettings(
    readers=tuple(Reader(name, hashlib.sha256(token.encode()).hexdigest()) for name, token in TOKENS.items())
)
BOX = {"kind": "box", "points": [[100.5, 20], [80, 140.25]]}
OUTLINE = {"kind": "outline", "points": [[10, 100], [40, 100], [25, 140]]}
Served = Callable[..., dict[str, httpx.Client]]


@pytest.fixture
def folder(tmp_path: Path) -> ScreenedFolder:
    return screened(tmp_path / "screened", root=str(tmp_path / "archive"))


@pytest.fixture
def served(served_model: QualityModel, folder: ScreenedFolder) -> Iterator[Served]:
    """Serves the folder; gives a client of each reader."""
    with ExitStack() as stack:

        def serve(settings: ServerSettings = SETTINGS, server: Server | None = None) -> dict[str, httpx.Client]:
            url = stack.enter_context(running(create_app(settings, served_model, folder.path, server)))
            headers = {name: {"Authorization": f"Bearer {token}"} for name, token in TOKENS.items()}
            headers = headers if settings.readers else {"": {}}
            return {name: stack.enter_context(asking(url, headers=header)) for name, header in headers.items()}

        yield serve


def give(client: httpx.Client, number: int, verdict: str, **grounds: Any) -> httpx.Response:
    return client.post("/api/verdicts", json={"key": key_of(number), "verdict": verdict, **grounds})


def rows(client: httpx.Client, address: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(client.get(address).text, newline="")))


def labels(client: httpx.Client) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in rows(client, "/api/verdicts.csv"):
        found.setdefault(row["name"], set()).add(row["label"])
    return found


def shown(client: httpx.Client, show: str) -> list[str]:
    return [image["name"] for image in client.get("/api/worklist", params={"show": show}).json()["images"]]


def test_each_reader_is_known_by_their_token(served: Served) -> None:
    clients = served()
    for name, client in clients.items():
        assert client.get("/api/review").json()["reader"] == name
    anna, ben = clients["Anna"], clients["Ben"]
    assert anna.get("/api/review", headers={"Authorization": f"Bearer {TOKENS['Anna']}x"}).status_code == 401
    assert give(anna, 1, "retake", reason="motion", comment="<b>blurred</b>").json()["reader"] == "Anna"
    assert give(ben, 1, "accept", seen="none").status_code == 200  # hers is left alone
    entries = ben.get("/api/audit").json()["entries"]
    assert [(entry["reader"], entry["verdict"], entry["reason"], entry["comment"]) for entry in entries] == [
        ("Anna", "retake", "motion", "<b>blurred</b>"), ("Ben", "accept", "", "")
    ]  # fmt: skip
    browser = {"Cookie": f"cxrlens_token={TOKENS['Anna']}"}
    with asking(str(anna.base_url), headers=browser) as shared:  # Ben comes to a browser that Anna has used
        opened = shared.get("/", params={"token": TOKENS["Ben"]})
        assert (opened.status_code, TOKENS["Ben"] in opened.headers["set-cookie"]) == (303, True)
    assert [TOKENS[name] in anna.get("/api/openapi.json").text for name in TOKENS] == [False] * 3


def test_a_conflict_stands_until_a_third_reader_decides(served: Served, server: Server | None) -> None:
    anna, ben, cleo = served(server=server).values()
    give(anna, 1, "retake", reason="foreign_object")
    give(anna, 0, "accept")
    give(ben, 0, "accept")
    assert (shown(anna, "conflicts"), labels(anna)) == ([], {NAMES[1]: {"affected"}, NAMES[0]: {"normal"}})
    give(ben, 1, "accept")
    for client in (anna, ben, cleo):
        assert shown(client, "conflicts") == [NAMES[1]]
        assert labels(client) == {NAMES[1]: {""}, NAMES[0]: {"normal"}}
    listed = {image["name"]: image for image in anna.get("/api/worklist").json()["images"]}
    assert (listed[NAMES[1]]["verdict"], listed[NAMES[1]]["conflict"], listed[NAMES[0]]["conflict"]) == (
        "retake", True, False
    )  # fmt: skip
    assert cleo.get("/api/worklist").json() | {"images": []} == anna.get("/api/worklist").json() | {
        "images": [], "decided": 0
    }  # fmt: skip
    assert [row["reader"] for row in rows(cleo, "/api/verdicts.csv")] == ["Anna", "Ben", "Anna", "Ben"]
    give(cleo, 1, "retake", reason="foreign_object")
    assert (shown(anna, "conflicts"), labels(anna)[NAMES[1]]) == ([], {"affected"})
    give(cleo, 1, "retake", reason="positioning")  # whether there is an object is open again
    assert labels(anna)[NAMES[1]] == {""}
    standing = cleo.get("/api/verdicts", params={"key": key_of(1)}).json()["verdicts"]
    assert [(kept["reader"], kept["verdict"]) for kept in standing] == [
        ("Anna", "retake"), ("Ben", "accept"), ("Cleo", "retake")
    ]  # fmt: skip


def test_a_blind_reader_sees_others_only_on_what_they_have_judged(served: Served, server: Server | None) -> None:
    anna, ben, _ = served(replace(SETTINGS, blind=True), server).values()
    give(anna, 1, "retake", reason="foreign_object", marks=[BOX])
    give(anna, 0, "accept", comment="secret")

    def seen(client: httpx.Client) -> set[str]:
        answers = [client.get(f"/api/{name}").json() for name in ("verdicts", "audit")]
        found = {entry["reader"] for entry in (*answers[0]["verdicts"], *answers[1]["entries"])}
        texts = [client.get(f"/api/{name}").text for name in ("verdicts.csv", "objects.csv", "worklist")]
        return found | {name for name in TOKENS if name in "".join(texts)}

    assert ben.get("/api/review").json()["blind"] is True
    assert seen(ben) == set()
    assert rows(ben, "/api/objects.csv") == []
    assert ben.get("/api/audit").json()["total"] == 0
    give(ben, 1, "accept")
    assert seen(ben) == {"Anna", "Ben"}
    assert shown(ben, "conflicts") == [NAMES[1]]
    assert "secret" not in ben.get("/api/verdicts").text + ben.get("/api/audit").text
    give(ben, 1, "none")
    assert seen(ben) == {"Ben"}
    assert ben.get("/api/news").json()["entry"] == anna.get("/api/news").json()["entry"] == 4


UNFIT: list[tuple[str, dict[str, Any], str]] = [
    ("retake", {"reason": "dirt"}, "the reason is none of this folder's, which are foreign_object, positioning"),
    ("accept", {"reason": "motion"}, "a reason goes with a retake alone"),
    ("none", {"comment": "x"}, "a verdict is withdrawn without a reason"),
    ("retake", {"comment": "x" * 1001}, "comment should be text of 1000 or fewer characters"),
    ("retake", {"comment": "a\0b"}, "comment: holds the sign of number 0, which is no text; leave it out"),
    ("retake", {"marks": [BOX] * 51}, "marks should have 50 or fewer values, not 51"),
    ("retake", {"marks": [{"kind": "box", "points": [[1, 1], [111, 20]]}]}, "outside the picture of 110 x 150"),
    ("retake", {"marks": [{"kind": "outline", "points": [[9, 9], [50, 40], [50, 9], [9, 40]]}]}, "crosses itself"),
    ("retake", {"marks": [{"kind": "outline", "points": [[9, 9], [50, 40]]}]}, "needs three or more"),
    ("retake", {"marks": [{"kind": "box", "points": [[9, 9], [9, 40]]}]}, "has no area"),
    ("retake", {"marks": [{"kind": "ring", "points": []}]}, "kind should be 'box' or 'outline'"),
]


def test_what_does_not_go_with_a_verdict_is_refused_in_a_sentence(served: Served) -> None:
    [client] = served(ServerSettings()).values()
    for verdict, grounds, said in UNFIT:
        answer = give(client, 1, verdict, **grounds)
        assert (answer.status_code, said in answer.json()["detail"]) == (422, True), answer.text
    assert give(client, 77, "retake", reason="dirt").status_code == 404
    assert client.get("/api/audit").json()["total"] == 0


def test_a_comment_of_any_language_and_drawings_fit_into_a_request(served: Served) -> None:
    [client] = served(ServerSettings()).values()
    marks = [{"kind": "outline", "points": [[x / 10, 60 + (x % 7) / 8] for x in range(0, 1000, 10)] + [[50, 149]]}] * 5
    answer = give(client, 1, "retake", comment="胸" * 1000, marks=marks)
    assert (answer.status_code, len(answer.json()["marks"][4]["points"])) == (200, 101)


def test_drawn_objects_are_those_of_object_cxr(served: Served, tmp_path: Path) -> None:
    [client] = served(ServerSettings()).values()
    give(client, 1, "retake", reason="foreign_object", marks=[BOX, OUTLINE])
    give(client, 2, "accept", marks=[BOX])  # two files of one content
    give(client, 0, "retake", reason="positioning", marks=[OUTLINE])
    (tmp_path / "objects.csv").write_bytes(client.get("/api/objects.csv").content)
    table = read_annotations(tmp_path / "objects.csv")
    found = table.match(tmp_path / "archive", [tmp_path / "archive" / name for name in NAMES])
    assert {image.relative_to(tmp_path / "archive").as_posix(): row.shapes for image, row in found.rows.items()} == {
        NAMES[1]: (Rectangle(80, 20, 100.5, 140.25), Polygon(((10, 100), (40, 100), (25, 140)))),
        NAMES[2]: (),
        NAMES[3]: (),
    }
    assert {row["name"]: row["marks"] for row in rows(client, "/api/verdicts.csv")} == {
        NAMES[1]: "0 80 20 100.5 140.25;2 10 100 40 100 25 140",
        **dict.fromkeys(NAMES[2:4], "0 80 20 100.5 140.25"),
        NAMES[0]: "2 10 100 40 100 25 140",
    }


def test_agreement_and_news(served: Served) -> None:
    anna, ben, _ = served().values()
    assert anna.get("/api/agreement").json() == {"pairs": []}
    assert anna.get("/api/news").json() == {"entry": 0, "result": 6, "reader": "Anna"}
    for number, (first, second) in enumerate([("retake", "retake"), ("accept", "accept"), ("accept", "retake")]):
        give(anna, number, first)
        give(ben, number, second)
    assert anna.get("/api/news").json() == {"entry": 6, "result": 6, "reader": "Anna"}
    [pair] = anna.get("/api/agreement").json()["pairs"]
    assert (pair["readers"], pair["images"]) == (["Anna", "Ben"], 3)
    assert (pair["both_accept"], pair["both_retake"], pair["first_retakes"], pair["second_retakes"]) == (1, 1, 0, 1)
    assert pair["kappa"] == pytest.approx(0.4)
    assert pair["low"] <= pair["kappa"] <= pair["high"]


def test_a_server_that_does_not_know_its_readers_is_as_before(served: Served, folder: ScreenedFolder) -> None:
    [client] = served(ServerSettings()).values()
    assert client.get("/api/review").json() == {
        "reader": "", "blind": False, "longest_comment": 1000, "most_marks": 50,
        "reasons": [reason.model_dump() for reason in DEFAULT_REASONS],
    }  # fmt: skip
    assert give(client, 1, "retake").json()["reader"] == ""
    assert give(client, 1, "accept", seen="none").status_code == 409
    (folder.path / "reasons.json").write_text("[")
    damaged = client.get("/api/review")
    assert (damaged.status_code, "neither YAML nor JSON" in damaged.json()["detail"]) == (503, True)


def readers_file(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_readers_are_read_with_tokens_or_their_digests(tmp_path: Path) -> None:
    digest = hashlib.sha256(TOKENS["Ben"].encode()).hexdigest()
    path = readers_file(tmp_path / "r", f"Anna Maria: {TOKENS['Anna']}\nBen: sha256:{digest.upper()}\n")
    anna, ben = read_readers(path)
    assert (anna.name, anna.has(TOKENS["Anna"]), anna.has(TOKENS["Ben"])) == ("Anna Maria", True, False)
    assert (ben.name, ben.has(TOKENS["Ben"])) == ("Ben", True)
    assert digest not in repr(ben)


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("Anna: a-token-of-the-tests", 0o640, "others may read or change these tokens; .*chmod 600"),
        ("Anna: a-token-of-the-tests", 0o604, "chmod 600"),
        ("", 0o600, "holds no readers; write a line NAME: TOKEN"),
        ("- Anna", 0o600, "holds no readers"),
        ("Anna: secret-one", 0o600, "the token of Anna is too short"),
        ("Anna: sha256:secret", 0o600, "the SHA-256 of Anna has no 64 hexadecimal digits"),
        ("Anna: [secret]", 0o600, "something else than names and tokens"),
        ("Anna: secret-token-of-the-tests\nBen: secret-token-of-the-tests", 0o600, "two readers have the same token"),
        ("Anna: secret-token-of-the-tests\nAnna: secret-token-of-other-tests", 0o600, "one of them twice"),
        ('"": secret-token-of-the-tests', 0o600, "a reader's name has 1 to 60 printable signs"),
    ],
)
def test_other_files_of_readers_are_refused(tmp_path: Path, text: str, mode: int, said: str) -> None:
    path = readers_file(tmp_path / "readers.yaml", text, mode)
    with pytest.raises(UsageError, match=said) as raised:
        read_readers(path)
    assert "secret" not in str(raised.value)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    with pytest.raises(UsageError, match="the readers cannot be read: No such file"):
        read_readers(tmp_path / "gone")
