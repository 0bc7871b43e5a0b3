"""The whole way of images through a node in this process, ended at each step that it may be killed at."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import dcmread
from radiographs import ROOT, radiograph, send

from cxrlens.delivery import sending
from cxrlens.delivery.destinations import DeliveryFailed
from cxrlens.delivery.outbox import Outbox
from cxrlens.errors import UsageError
from cxrlens.node import run as job
from cxrlens.node.ledger import Ledger
from cxrlens.node.receiving import ReceivingSettings
from cxrlens.node.run import NodeAddress, NodeResult, NodeSettings, run_node
from cxrlens.node.web import WebSettings
from cxrlens.screening.settings import ScreeningSettings
from cxrlens.screening.store.store import Store
from cxrlens.serving.settings import ServerSettings
from waiting import PATIENCE, until

pytest.importorskip("highdicom")

DESTINATION = "dicom://PACS@127.0.0.1:1"


class Killed(BaseException):
    """The node ends here, as if killed."""


class Pacs:
    """What a destination has got: the SOP Instance UIDs, each as often as it came."""

    def __init__(self) -> None:
        self.got: Counter[str] = Counter()
        self.sources: dict[str, str] = {}
        self.is_away = False

    @property
    def name(self) -> str:
        return DESTINATION

    def deliver(self, files: Sequence[Path]) -> None:
        if self.is_away:
            raise DeliveryFailed("the PACS is away", again=True)
        for file in files:
            found = dcmread(file)
            self.got[str(found.SOPInstanceUID)] += 1
            if found.Modality == "SR":
                evidence = found.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
                self.sources[str(found.SOPInstanceUID)] = str(
                    evidence.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
                )


@pytest.fixture
def pacs(monkeypatch: pytest.MonkeyPatch) -> Pacs:
    made = Pacs()
    monkeypatch.setattr(job, "open_destination", lambda address, settings: made)
    return made


class Running:
    """A node in a thread."""

    def __init__(self, out: Path, settings: NodeSettings, **options: Any) -> None:
        self.stop, self.address, self.result = threading.Event(), list[NodeAddress](), list[NodeResult]()
        self.error: BaseException | None = None

        def run() -> None:
            try:
                self.result.append(run_node(out, settings, stop=self.stop, ready=self.address.append, **options))
            except BaseException as error:
                self.error = error

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        until(lambda: self.address or self.error)
        assert self.error is None, self.error
        return self.address[0].port

    def ended(self) -> BaseException | None:
        self._thread.join()
        return self.error


def settings(model: Path, **options: Any) -> NodeSettings:
    screening = ScreeningSettings(model=model, batch_size=2)
    return NodeSettings(screening, ReceivingSettings(port=0), destinations=(DESTINATION,), keep_free=1, **options)


@contextmanager
def running(out: Path, model: Path, **options: Any) -> Iterator[Running]:
    web = {"web": options.pop("web")} if "web" in options else {}
    node = Running(out, settings(model, **web), **options)
    try:
        yield node
    finally:
        node.stop.set()
        error = node.ended()
    assert error is None, error


def lines(out: Path) -> list[dict[str, Any]]:
    """Results that are written; the node may be at the next one."""
    file = out / "screened" / "results.jsonl"
    written = file.read_bytes().rpartition(b"\n")[0] if file.exists() else b""
    return [json.loads(line) for line in written.splitlines()]


def reports(pacs: Pacs) -> list[str]:
    """The images that a report has arrived of."""
    return sorted(pacs.sources.values())


def uid(number: int) -> str:
    return f"{ROOT}{number}.3"


def test_images_are_screened_once_and_their_results_sent_once(
    pacs: Pacs, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = Path("node")
    with running(out, model) as node:
        images = [radiograph(1), radiograph(2), radiograph(1)]
        assert send(node.port, *images) == [(0x0000, "")] * 3
        until(lambda: len(pacs.sources) == 2)
    assert reports(pacs) == [uid(1), uid(2)]
    assert len(pacs.got) == 6  # a report, a picture and outlines of each
    assert set(pacs.got.values()) == {1}
    assert node.result == [NodeResult(received=2, screened=2, unscreened=0, undelivered=0, refused=0)]
    names = sorted(path.relative_to(out / "images").as_posix() for path in (out / "images").rglob("*.dcm"))
    assert sorted(line["name"] for line in lines(out)) == names
    with running(out, model) as node:
        assert send(node.port, radiograph(2)) == [(0x0000, "")]
        assert send(node.port, radiograph(3)) == [(0x0000, "")]
        until(lambda: len(pacs.sources) == 3)
    assert set(pacs.got.values()) == {1}
    assert len(lines(out)) == 3


def test_a_correction_is_screened_anew_and_both_are_kept(pacs: Pacs, model: Path, tmp_path: Path) -> None:
    with running(tmp_path / "node", model) as node:
        send(node.port, radiograph(1), radiograph(1, seed=5))
        until(lambda: len(pacs.sources) == 2)
    assert reports(pacs) == [uid(1), uid(1)]
    assert len({line["key"] for line in lines(tmp_path / "node")}) == 2


STEPS: dict[str, tuple[Any, str, bool]] = {
    "before the result is stored": (Store, "add", False),
    "before the results are put out": (Outbox, "put", False),
    "before the image is noted as done": (Ledger, "finish", False),
    "before the delivery is noted": (Outbox, "delivered", False),
    "when the delivery is noted": (Outbox, "delivered", True),
}


@pytest.mark.parametrize("step", list(STEPS))
def test_an_acknowledged_image_outlives_the_node(
    step: str, pacs: Pacs, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, name, after = STEPS[step]
    function: Callable[..., Any] = getattr(place, name)
    sent = threading.Event()

    def killed(*arguments: Any) -> None:
        sent.wait(PATIENCE)  # the node may be done with the first image before the second one comes
        if after:
            function(*arguments)
        raise Killed

    out = tmp_path / "node"
    monkeypatch.setattr(place, name, killed)
    node = Running(out, settings(model))
    assert send(node.port, radiograph(1), radiograph(2)) == [(0x0000, "")] * 2
    sent.set()
    assert isinstance(node.ended(), Killed)
    monkeypatch.setattr(place, name, function)
    with running(out, model):
        until(lambda: len(pacs.sources) == 2)
        until(lambda: all(tally.waiting == 0 for tally in Outbox(out / "outbox.sqlite").tallies().values()))
    assert reports(pacs) == [uid(1), uid(2)]
    assert len(lines(out)) == 2
    often = max(pacs.got.values())
    assert often == (2 if step == "before the delivery is noted" else 1)


def test_what_a_destination_missed_while_it_was_away_arrives(
    pacs: Pacs, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "delay_after", lambda attempts: 0.05)
    monkeypatch.setattr("cxrlens.delivery.outbox.delay_after", lambda attempts: 0.05)
    pacs.is_away = True
    with running(tmp_path / "node", model) as node:
        send(node.port, radiograph(1))
        until(lambda: lines(tmp_path / "node"))
    assert node.result[0].undelivered == 1
    with running(tmp_path / "node", model):
        pacs.is_away = False
        until(lambda: pacs.sources)
    assert reports(pacs) == [uid(1)]


def test_what_cannot_be_judged_or_read_is_listed_and_sends_nothing(pacs: Pacs, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "node"
    with running(out, model) as node:
        abdomen, flat = radiograph(1, BodyPartExamined="KNEE"), radiograph(2, Rows=0)
        assert send(node.port, abdomen, flat, radiograph(3)) == [(0x0000, "")] * 3
        until(lambda: pacs.sources)
        until(lambda: len(lines(out)) == 3)
    assert reports(pacs) == [uid(3)]
    assert sorted((line["status"], line["triage"] or "") for line in lines(out)) == [
        ("ok", ""),
        ("ok", "not_assessable"),
        ("unreadable", ""),
    ]
    with running(out, model):
        pass
    assert len(lines(out)) == 3


def test_begun_anew_all_images_are_screened_again(pacs: Pacs, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "node"
    with running(out, model) as node:
        send(node.port, radiograph(1))
        until(lambda: pacs.sources)
    with running(out, model, force=True) as node:
        until(lambda: node.port)
        until(lambda: lines(out))
    assert len(lines(out)) == 1


def test_another_models_folder_and_one_of_something_else_are_refused(pacs: Pacs, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "node"
    with running(out, model) as node:
        until(lambda: node.port)
    other = settings(model)
    screening = ScreeningSettings(model=model, maps="none")
    with pytest.raises(UsageError, match="--maps"):
        run_node(out, NodeSettings(screening, other.receiving), stop=threading.Event())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        run_node(tmp_path / "mine", other, stop=threading.Event())
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["thesis.txt"]


def test_two_nodes_do_not_share_a_folder(pacs: Pacs, model: Path, tmp_path: Path) -> None:
    with running(tmp_path / "node", model) as node:
        until(lambda: node.port)
        with pytest.raises(UsageError, match="another process"):
            run_node(tmp_path / "node", settings(model), stop=threading.Event())


def test_its_page_shows_the_worklist_as_it_grows_and_its_numbers(pacs: Pacs, model: Path, tmp_path: Path) -> None:
    web = WebSettings(0, ServerSettings(decoders=1))
    with running(tmp_path / "node", model, web=web) as node:
        until(lambda: node.port)
        url = node.address[0].url
        assert url is not None
        with httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE) as client:
            assert client.get("/health").json()["status"] == "ok"
            assert client.get("/api/worklist").json()["total"] == 0
            send(node.port, radiograph(1), radiograph(2), radiograph(2))
            until(lambda: client.get("/api/worklist").json()["total"] == 2)
            until(lambda: len(pacs.sources) == 2)

            def metrics() -> dict[str, float]:
                text = client.get("/metrics").text
                rows = (line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("cxrlens_node_"))
                return {name: float(value) for name, value in rows}

            until(lambda: metrics()[f'cxrlens_node_delivered_results{{destination="{DESTINATION}"}}'] == 2)
            found = metrics()
    assert found['cxrlens_node_received_total{outcome="new"}'] == 2
    assert found['cxrlens_node_received_total{outcome="repeated"}'] == 1
    assert found["cxrlens_node_screened_total"] == 2
    assert found["cxrlens_node_waiting"] == 0
    assert found[f'cxrlens_node_undelivered{{destination="{DESTINATION}"}}'] == 0
