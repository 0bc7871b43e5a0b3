"""Archives and folders of every bad kind: nothing leads out of them, fills the memory, blocks, or stops the rest."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
from small_sources import files, write, zipped

from cxrlens.dataset.prepare.record import Record, distinct
from cxrlens.dataset.prepare.tree import Tree
from cxrlens.dataset.prepare.write import Form, ImagePreparer, ImageToPrepare, PreparedOutcome
from cxrlens.errors import UnreadableImageError, UsageError
from cxrlens.inputs import origin as origins
from cxrlens.inputs.origin import FileOrigin, ZipMember, list_members
from cxrlens.inputs.readers import content
from cxrlens.inputs.reading import attempt
from image_files import dicom, dicom_bytes, levels

PICTURE = files("a.jpg")["a.jpg"]


@pytest.mark.parametrize(
    "name",
    ["../a.jpg", "../../../../tmp/a.jpg", "/etc/a.jpg", "x/../../a.jpg", "..\\a.jpg", "C:\\a.jpg", "x/a\nb.jpg"],
)
def test_a_member_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    zipped(tmp_path / "train.zip", {name: PICTURE, "good.jpg": PICTURE})
    tree = Tree(tmp_path)
    assert list(tree.files) == ["train/good.jpg"]
    (reason,) = tree.refused
    assert reason == f"{tmp_path / 'train.zip'}/{name}: its name leads out of the archive or cannot be a file's name"


def test_members_of_one_name_are_told_apart(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        archive.writestr("a.jpg", b"first")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.jpg", b"second")
    tree = Tree(tmp_path)
    assert {name: each.read() for name, each in tree.files.items()} == {"train/a.jpg": b"first"}
    assert tree.refused == (f"{tmp_path / 'train.zip'}/a.jpg: a second member of this name in the archive",)


def test_a_damaged_member_does_not_hurt_its_neighbours(tmp_path: Path) -> None:
    path = zipped(tmp_path / "train.zip", {f"{n}.jpg": PICTURE for n in range(3)})
    content = bytearray(path.read_bytes())
    second = content.index(PICTURE, content.index(PICTURE) + 1)
    content[second + 50] ^= 0xFF
    path.write_bytes(content)
    good, bad, other = list_members(path)
    assert good.read() == other.read() == PICTURE
    with pytest.raises(UnreadableImageError, match=r"train\.zip/1\.jpg: is damaged in the archive: Bad CRC-32"):
        bad.read()


def flagged(path: Path, at: int, value: int) -> None:
    """Change a member's header and its entry in the central directory."""
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.index(signature)
        content[place + offset + at] = value
    path.write_bytes(content)


def test_an_encrypted_member_says_so(tmp_path: Path) -> None:
    path = zipped(tmp_path / "train.zip", {"a.jpg": PICTURE})
    flagged(path, 0, 1)  # the flags come first
    with pytest.raises(UnreadableImageError, match=r"a\.jpg: is encrypted; unpack the archive with its password"):
        list_members(path)[0].read()


def test_an_unknown_compression_says_so(tmp_path: Path) -> None:
    path = zipped(tmp_path / "train.zip", {"a.jpg": PICTURE})
    flagged(path, 2, 97)
    with pytest.raises(UnreadableImageError, match=r"a\.jpg: is damaged in the archive: .*compression"):
        list_members(path)[0].read()


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "train.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.bmp", bytes(3 << 20))
        archive.writestr("liar.bmp", bytes(3 << 20))
    monkeypatch.setattr(origins, "MAX_BYTES", 2 << 20)
    bomb, liar = list_members(path)
    with pytest.raises(UnreadableImageError, match=r"bomb\.bmp: would unpack to more than"):
        bomb.read()
    content = path.read_bytes()  # the directory claims a small size for what unpacks to a large one
    place = content.rindex(b"PK\x01\x02")
    path.write_bytes(content[: place + 24] + (1000).to_bytes(4, "little") + content[place + 28 :])
    os.utime(path, (1, 1))
    liar = list_members(path)[1]
    assert (liar.name, liar.size()) == ("liar.bmp", 1000)
    with pytest.raises(UnreadableImageError, match=r"liar\.bmp: is damaged"):
        liar.read()


@pytest.mark.parametrize("content", [b"", b"no archive", "cut"], ids=["empty", "text", "cut"])
def test_an_archive_that_is_none(tmp_path: Path, content: bytes | str) -> None:
    path = zipped(tmp_path / "train.zip", {"a.jpg": PICTURE})
    path.write_bytes(path.read_bytes()[:300] if isinstance(content, str) else content)
    with pytest.raises(UsageError, match=r"train\.zip: cannot be read as a zip archive .*; download or copy it again"):
        _ = Tree(tmp_path).files


