"""Free space where results, decoded images and temporary files go."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cxrlens.doctor.finding import DoctorFinding
from cxrlens.errors import UsageError
from cxrlens.inputs.cache.location import format_size
from cxrlens.inputs.cache.store import ArrayStore

_SECTION = "space"
_ROOM = 8e9  # bytes: the decoded images of 10,000 radiographs at 600 px, and some more
_SHARED_MEMORY = Path("/dev/shm")
_SHARED_ROOM = 1e9


def space() -> Iterator[DoctorFinding]:
    """Of the working, the temporary and the cache folder and of shared memory; and what decoded images take."""
    for name, folder in (("working folder", Path.cwd()), ("temporary folder", Path(tempfile.gettempdir()))):
        yield free(name, folder, _ROOM, "make room or work elsewhere")
    if _SHARED_MEMORY.is_dir():
        remedy = "loader processes hand images over there: docker run --shm-size 2g, or --workers 0"
        yield free("shared memory", _SHARED_MEMORY, _SHARED_ROOM, remedy)
    yield from _decoded_images()


def _decoded_images() -> Iterator[DoctorFinding]:
    """The cache: what it holds, and whether there is room for more."""
    try:
        store = ArrayStore.default()
        held = store.contents()
    except UsageError as error:  # its sentence names the remedy
        yield DoctorFinding(_SECTION, "cache", "problem", str(error))
        return
    size, limit = format_size(held.size), format_size(store.limit)
    yield DoctorFinding(
        _SECTION, "cache", "ok", f"{store.folder}: {held.entries} decoded images, {size} of at most {limit}"
    )
    there = next(folder for folder in (store.folder, *store.folder.absolute().parents) if folder.is_dir())
    remedy = "training on 10,000 images at 600 px keeps 3.6 GB, of 16 bits 7.2 GB: name another folder with --cache-dir"
    yield free("cache folder", there, _ROOM, remedy)


def free(name: str, folder: Path, room: float, remedy: str) -> DoctorFinding:
    """The free space of a folder; a note when it is below so many bytes, or cannot be used."""
    try:
        there = shutil.disk_usage(folder).free
    except OSError as error:
        return DoctorFinding(_SECTION, name, "note", f"{folder}: {error.strerror or error}", "work in another folder")
    detail = f"{folder}: {there / 1e9:.1f} GB free"
    if not os.access(folder, os.W_OK):
        return DoctorFinding(
            _SECTION, name, "note", f"{detail}, but not writable", "write results elsewhere with --out"
        )
    return (
        DoctorFinding(_SECTION, name, "ok", detail)
        if there >= room
        else DoctorFinding(_SECTION, name, "note", detail, remedy)
    )
