"""DICOMweb servers as destinations: STOW-RS."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import requests
from dicomweb_client import DICOMwebClient
from pydicom import Dataset, dcmread

from cxrlens.delivery.destinations import DeliveryFailed, DeliverySettings
from cxrlens.delivery.web_session import new_session

_AGAIN: Final = {401, 403, 404, 407, 408, 425, 429}
"""Statuses below 500 after which the same files may be taken, once somebody has mended what they speak of."""

_WHOLE = 1 << 40  # bytes up to which a request states its length: servers are not alike in taking pieces


class WebDestination:
    """A DICOMweb server that files are stored at; ``address`` is the root of its service."""

    def __init__(self, address: str, settings: DeliverySettings) -> None:
        self._address = address
        self._settings = settings

    @property
    def name(self) -> str:
        return self._address

    def deliver(self, files: Sequence[Path]) -> None:
        """Send files in one request; see `Destination`."""
        datasets = [dcmread(file) for file in files]
        answers: list[requests.Response] = []

        def note(response: requests.Response, *_: Any, **__: Any) -> requests.Response:
            answers.append(response)
            return response

        settings = self._settings
        session = new_session(
            self._address,
            settings.credentials,
            ca_file=settings.ca_file,
            certificate=settings.certificate,
            key=settings.key,
        )
        with session:
            client = DICOMwebClient(
                self._address.rstrip("/"),
                session=session,
                headers={"Accept": "application/dicom+json"},
                callback=note,
                chunk_size=_WHOLE,
                timeout=settings.seconds,
            )
            client.set_http_retry_params(retry=False)  # the outbox does that, and waits longer
            try:
                said = client.store_instances(datasets)
            except requests.HTTPError as error:
                raise self._refused(error.response) from error
            except requests.TooManyRedirects as error:
                raise self._failed("sends requests elsewhere; give the address where it takes files") from error
            except (requests.RequestException, OSError) as error:
                raise self._failed(f"cannot be reached ({_kind(error)})") from error
            except ValueError as error:
                raise self._failed(f"has answered with something that cannot be read ({_kind(error)})") from error
        self._check(datasets, said, answers[-1].status_code)

    def _check(self, datasets: Sequence[Dataset], said: Dataset, status: int) -> None:
        """Make sure that each file was stored: success is one status for all of them, unless the answer says more."""
        failed = {item.get("ReferencedSOPInstanceUID"): item for item in said.get("FailedSOPSequence") or ()}
        if failed:
            reason = next(iter(failed.values())).get("FailureReason")
            raise self._failed(
                f"has not taken {len(failed)} of {len(datasets)} files (failure reason {_hexadecimal(reason)})",
                again=_is_passing(reason),
            )
        stored = {item.get("ReferencedSOPInstanceUID") for item in said.get("ReferencedSOPSequence") or ()}
        is_told = status == HTTPStatus.OK and not stored
        if not is_told and (missing := [item for item in datasets if item.SOPInstanceUID not in stored]):
            raise self._failed(f"does not say that it has taken {len(missing)} of {len(datasets)} files")

    def _refused(self, response: requests.Response | None) -> DeliveryFailed:
        status = 0 if response is None else response.status_code
        name = HTTPStatus(status).phrase.lower() if status in set(HTTPStatus) else "no status"
        remedy = "; check the credentials" if status in (401, 403) else ""
        return self._failed(f"has answered {status} ({name}){remedy}", again=status >= 500 or status in _AGAIN)

    def _failed(self, what: str, *, again: bool = True) -> DeliveryFailed:
        return DeliveryFailed(f"{self.name}: {what}", again=again)


def _kind(error: Exception) -> str:
    """The error without what was sent."""
    return type(error).__name__


def _hexadecimal(reason: Any) -> str:
    return f"{reason:#06x}" if isinstance(reason, int) else "unknown"


def _is_passing(reason: Any) -> bool:
    """True of a failure that is the server's, not the files': it is out of resources, or could not process them."""
    return not isinstance(reason, int) or 0xA700 <= reason <= 0xA7FF or reason == 0x0110