def test_an_archive_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    path = zipped(tmp_path / "train.zip", {"a.jpg": b"one"})
    first = list_members(path)[0]
    assert first.read() == b"one"
    zipped(path, {"a.jpg": b"another"})
    second = list_members(path)[0]
    assert second.read() == b"another"
    assert first.identity() != second.identity()


def test_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone")
    write(tmp_path, {"large.jpg": bytes(2000)})
    assert set(Tree(tmp_path).files) == {"pipe.jpg", "link.jpg", "large.jpg"}
    monkeypatch.setattr(content, "MAX_BYTES", 1000)
    for name, reason in (
        ("pipe", "is no regular file"),
        ("link", "No such file"),
        ("large", "the file is .* too large"),
    ):
        with pytest.raises(UnreadableImageError, match=rf"{name}\.jpg: {reason}"):
            FileOrigin(tmp_path / f"{name}.jpg").read()


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(PICTURE)
    whole = os.fstat

    def growing(descriptor: int) -> os.stat_result:
        """Somebody appends to the file right after it was looked at."""
        state = whole(descriptor)
        with path.open("ab") as stream:
            stream.write(b"more")
        return state

    monkeypatch.setattr(content.os, "fstat", growing)
    with pytest.raises(UnreadableImageError, match=r"a\.jpg: the file changed while it was read"):
        FileOrigin(path).read()


def test_links_that_lead_in_a_circle_are_followed_once(tmp_path: Path) -> None:
    write(tmp_path / "data", files("train/a.jpg"))
    write(tmp_path / "elsewhere", files("b.jpg"))
    (tmp_path / "data" / "train" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "dev").symlink_to(tmp_path / "elsewhere")
    assert set(Tree(tmp_path / "data").files) == {"train/a.jpg", "dev/b.jpg"}


def test_the_identity_of_a_file_changes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    origin = FileOrigin(path)
    states = [origin.identity()]
    for text, time in ((b"one", 1), (b"two", 2), (b"other", 2)):
        path.write_bytes(text)
        os.utime(path, (time, time))
        states.append(origin.identity())
    assert len(set(states)) == 4
    assert origin.size() == 5
    assert origin.below(tmp_path) == "a.jpg"
    assert origin.below(tmp_path / "other") == path.as_posix()
    member = ZipMember(tmp_path / "x.zip", 0, "a/b.jpg", 1, 2)
    assert member.below(tmp_path) == "x.zip/a/b.jpg"


def test_dicom_files_without_an_ending_are_images(tmp_path: Path) -> None:
    """As archives export them: by a UID, whose last number is no ending, or by a number."""
    content = dicom_bytes(dicom(levels()))
    plain = {"1.2.840.17": content, "1.2.840.18": content, "IM0001": content}
    other = {"README": b"text", "DICOMDIR": content, "notes.2024": b"text"}
    write(tmp_path / "a", {f"train/{name}": each for name, each in {**plain, **other}.items()})
    zipped(tmp_path / "b" / "train.zip", {**plain, **other, ".hidden": content})
    for name in ("a", "b"):
        assert set(Tree(tmp_path / name).files) == {f"train/{each}" for each in plain}
    records = distinct(Record(name, each) for name, each in Tree(tmp_path / "b").files.items())
    assert [record.name for record in records] == ["train/1.2.840.17", "train/1.2.840.18", "train/IM0001"]
    outcomes = [attempt(ImagePreparer(Form(5), tmp_path / "out"), ImageToPrepare(record)) for record in records]
    assert [isinstance(each, PreparedOutcome) and each.image.path for each in outcomes] == [
        *("images/train/1.2.840.17.png", "images/train/1.2.840.18.png", "images/train/IM0001.png")
    ]


def test_a_folder_that_may_not_be_entered_is_an_entry(tmp_path: Path) -> None:
    write(tmp_path, files("train/a/1.jpg", "train/b/2.jpg"))
    (tmp_path / "train" / "b").chmod(0)
    try:
        if os.access(tmp_path / "train" / "b", os.R_OK):
            pytest.skip("this user may enter every folder")
        assert set(Tree(tmp_path).files) == {"train/a/1.jpg", "train/b"}
    finally:
        (tmp_path / "train" / "b").chmod(0o755)
