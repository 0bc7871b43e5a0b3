"""What servers of DICOMweb and Orthanc do wrong: each fault is told in one sentence, and nothing is missed silently."""

from __future__ import annotations

import base64
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

import pytest

from cxrlens.errors import ServerLostError, UnreadableImageError, UsageError

pytest.importorskip("dicomweb_client")

from cxrlens.screening.remote import dicomweb, web
from cxrlens.screening.remote.dicomweb import DicomWebInstance
from cxrlens.screening.remote.followed import Followed
from cxrlens.screening.remote.sources import RemoteSources, RemoteWatch
from cxrlens.screening.remote.taking import take_remote
from ports import unused_port

Answer: TypeAlias = tuple[int, dict[str, str], bytes]
Handler: TypeAlias = Callable[[str, dict[str, list[str]], dict[str, str]], Answer]

PASSWORD = "never-to-be-shown"


def as_json(value: Any) -> Answer:
    return 200, {"Content-Type": "application/dicom+json"}, json.dumps(value).encode()


def attributes(**values: str) -> dict[str, Any]:
    """An answer of QIDO; names are tags."""
    return {tag.removeprefix("_"): {"vr": "UI", "Value": [value]} for tag, value in values.items()}


@contextmanager
def serving(handle: Handler) -> Iterator[str]:
    """A server on this machine; gives host and port."""

    class Handling(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            self.rfile.read(length)
            parts = urlsplit(self.path)
            status, headers, body = handle(parts.path, parse_qs(parts.query), dict(self.headers.items()))
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            if int(headers.get("Content-Length", len(body))) != len(body):
                self.close_connection = True

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handling)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Archive:
    """Studies of one series of one image, in pages; what is changed is a fault."""

    def __init__(self, studies: int) -> None:
        self.studies = [f"1.2.{number}" for number in range(studies)]
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.most = 1000
        self.knows_pages = True
        self.fails_at: int | None = None

    def __call__(self, path: str, query: dict[str, list[str]], headers: dict[str, str]) -> Answer:
        self.asked.append(path)
        self.headers.append(headers)
        if self.fails_at is not None and len(self.asked) > self.fails_at:
            return 500, {}, b""
        parts = path.strip("/").split("/")
        offset, limit = int(query.get("offset", ["0"])[0]), int(query["limit"][0])
        if parts[-1] == "studies":
            found = [attributes(_0020000D=uid, _00080020="20260131") for uid in self.studies]
            if self.knows_pages:
                found = found[offset : offset + min(limit, self.most)]
            return as_json(found)
        if offset and self.knows_pages:
            return 204, {}, b""
        if parts[-1] == "series":
            return as_json([attributes(_0020000E=f"{parts[-2]}.1", _00080060="DX")])
        return as_json([attributes(_00080018=f"{parts[-2]}.1")])


def uids(sources: RemoteSources) -> list[str]:
    return [origin.name for origin in sources.files()]


def sources(host: str, query: str = "modality=DX") -> RemoteSources:
    return RemoteSources(take_remote(f"dicomweb+http://{host}/dicom-web?{query}"))


def expected(archive: Archive) -> list[str]:
    return [f"{study}/{study}.1/{study}.1.1" for study in archive.studies]


@pytest.mark.parametrize("most", [1000, 2])
def test_all_pages_are_read_also_where_they_are_shorter_than_asked_for(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicomweb, "PAGE", 3)
    archive = Archive(7)
    archive.most = most
    with serving(archive) as host:
        assert uids(sources(host)) == expected(archive)


def test_studies_are_asked_for_as_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicomweb, "PAGE", 3)
    archive = Archive(7)
    with serving(archive) as host:
        found = sources(host).files()
        next(found)
        assert archive.asked.count("/dicom-web/studies") == 2  # the first look, and the first page


def test_an_archive_without_pages_is_read_once() -> None:
    archive = Archive(4)
    archive.knows_pages = False
    with serving(archive) as host:
        assert uids(sources(host)) == expected(archive)


def test_an_archive_that_gives_the_same_page_for_ever_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicomweb, "PAGE", 4)
    archive = Archive(4)
    archive.knows_pages = False
    with serving(archive) as host:
        taken = sources(host)
        assert uids(taken) == expected(archive)
        with pytest.raises(ServerLostError, match="gives the same page of answers again and again"):
            taken.raise_if_lost()


def test_images_that_were_told_of_before_a_server_fails_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_RETRIES", 0)
    web._session.cache_clear()
    archive = Archive(5)
    with serving(archive) as host:
        taken = sources(host)
        archive.fails_at = len(archive.asked) + 6
        assert uids(taken) == expected(archive)[:1]
        with pytest.raises(ServerLostError) as lost:
            taken.raise_if_lost()
        assert f"dicomweb+http://{host}/dicom-web: answers 500 (internal server error); what was" in str(lost.value)
        assert lost.value.exit_code == 5


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, {}, b""), r"answers 401 \(unauthorized\); check the credentials"),
        ((404, {}, b""), r"answers 404 \(not found\)"),
        ((302, {"Location": "http://127.0.0.1:1/elsewhere"}, b""), "sends requests elsewhere"),
        ((200, {"Content-Type": "text/html"}, b"<html>"), "answers something that cannot be read"),
        ((200, {"Content-Length": "100"}, b"[]"), "cannot be reached, or has ended the connection"),
    ],
)
def test_a_server_that_cannot_be_asked_is_refused_before_any_work(answer: Answer, said: str) -> None:
    with serving(lambda *_: answer) as host, pytest.raises(UsageError, match=f"^dicomweb\\+http://{host}/x: {said}"):
        take_remote(f"dicomweb+http://{host}/x")


