"""Asking servers by HTTP: with time limits, few retries, and reasons in plain words that show no secret."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.util import Retry

from cxrlens.delivery.credentials import read_credentials
from cxrlens.delivery.web_session import new_session
from cxrlens.errors import CxrlensError
from cxrlens.inputs.readers import MAX_BYTES

TIMEOUT = 10.0, 60.0
"""Seconds until a connection stands, and between two pieces of an answer."""

_RETRIES = Retry(
    total=2,
    backoff_factor=0.3,
    status_forcelist=(429, 502, 503, 504),
    allowed_methods=None,  # what is posted here only asks
    raise_on_status=False,
    respect_retry_after_header=False,  # some say hours
)
_PIECE = 1 << 20


class WebError(CxrlensError):
    """A request failed.

    Attributes:
        reason: why, in words that follow a name.
        status: of the answer; 0 where there was none.
    """

    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


@dataclass(frozen=True)
class WebServer:
    """A server; picklable, and it holds no password: each process reads them for itself.

    Attributes:
        url: ``https://HOST/PATH`` or ``http://HOST/PATH``.
        credentials: file of them; by default the one that the environment names, see `read_credentials`.
        ca_file: certificates that are trusted; by default the system's, or those of $REQUESTS_CA_BUNDLE.
    """

    url: str
    credentials: Path | None = None
    ca_file: Path | None = None

    def session(self) -> requests.Session:
        """The session of this process and thread.

        Raises:
            UsageError: when the credentials cannot be read.
        """
        return _session(self, os.getpid(), threading.get_ident())

    def content(self, path: str, accept: str) -> tuple[bytes, str]:
        """What lies at a path below the server's, and its media type.

        Raises:
            WebError: when it cannot be had whole, or is larger than `MAX_BYTES`.
        """
        with plain_words(), self._answer("GET", path, headers={"Accept": accept}, stream=True) as answer:
            pieces, size = [], 0
            for piece in answer.iter_content(_PIECE):
                size += len(piece)
                if size > MAX_BYTES:
                    raise WebError(f"sends more than {MAX_BYTES >> 30} GiB, too much for one radiograph")
                pieces.append(piece)
            return b"".join(pieces), answer.headers.get("Content-Type", "")

    def json(
        self, path: str, *, posted: Mapping[str, Any] | None = None, params: Mapping[str, Any] | None = None
    ) -> Any:
        """What the server answers in JSON.

        Args:
            posted: is sent in JSON; without it, it is only asked for.

        Raises:
            WebError: when there is no such answer.
        """
        with plain_words():
            return self._answer("GET" if posted is None else "POST", path, json=posted, params=params).json()

    def _answer(self, method: str, path: str, **options: Any) -> requests.Response:
        answer = self.session().request(method, f"{self.url}/{path}", timeout=TIMEOUT, **options)
        answer.raise_for_status()
        return answer


@contextmanager
def plain_words() -> Iterator[None]:
    """Turn whatever requests raises into a `WebError`."""
    try:
        yield
    except requests.HTTPError as error:
        raise _refused(error.response) from error
    except requests.exceptions.SSLError as error:
        raise WebError(
            f"its certificate is not trusted ({_root_of(error)}); give its authority's file with `ca_file`"
        ) from error
    except requests.Timeout as error:
        raise WebError("does not answer in time") from error
    except requests.TooManyRedirects as error:
        raise WebError("sends requests elsewhere, which is not followed; give the address that it sends to") from error
    except (requests.JSONDecodeError, ValueError) as error:
        raise WebError("answers something that cannot be read; check the path of the address") from error
    except (requests.RequestException, OSError) as error:
        raise WebError(f"cannot be reached, or has ended the connection ({_root_of(error)})") from error


def _refused(answer: requests.Response | None) -> WebError:
    status = 0 if answer is None else answer.status_code
    name = HTTPStatus(status).phrase.lower() if status in set(HTTPStatus) else "no status"
    remedy = "; check the credentials (docs/remote.md)" if status in (401, 403) else ""
    return WebError(f"answers {status} ({name}){remedy}", status)


def _root_of(error: BaseException) -> str:
    """The system's words for what lies at the root of an error, without the address that was asked."""
    found, seen = error, set[int]()
    while id(found) not in seen:
        seen.add(id(found))
        inner = [part for part in found.args if isinstance(part, BaseException)]
        reason = getattr(found, "reason", None)
        following = reason if isinstance(reason, BaseException) else found.__cause__ or next(iter(inner), None)
        following = following or found.__context__
        if following is None:
            break
        found = following
    return str(getattr(found, "verify_message", "") or getattr(found, "strerror", "") or type(found).__name__)


@lru_cache(maxsize=64)
def _session(server: WebServer, _process: int, _thread: int) -> requests.Session:
    session = new_session(server.url, read_credentials(server.credentials), ca_file=server.ca_file)
    adapter = HTTPAdapter(max_retries=_RETRIES)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    if server.ca_file is not None:  # what the environment says of authorities would come before
        session.proxies.update(get_environ_proxies(server.url))
        session.trust_env = False
    return session
