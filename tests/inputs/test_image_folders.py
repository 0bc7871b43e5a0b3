"""Which files of a folder are images: nothing that may be one is passed over in silence, and links in a circle end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cxrlens.errors import UsageError
from cxrlens.inputs.dataset.layouts import load_folder
from cxrlens.inputs.finding import list_images
from image_files import dicom, dicom_bytes, levels


def names(folder: Path, *, recursive: bool = True) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in list_images(folder, recursive=recursive)]


def test_linked_folders_are_searched_once_and_real_ones_first(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    folder = tmp_path / "in"
    for each in (outside, folder / "m" / "deep"):
        each.mkdir(parents=True)
        (each / "a.jpg").touch()
    (folder / "a link to m").symlink_to(folder / "m")
    (folder / "archive").symlink_to(outside)
    (folder / "archive again").symlink_to(outside)
    assert names(folder) == ["archive/a.jpg", "m/deep/a.jpg"]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.jpg").touch()
    (tmp_path / "beside.jpg").touch()
    (folder / "sub" / "up").symlink_to("..")
    (folder / "sub" / "out").symlink_to(tmp_path)
    (folder / "sub" / "root").symlink_to("/")
    (folder / "one").symlink_to("two")
    (folder / "two").symlink_to("one")
    assert names(folder) == ["sub/a.jpg"]
    (tmp_path / "link").symlink_to(folder)
    assert names(tmp_path / "link") == ["sub/a.jpg"]


def test_what_has_an_image_s_name_is_listed_whatever_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "broken.jpg").symlink_to("nowhere")
    (tmp_path / "circle.jpg").symlink_to("circle.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "folder.jpg" / "inner.jpg").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "thumbnail.jpg").touch()
    assert names(tmp_path) == ["broken.jpg", "circle.jpg", "folder.jpg/inner.jpg", "pipe.jpg"]
    assert names(tmp_path, recursive=False) == ["broken.jpg", "circle.jpg", "folder.jpg", "pipe.jpg"]


@pytest.mark.parametrize("name", ["with space.jpg", "-leading.jpg", "Größe 胸部.JPG", "new\nline.png", "$x$ [b].tif"])
def test_names_as_people_give_them(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert names(tmp_path) == names(tmp_path, recursive=False) == [name]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.jpg"))
    path.touch()
    assert list_images(tmp_path) == [path]


def test_dicom_files_need_no_ending(tmp_path: Path) -> None:
    content = dicom_bytes(dicom(levels()))
    for name in ("IM000001", "1.2.840.113619.2.55.3", "DICOMDIR"):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "README").write_text("text")
    (tmp_path / "short").write_bytes(content[:131])
    (tmp_path / "notes.dat").write_bytes(content)
    assert names(tmp_path) == ["1.2.840.113619.2.55.3", "IM000001"]


def test_folders_that_cannot_be_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system says it to anybody but root, under whom tests may run."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "a.jpg").touch()
    (tmp_path / "closed").mkdir()
    real = os.scandir

    def scandir(path: Path) -> object:
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("cxrlens.inputs.finding.os.scandir", scandir)
    assert names(tmp_path) == ["closed", "open/a.jpg"]
    with pytest.raises(UsageError, match=r"closed: cannot be searched \(Permission denied\); check its rights"):
        list_images(tmp_path / "closed")


STORAGE = ("@eaDir", "#recycle", ".AppleDouble", "@Recycle", ".@__thumb", "lost+found", "System Volume Information",
           "$RECYCLE.BIN", "Thumbs")  # fmt: skip


def with_thumbnails(folder: Path, *images: str) -> None:
    """Images, with a thumbnail of each in every folder that servers and systems keep."""
    for image in images:
        path = folder / image
        for place in (path, *(path.parent / name / path.name / "thumb.jpg" for name in STORAGE)):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()


def test_thumbnails_of_network_storage_are_no_images_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with_thumbnails(tmp_path, "affected/1.jpg", "normal/2.jpg")
    (tmp_path / "normal" / "Thumbs.db").touch()
    (tmp_path / "normal" / "lost+found.jpg").touch()
    found = ["affected/1.jpg", "normal/2.jpg", "normal/lost+found.jpg"]
    assert names(tmp_path) == found
    assert caplog.messages == [
        "18 folders of the storage's own (thumbnails, deleted files) are not searched: "
        + ", ".join(str(tmp_path / "affected" / name) for name in sorted(STORAGE)[:3]) + " ..."
    ]  # fmt: skip
    assert [item.name_in(tmp_path) for item in load_folder(tmp_path).items] == found
    assert len(caplog.messages) == 2
    assert names(tmp_path, recursive=False) == []
    assert len(caplog.messages) == 2
    assert names(tmp_path / "normal" / "@eaDir") == ["2.jpg/thumb.jpg"]  # when it is asked for