def test_a_server_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    host = f"127.0.0.1:{unused_port()}"
    with pytest.raises(UsageError, match=f"{host}: cannot be reached, or has ended the connection .Connection refused"):
        take_remote(f"orthanc+http://{host}")


def test_https_is_never_given_up_for_http() -> None:
    with serving(lambda *_: as_json([])) as host, pytest.raises(UsageError, match=f"^dicomweb://{host}/x: "):
        take_remote(f"dicomweb://{host}/x")


def test_a_password_of_a_file_is_sent_and_never_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    archive = Archive(1)
    with serving(archive) as host:
        file = tmp_path / "netrc"
        file.write_text(f"machine 127.0.0.1 login me password {PASSWORD}\n")
        file.chmod(0o600)
        taken = RemoteSources(take_remote(f"dicomweb+http://{host}/dicom-web?modality=DX", credentials=file))
        (image,) = taken.files()
        sent = {headers["Authorization"] for headers in archive.headers}
        assert sent == {"Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()}
        archive.fails_at = 0
        with pytest.raises(UnreadableImageError) as failed:
            image.read()
        shown = [repr(image), str(image), image.identity(), str(failed.value), repr(taken.source), caplog.text]
        assert not any(PASSWORD in text for text in shown)
        assert PASSWORD.encode() not in pickle.dumps(image)


def test_what_is_sent_in_place_of_an_image_is_refused() -> None:
    answers: list[Answer] = []

    def handle(path: str, *_: object) -> Answer:
        return answers[-1] if "/instances/" in path else as_json([])

    def multipart(*bodies: bytes) -> Answer:
        kind = 'multipart/related; type="application/dicom"; boundary="edge"'
        parts = [b"--edge\r\nContent-Type: application/dicom\r\n\r\n" + body + b"\r\n" for body in bodies]
        return 200, {"Content-Type": kind}, b"".join(parts) + b"--edge--\r\n"

    content = bytes(range(256)) * 3 + b"\r\n\r\n--edg\r\n"
    with serving(handle) as host:
        image = take_remote(f"dicomweb+http://{host}/x").origin("1.2/1.2.3/1.2.3.4")
        assert isinstance(image, DicomWebInstance)
        answers.append(multipart(content))
        assert image.read() == content
        answers.append((200, {"Content-Type": "application/dicom"}, content))
        assert image.read() == content
        for answer, said in (
            (multipart(content, content), "sends 2 files in place of one"),
            (multipart(), "cut off"),
            ((200, {"Content-Type": "multipart/related; boundary=edge"}, b"--edge\r\nnothing"), "cut off"),
            ((404, {}, b""), "answers 404"),
            ((200, {"Content-Length": "4000"}, content), "has ended the connection"),
        ):
            answers.append(answer)
            with pytest.raises(UnreadableImageError, match=f"^dicomweb\\+http://{host}/x/1.2/1.2.3/1.2.3.4: .*{said}"):
                image.read()


@pytest.mark.parametrize("uid", ["../../etc/passwd", "1.2/3", "..", "", "1" * 65])
def test_what_is_no_uid_ends_the_search(uid: str) -> None:
    archive = Archive(2)
    archive.studies[1] = uid
    with serving(archive) as host:
        taken = sources(host)
        assert uids(taken) == []
        with pytest.raises(ServerLostError, match="without a UID, or with one that is none"):
            taken.raise_if_lost()


def test_an_image_that_is_no_radiograph_is_never_asked_for(tmp_path: Path) -> None:
    with serving(lambda *_: as_json([])) as host:
        source = take_remote(f"dicomweb+http://{host}/x")
        for name in ("../1/2", "1/2", "1/2/3/4", "1/2/a"):
            with pytest.raises(UsageError, match="is no name of an image"):
                source.origin(name)


def test_a_watch_without_a_feed_gives_each_image_once_and_outlives_its_server(tmp_path: Path) -> None:
    archive = Archive(2)
    with serving(archive) as host:
        watch = RemoteWatch(sources(host).source, 0.1, Followed(tmp_path))
        assert [origin.name for origin in watch.poll()] == expected(archive)
        assert [*watch.poll()] == []
        archive.studies.append("1.2.9")
        archive.fails_at = 0
        assert [*watch.poll()] == []
        assert len(watch.failures) == 1
        archive.fails_at = None
        assert [origin.name for origin in watch.poll()] == expected(archive)[2:]
        assert watch.failures == []


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'cxrlens\[pacs\]'"):
        take_remote("dicomweb://pacs/x")
    with pytest.raises(UsageError, match=r"fsspec: pip install 'cxrlens\[remote\]' s3fs"):
        take_remote("s3://other-bucket/x")
