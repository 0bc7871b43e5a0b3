"""A server whose database goes away in the middle: what it answers, and that nothing is lost or doubled."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

import httpx
from serving_files import add_results, asking, key_of, running, screened

from cxrlens.inspection.quality_model import QualityModel
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store.postgresql import Server, reached
from cxrlens.screening.store.store import Store
from cxrlens.serving.app import create_app
from cxrlens.serving.settings import ServerSettings
from postgresql import PASSWORD, PostgresServer
from waiting import PATIENCE

READERS = 16
EACH = 12


def test_sixteen_readers_whose_database_is_killed(
    served_model: QualityModel, postgres: PostgresServer, tmp_path: Path
) -> None:
    """Each sends a verdict until it is answered, as the page does; half of them before the database is killed."""
    folder = screened(tmp_path / "screened")
    numbers = range(100, 100 + READERS * EACH)
    add_results(folder, *(ScreenedImage(name=f"{n}.png", key=key_of(n), probability=0.5) for n in numbers))
    server = reached(postgres.address())
    answered, refused = Queue[dict[str, object]](), Queue[httpx.Response]()
    start = threading.Barrier(READERS, timeout=PATIENCE)
    before_the_kill = threading.Semaphore(len(numbers) // 2)

    def reader(place: int) -> None:
        with asking(url) as client:
            start.wait()
            for number in numbers[place::READERS]:
                before_the_kill.acquire(timeout=PATIENCE)
                verdict = {"key": key_of(number), "verdict": "retake", "seen": "none", "id": f"{number:032x}"}
                while (answer := client.post("/api/verdicts", json=verdict)).status_code != 200:
                    refused.put(answer)
                    time.sleep(0.2)
                answered.put(answer.json())

    with (
        running(create_app(ServerSettings(), served_model, folder.path, server)) as url,
        ThreadPoolExecutor(READERS) as pool,
    ):
        readers = [pool.submit(reader, place) for place in range(READERS)]
        for _ in range(READERS):
            answered.get(timeout=PATIENCE)
        postgres.kill()
        before_the_kill.release(len(numbers))
        first = refused.get(timeout=PATIENCE)
        with asking(url) as client:
            assert client.get("/health").status_code == 200
            looked = client.get("/api/worklist")
        postgres.start()
        for each in readers:
            each.result(PATIENCE)
        says_when_to_come_again(looked, server)
        says_when_to_come_again(first, server)
        assert {answer.status_code for answer in refused.queue} <= {503}
    entries = Store(folder, server).verdicts.audit(limit=1000)[1]
    assert sorted(entry.key for entry in entries) == sorted(map(key_of, numbers))


def says_when_to_come_again(answer: httpx.Response, server: Server) -> None:
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["detail"].startswith(f"{server.place}: cannot be read or written (")
    assert PASSWORD not in answer.text


def test_a_verdict_that_is_sent_again_under_its_number(
    served_model: QualityModel, server: Server | None, tmp_path: Path
) -> None:
    folder = screened(tmp_path / "screened")
    app = create_app(ServerSettings(), served_model, folder.path, server)
    with running(app) as url, asking(url) as client:

        def give(verdict: str, number: str | None) -> httpx.Response:
            return client.post("/api/verdicts", json={"key": key_of(1), "verdict": verdict, "id": number})

        first = give("retake", "1" * 32)
        assert give("none", None).json()["changed"]
        assert give("retake", "1" * 32).json() == first.json()
        other = give("accept", "1" * 32)
        assert other.status_code == 409
        assert "draw a new one for each verdict" in other.json()["detail"]
        assert give("accept", "no number").status_code == 422
        assert client.get("/api/audit").json()["total"] == 2
        assert client.get("/api/verdicts").json() == {"verdicts": []}
