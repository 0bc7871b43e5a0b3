"""Who is answered: names of the server, tokens, pages of other servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from serving_files import asking, check, encoded, key_of, pixels, running

from cxrlens.errors import UsageError
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.serving.app import create_app
from cxrlens.serving.security import HEADERS
from cxrlens.serving.settings import ServerSettings, is_loopback
from cxrlens.serving.tokens import check_token, new_token

TOKEN = "a-token-of-32-signs.~_0123456789"


@pytest.fixture(scope="module")
def guarded(served_model: QualityModel, folder: Path) -> Iterator[httpx.Client]:
    """A server that asks for a token, as one that listens on all addresses does."""
    app = create_app(ServerSettings(host="0.0.0.0", token=TOKEN), served_model, folder)
    with running(app) as url, asking(url) as client:
        yield client


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:1", "LOCALHOST", "[::1]:8000"])
def test_a_local_server_answers_to_its_names(client: httpx.Client, host: str) -> None:
    assert client.get("/api/model", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "192.168.0.1", ""]
)
@pytest.mark.parametrize("path", ["/", "/health", "/api/worklist", "/static/style.css"])
def test_a_local_server_answers_to_no_other_name(client: httpx.Client, host: str, path: str) -> None:
    response = client.get(path, headers={"Host": host})
    assert response.status_code == 400
    assert response.json().keys() == {"detail"}


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
def test_pages_of_other_servers_change_nothing(client: httpx.Client, origin: str) -> None:
    headers = {"Origin": origin}
    body = {"key": key_of(0), "verdict": "accept"}
    assert client.post("/api/verdicts", json=body, headers=headers).status_code == 403
    assert client.post("/api/check", files={"file": encoded(pixels())}, headers=headers).status_code == 403
    assert client.post("/api/verdicts", json=body, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.get("/api/audit").json()["total"] == 0


def test_a_form_of_another_page_is_no_verdict(client: httpx.Client) -> None:
    """What a browser sends without asking first: text that happens to be JSON."""
    body = f'{{"key": "{key_of(0)}", "verdict": "accept"}}'
    response = client.post("/api/verdicts", content=body, headers={"Content-Type": "text/plain"})
    assert response.status_code == 422
    assert client.get("/api/audit").json()["total"] == 0


def test_the_own_page_is_answered_and_others_are_told_nothing_of_sharing(client: httpx.Client) -> None:
    own = {"Origin": str(client.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    response = client.post("/api/check", files={"file": encoded(pixels())}, headers=own)
    assert response.status_code == 200
    assert not any(name.startswith("access-control") for name in response.headers)
    asked = client.options("/api/verdicts", headers={"Origin": "http://evil.example"})
    assert asked.status_code == 405
    assert not any(name.startswith("access-control") for name in asked.headers)


@pytest.mark.parametrize("path", ["/", "/health", "/nowhere", "/api/worklist", "/metrics", "/api/worklist/x/map"])
def test_every_answer_has_the_headers(client: httpx.Client, path: str) -> None:
    response = client.get(path)
    for name, value in HEADERS.items():
        assert response.headers[name] == value
    assert "server" not in response.headers or "cxrlens" not in response.headers["server"]


@pytest.mark.parametrize(
    "path",
    ["/", "/metrics", "/api/model", "/api/worklist", "/api/openapi.json", "/static/style.css", "/docs", "/nowhere"],
)
def test_nothing_but_health_is_answered_without_the_token(guarded: httpx.Client, path: str) -> None:
    wrong = ({}, {"Authorization": "Bearer " + TOKEN[:-1]}, {"Authorization": TOKEN}, {"Authorization": "Bearer"},
             {"Cookie": "cxrlens_token=" + TOKEN + "x"}, {"Authorization": "Basic " + TOKEN},
             {"Authorization": b"Bearer \xff\xfe"})  # fmt: skip
    for headers in wrong:
        response = guarded.get(path, headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
    assert guarded.get("/health").status_code == 200
    assert check(guarded, encoded(pixels())).status_code == 401


def test_the_token_opens_by_header_and_by_the_cookie_of_its_link(guarded: httpx.Client) -> None:
    assert guarded.get("/api/model", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert guarded.get("/", params={"token": TOKEN[:-1]}).status_code == 401
    assert guarded.get("/api/model", params={"token": TOKEN}).status_code == 401
    opened = guarded.get("/", params={"token": TOKEN})
    assert (opened.status_code, opened.headers["location"]) == (303, "/")
    cookie = opened.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    with asking(str(guarded.base_url), cookies=opened.cookies) as browser:
        assert browser.get("/").status_code == 200
        assert browser.get("/api/worklist").status_code == 200
        evil = browser.post("/api/check", files={"file": b""}, headers={"Origin": "http://evil.example"})
        assert evil.status_code == 403


def test_a_name_that_is_allowed_asks_for_a_token() -> None:
    assert ServerSettings().is_local
    assert not ServerSettings(hosts=("qc.hospital.example",)).is_local
    assert not ServerSettings(host="0.0.0.0").is_local
    assert not ServerSettings(host="::").is_local
    assert [is_loopback(host) for host in ("127.0.0.5", "::1", "[::1]", "localhost", "10.0.0.1", "example", "")] == [
        True, True, True, True, False, False, False
    ]  # fmt: skip


def test_an_allowed_name_is_answered(served_model: QualityModel) -> None:
    settings = ServerSettings(hosts=("QC.hospital.example",), token=TOKEN)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with running(create_app(settings, served_model)) as url, asking(url, headers=headers) as client:
        assert client.get("/api/model", headers={"Host": "qc.hospital.example"}).status_code == 200
        assert client.get("/api/model", headers={"Host": "other.example"}).status_code == 400


def test_no_server_that_others_reach_is_made_without_a_token(served_model: QualityModel) -> None:
    for settings in (ServerSettings(host="0.0.0.0"), ServerSettings(hosts=("qc.hospital.example",))):
        with pytest.raises(ValueError, match="needs a token"):
            create_app(settings, served_model)


def test_tokens() -> None:
    assert new_token() != new_token()
    assert check_token(new_token())
    for token in ("short", "a" * 15, "a b c d e f g h i j", "ü" * 20, "a" * 20 + ";", ""):
        with pytest.raises(UsageError):
            check_token(token)
