"""Names of results: text, whatever the paths, and no two the same."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cxrlens.inputs.names import name_of, path_of
from cxrlens.screening.record import ScreenedImage

PARTS = st.binary(min_size=1, max_size=12).filter(
    lambda part: not set(part) & set(b"/\0") and part not in (b".", b"..")
)


@given(PARTS | st.sampled_from([b"\\udcff", b"\\\\", b"a\\udcff\xff", b"\\udc", b"\\\xff"]), PARTS)
def test_every_path_has_a_name_that_is_text_and_leads_back(one: bytes, other: bytes) -> None:
    root = Path("/some/where")
    path = root / os.fsdecode(one) / os.fsdecode(other)
    name = name_of(path, root)
    name.encode()
    assert path_of(name, root) == path
    ScreenedImage.model_validate_json(ScreenedImage(name=name).model_dump_json())


@given(st.lists(PARTS | st.sampled_from([b"\xff", b"\\udcff", b"\\\\udcff"]), min_size=2, max_size=2, unique=True))
def test_no_two_paths_share_a_name(parts: list[bytes]) -> None:
    one, other = (name_of(Path("/r") / os.fsdecode(part), Path("/r")) for part in parts)
    assert one != other


def test_a_file_elsewhere_has_its_whole_path() -> None:
    assert name_of(Path("/b/c.jpg"), Path("/a")) == "/b/c.jpg"
    assert path_of("/b/c.jpg", Path("/a")) == Path("/b/c.jpg")
