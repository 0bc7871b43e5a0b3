"""Names, lines and places of results; what a torn line costs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlens.errors import UsageError
from cxrlens.inputs.names import name_of, path_of
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.index import Index
from cxrlens.screening.record import ScreenedImage

A, B = "a" * 64, "b" * 64
PARTS = st.binary(min_size=1, max_size=12).filter(
    lambda part: not set(part) & set(b"/\0") and part not in (b".", b"..")
)


def image(name: str, key: str = A, probability: float = 0.5) -> ScreenedImage:
    return ScreenedImage(name=name, key=key, probability=probability, decision="affected")


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


def test_lines_are_found_where_they_begin(tmp_path: Path) -> None:
    folder = ScreenedFolder(tmp_path)
    begins = folder.append([image("Größe.jpg"), image("b.jpg", B)]) + folder.append([image("c.jpg")])
    assert [folder.result_at(begin).name for begin in begins] == ["Größe.jpg", "b.jpg", "c.jpg"]
    assert [begin for begin, _ in folder.lines()] == begins


@pytest.mark.parametrize("torn", [b"{", b'{"name":"x"', b"x" * 200_000])
def test_a_torn_line_goes_and_no_other(tmp_path: Path, torn: bytes) -> None:
    folder = ScreenedFolder(tmp_path)
    folder.append([image("a.jpg"), image("b.jpg", B)])
    whole = folder.results_file.read_bytes()
    with folder.results_file.open("ab") as stream:
        stream.write(torn)
    assert list(folder.results()) == ["a.jpg", "b.jpg"]
    folder.drop_torn_line()
    assert folder.results_file.read_bytes() == whole
    folder.drop_torn_line()
    assert folder.results_file.read_bytes() == whole
    folder.results_file.write_bytes(torn)
    folder.drop_torn_line()
    assert folder.results_file.read_bytes() == b""


def test_another_damaged_line_is_named(tmp_path: Path) -> None:
    folder = ScreenedFolder(tmp_path)
    folder.append([image("a.jpg")])
    with folder.results_file.open("ab") as stream:
        stream.write(b"nonsense\n")
    with pytest.raises(UsageError, match="line 2 is damaged"):
        folder.results()


def test_the_index_knows_names_and_contents(tmp_path: Path) -> None:
    folder = ScreenedFolder(tmp_path)
    index = Index(folder)
    index.append([image("a.jpg", A, 0.1), image("b.jpg", B, 0.2)])
    index.append([image("a.jpg", B, 0.2), ScreenedImage(name="c.jpg", key=A, status="unreadable", reason="no")])
    lines = len(list(folder.lines()))
    index.append([image("a.jpg", B, 0.2)])  # says nothing new
    index.append([])
    assert len(list(folder.lines())) == lines == 4
    for found in (index, Index(folder)):
        assert (found.named("a.jpg"), found.named("d.jpg")) == (image("a.jpg", B, 0.2), None)
        known = found.of_content(A)
        assert known is not None
        assert known.probability == 0.1
        assert found.of_content("c" * 64) is None


def test_a_name_that_comes_twice_at_once_is_one_line(tmp_path: Path) -> None:
    index = Index(ScreenedFolder(tmp_path))
    index.append([image("a.jpg"), image("b.jpg"), image("a.jpg")])
    assert [found.name for _, found in index.folder.lines()] == ["a.jpg", "b.jpg"]
    index.append([image("a.jpg", B)])
    assert index.named("a.jpg") == image("a.jpg", B)


@pytest.mark.parametrize("committed", ["as it was", "lost", b"", b"nonsense"])
def test_what_a_killed_run_left_of_a_batch_is_cut_away(tmp_path: Path, committed: str | bytes) -> None:
    folder = ScreenedFolder(tmp_path)
    folder.append([image("a.jpg"), image("b.jpg")])
    folder.commit()
    folder.append([image("c.jpg")])
    with folder.results_file.open("ab") as stream:
        stream.write(b'{"name"')
    if committed == "lost":
        folder.committed_file.unlink()
    elif isinstance(committed, bytes):
        folder.committed_file.write_bytes(committed)
    for _ in range(2):
        folder.drop_unfinished()
        assert list(folder.results()) == ["a.jpg", "b.jpg"] + ["c.jpg"] * (committed != "as it was")
        assert folder.results_file.read_bytes().endswith(b"\n")


def test_a_cut_in_the_middle_of_a_line_leaves_no_half(tmp_path: Path) -> None:
    """Where a person has deleted a line, what is committed ends elsewhere."""
    folder = ScreenedFolder(tmp_path)
    folder.append([image("a.jpg"), image("b.jpg")])
    folder.commit()
    first = folder.results_file.read_bytes().splitlines(keepends=True)[0]
    folder.results_file.write_bytes(first)
    folder.append([image("a name that is longer than that of the other one.jpg")])
    folder.drop_unfinished()
    assert folder.results_file.read_bytes() == first


def test_the_first_batch_may_be_unfinished(tmp_path: Path) -> None:
    folder = ScreenedFolder(tmp_path)
    folder.commit()
    folder.append([image("a.jpg")])
    folder.drop_unfinished()
    assert folder.results() == {}
    folder.results_file.unlink()
    folder.drop_unfinished()
    assert folder.results() == {}
