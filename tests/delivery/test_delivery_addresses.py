"""How destinations and credentials are named, and that no password shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrlens.delivery.credentials import Credentials, Login, read_credentials
from cxrlens.delivery.destinations import DeliverySettings, check_ae_title, open_destination
from cxrlens.errors import UsageError

pytest.importorskip("pynetdicom")
pytest.importorskip("dicomweb_client")

SECRET = "hunter-2-hunter"


@pytest.mark.parametrize("address", ["dicom://PACS@127.0.0.1:104", "https://pacs.example/dicom-web", "http://h:8042/x"])
def test_a_destination_is_called_by_its_address(address: str) -> None:
    assert open_destination(address, DeliverySettings()).name == address


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("pacs.example", "is no destination"),
        ("ftp://pacs.example", "is no destination"),
        ("dicom://PACS@pacs.example", "a host and a port"),
        ("dicom://pacs.example:104", "AE title"),
        ("dicom://A%5CB@pacs.example:104", "AE title"),
        ("dicom://MORE_THAN_SIXTEEN@pacs.example:104", "AE title"),
        ("dicom://PACS@pacs.example:104/path", "nothing else"),
        ("dicom://PACS@pacs.example:port", "is no address"),
    ],
)
def test_what_is_no_destination_is_refused_with_how_it_is_written(address: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_destination(address, DeliverySettings())


@pytest.mark.parametrize(
    "address", [f"https://user:{SECRET}@pacs.example/dicom-web", f"dicom://PACS:{SECRET}@pacs.example:104"]
)
def test_a_password_in_an_address_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(UsageError, match="--credentials") as caught:
        open_destination(address, DeliverySettings())
    assert SECRET not in str(caught.value)


def test_blanks_round_an_ae_title_do_not_count() -> None:
    assert check_ae_title(" NODE 1 ", "--aet") == "NODE 1"


def test_credentials_are_those_of_the_host_in_a_file_else_of_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "netrc"
    file.write_text(
        f"machine one login a password {SECRET}\n"
        "machine one:8443 login b password second\n"
        "machine two login bearer password token\n"
    )
    file.chmod(0o600)
    found = read_credentials(file, {"CXRLENS_PACS_USER": "c", "CXRLENS_PACS_PASSWORD": "third"})
    assert found.of("one") == Login("a", SECRET)
    assert found.of("one", 8443) == Login("b", "second")
    assert found.of("two") == Login("", "token")
    assert found.of("two").is_token  # type: ignore[union-attr]
    assert found.of("three") == Login("c", "third")
    assert SECRET not in repr(found) + str(found) + repr(found.of("one"))
    assert read_credentials(None, {"CXRLENS_PACS_CREDENTIALS": str(file)}).of("three") is None
    assert read_credentials(None, {}) == Credentials()


def test_a_file_that_others_may_read_or_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "netrc"
    file.write_text(f"machine one login a password {SECRET}\n")
    file.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        read_credentials(file, {})
    file.chmod(0o600)
    file.write_text(f"{SECRET}\n")
    with pytest.raises(UsageError, match="holds no credentials") as caught:
        read_credentials(file, {})
    assert SECRET not in str(caught.value)
    with pytest.raises(UsageError, match="cannot be read"):
        read_credentials(tmp_path / "none", {})


@pytest.mark.parametrize(
    "environment",
    [
        {"CXRLENS_PACS_USER": "a"},
        {"CXRLENS_PACS_PASSWORD": SECRET},
        {"CXRLENS_PACS_USER": "a", "CXRLENS_PACS_PASSWORD": SECRET, "CXRLENS_PACS_TOKEN": "b"},
    ],
)
def test_half_an_environment_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="CXRLENS_PACS_USER") as caught:
        read_credentials(None, environment)
    assert SECRET not in str(caught.value)
