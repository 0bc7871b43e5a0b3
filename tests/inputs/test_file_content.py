"""Files as they lie in folders: only regular ones are read, whole, as they were at one moment."""

from __future__ import annotations

import errno
import os
import socket
import threading
from pathlib import Path

import pytest
from PIL import Image

from cxrlens.errors import UnreadableImageError, UsageError
from cxrlens.inputs.readers import content as file_content
from cxrlens.inputs.readers import image_size, read, read_content, require_file


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    Image.new("L", (4, 3), 51).save(path)
    return path


def refused(path: Path, reason: str) -> None:
    """By all that reads, with the file's name first."""
    for reader in (read, image_size):
        with pytest.raises(UnreadableImageError, match=reason) as caught:
            reader(path)
        assert str(caught.value).startswith(f"{path}: ")


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")  # opened for reading, it would wait for a writer
    refused(tmp_path / "pipe.jpg", "no regular file")
    (tmp_path / "device.jpg").symlink_to("/dev/zero")  # without end
    refused(tmp_path / "device.jpg", "no regular file")
    (tmp_path / "folder.jpg").mkdir()
    refused(tmp_path / "folder.jpg", "this is a folder, not an image")


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket.jpg")
        refused(Path("socket.jpg"), "no regular file")


def test_links(tmp_path: Path, picture: Path) -> None:
    (tmp_path / "link.png").symlink_to(picture)
    assert read(tmp_path / "link.png").pixels.shape == image_size(tmp_path / "link.png") == (3, 4)
    (tmp_path / "broken.png").symlink_to("nowhere")
    refused(tmp_path / "broken.png", "No such file")
    (tmp_path / "circle.png").symlink_to("circle.png")
    refused(tmp_path / "circle.png", "symbolic links")


def test_empty_missing_and_too_large_files(tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.png").touch()
    refused(tmp_path / "empty.png", "the file is empty")
    refused(tmp_path / "absent.png", "No such file")
    refused(tmp_path / ("x" * 300), "too long")
    with pytest.raises(UnreadableImageError, match="null"):
        read(Path("zero\0byte.png"))
    with (tmp_path / "huge.png").open("wb") as stream:
        stream.truncate(file_content.MAX_BYTES + 1)  # a hole, which takes no space
    refused(tmp_path / "huge.png", "too large for one radiograph; save it smaller")
    monkeypatch.setattr(file_content, "MAX_BYTES", picture.stat().st_size)
    assert read(picture).pixels.shape == (3, 4)


def test_files_without_permission(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system says it to anybody but root, under whom tests may run."""

    def forbidden(path: str, flags: int, *_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "open", forbidden)
    refused(picture, "Permission denied")


def test_folders_that_may_not_be_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    refused(tmp_path, "the folder may not be entered")


def test_an_error_of_the_disk_while_reading(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: int) -> os.stat_result:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", failing)
        with pytest.raises(UnreadableImageError, match="Input/output error") as caught:
            read_content(picture, str(picture))
    assert str(caught.value).startswith(f"{picture}: ")


@pytest.mark.parametrize("change", ["grows", "shrinks", "is written over"])
def test_a_file_that_changes_while_it_is_read(picture: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """The change comes after the first look at the file's size and time."""
    real, looks = os.fstat, 0

    def looking(number: int) -> os.stat_result:
        nonlocal looks
        found = real(number)
        looks += 1
        if looks == 2:  # the first look is that of `open_regular`
            if change == "grows":
                with picture.open("ab") as stream:
                    stream.write(b"more")
            elif change == "shrinks":
                os.truncate(picture, 20)
            else:
                os.utime(picture, ns=(0, found.st_mtime_ns + 1))
        return found

    monkeypatch.setattr(file_content.os, "fstat", looking)
    with pytest.raises(UnreadableImageError, match="changed while it was read; try again when it is complete"):
        read(picture)
    monkeypatch.undo()
    if change != "shrinks":
        assert read(picture).pixels.shape == (3, 4)


def test_a_file_replaced_while_it_is_read_is_the_old_one(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fstat

    def replacing(number: int) -> os.stat_result:
        other = picture.with_name("other.png")
        Image.new("L", (9, 9)).save(other)
        other.replace(picture)
        monkeypatch.setattr(file_content.os, "fstat", real)
        return real(number)

    monkeypatch.setattr(file_content.os, "fstat", replacing)
    assert read(picture).pixels.shape == (3, 4)
    assert read(picture).pixels.shape == (9, 9)


def test_a_file_that_becomes_a_pipe_between_the_looks(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def swapped(path: str, flags: int, *rest: int) -> int:
        picture.unlink()
        os.mkfifo(picture)
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", swapped)
    with pytest.raises(UnreadableImageError, match="no regular file"):
        read(picture)


def test_require_file(tmp_path: Path, picture: Path) -> None:
    assert require_file(picture) == picture
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, reason in (("pipe.jpg", "no regular file"), ("absent.jpg", "no such file or folder; check the path")):
        with pytest.raises(UsageError, match=reason):
            require_file(tmp_path / name)


def test_many_threads_read_at_once(picture: Path) -> None:
    found: list[tuple[int, ...]] = []
    threads = [threading.Thread(target=lambda: found.append(read(picture).pixels.shape)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(3, 4)] * 16
