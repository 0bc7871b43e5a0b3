"""Addresses of images: what is understood, and what is refused, without ever repeating a password."""

from __future__ import annotations

import pytest

from cxrlens.errors import UsageError
from cxrlens.screening.remote.addresses import is_address, is_web_address, parse_address
from cxrlens.screening.remote.selection import Selection, Sieve
from cxrlens.screening.roots import RemoteRoot, named, place_of, root_of, text_of_root

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("text", "root", "url"),
    [
        ("dicomweb://pacs.example/dicom-web/", "dicomweb://pacs.example/dicom-web", "https://pacs.example/dicom-web"),
        ("dicomweb+http://127.0.0.1:8042/a?date=1", "dicomweb+http://127.0.0.1:8042/a", "http://127.0.0.1:8042/a"),
        ("ORTHANC://pacs", "orthanc://pacs", "https://pacs"),
        ("orthanc+http://pacs:80", "orthanc+http://pacs:80", "http://pacs:80"),
    ],
)
def test_a_server_is_asked_unencrypted_only_where_the_address_says_so(text: str, root: str, url: str) -> None:
    address = parse_address(text)
    assert (address.root, address.url) == (root, url)
    assert is_web_address(text)


@pytest.mark.parametrize("text", ["s3://bucket/in/", "gs://b/c", "abfs://container@account.dfs.core.windows.net/in"])
def test_an_address_of_files_stays_as_it_is(text: str) -> None:
    assert parse_address(text).root == text.rstrip("/")
    assert not is_web_address(text)


@pytest.mark.parametrize("text", ["in", "/data/in", "C:\\in", "-", "a/b:/c", "./s3:/x"])
def test_paths_are_no_addresses(text: str) -> None:
    assert not is_address(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"dicomweb://me:{SECRET}@pacs/x", "credentials"),
        (f"orthanc://{SECRET}@pacs", "credentials"),
        (f"s3://key:{SECRET}@bucket/in", "credentials"),
        (f"dicomweb+http://me:a/b@{SECRET}@pacs/x", "credentials"),
        (f"s3://bucket/in?X-Amz-Signature={SECRET}", "no '?'"),
        ("dicomweb://", "is no address"),
        ("dicomweb://pacs:port/x", "is no address"),
        ("s3:///", "is no address"),
        ("file:///data", "give its path alone"),
        ("simplecache::s3://bucket", "is no address"),
        ("s3://bucket/a\nb", "is no address"),
        ("orthanc://pacs?date=1&date=2", "'date' twice"),
    ],
)
def test_what_is_no_address_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_address(text)
    assert said in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"day": "20260101"}, "there is no 'day' to select by; there are date, modality, station"),
        ({"date": "2026-01-01"}, "'date' takes a day such as 20260131"),
        ({"date": "20261301"}, "'date' takes"),
        ({"date": "20260102-20260101"}, "ends before it begins"),
        ({"date": "-"}, "'date' takes"),
        ({"modality": ""}, "'modality' takes"),
        ({"modality": "DX,*"}, "'modality' takes"),
        ({"station": "a\\b"}, "no backslash"),
    ],
)
def test_what_cannot_be_selected_by_is_refused(query: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        Selection.of(query, "orthanc://pacs")


@pytest.mark.parametrize(
    ("asked", "taken", "left_out"),
    [
        ("20260131", ["20260131"], ["20260130", "20260201", ""]),
        ("20260101-20260131", ["20260101", "20260131"], ["20251231", "20260201", ""]),
        ("20260101-", ["20260101", "20991231"], ["20251231", ""]),
        ("-20260101", ["20260101", "19000101"], ["20260102", ""]),
        ("", ["20260101", ""], []),
    ],
)
def test_dates(asked: str, taken: list[str], left_out: list[str]) -> None:
    selection = Selection.of({"date": asked}, "x")
    assert [*map(selection.takes_date, taken + left_out)] == [True] * len(taken) + [False] * len(left_out)


def test_radiographs_are_asked_for_unless_something_else_is() -> None:
    assert Selection.of({}, "x").modalities == ("CR", "DX")
    assert Selection.of({"modality": "dx, mg"}, "x").modalities == ("DX", "MG")
    assert Selection.of({"modality": "*"}, "x").takes_modality("CT")


def test_the_sieve_holds_an_archive_to_what_was_asked(caplog: pytest.LogCaptureFixture) -> None:
    sieve = Sieve(Selection.of({"date": "20260131", "station": "ROOM?"}, "x"))
    assert sieve.takes_study("20260131")
    assert not sieve.takes_study("20260130")
    assert sieve.takes_series("DX", "ROOM1", "Maker")
    assert not sieve.takes_series("DX", "ROOM12", "Maker")
    assert not sieve.takes_series("CT", "ROOM1", "Maker")
    assert not sieve.takes_series("DX", None, "Maker")
    assert not sieve.takes_series("DX", "ROOM1", "cxrlens")
    sieve.report("orthanc://pacs")
    assert {record.getMessage() for record in caplog.records} == {
        "orthanc://pacs: left out 1 studies of another date",
        "orthanc://pacs: left out 1 series whose station the archive does not tell",
        "orthanc://pacs: left out 1 series of results that cxrlens made",
    }


def test_roots_of_records() -> None:
    root = root_of("s3://bucket/in")
    assert root == RemoteRoot("s3://bucket/in")
    assert (text_of_root(root), str(root), root.name) == ("s3://bucket/in", "s3://bucket/in", "in")
    assert place_of("a//b.jpg", root) == "s3://bucket/in/a//b.jpg"
    assert text_of_root(root_of("/data/in")) == "/data/in"
    assert place_of("a.jpg", root_of("/data/in")) == "/data/in/a.jpg"


def test_names_of_remote_images_are_those_of_their_server() -> None:
    from cxrlens.screening.remote.objects import StoredImage

    origin, name = named(StoredImage("s3://bucket/in", "a//b/../c.jpg"), RemoteRoot("s3://bucket/in"))
    assert name == "a//b/../c.jpg"
    assert str(origin) == "s3://bucket/in/a//b/../c.jpg"
