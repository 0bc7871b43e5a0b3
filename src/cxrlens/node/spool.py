"""Received images on the disk: whole, named by what they are, and there before anybody is told so."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Final

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from cxrlens.dicom_out.uids import derived_uid
from cxrlens.files import replacing
from cxrlens.outputs import make_private, remove_partials

_PREAMBLE: Final = b"\0" * 128 + b"DICM"
_NAME = re.compile(r"([0-9a-f]{24})-[0-9a-f]{24}\.dcm")
_DIGITS = 24


class NoSpaceError(Exception):
    """The disk has no space for an image, or would have less left than is to be kept free."""


class Kind(Enum):
    """What an image is to those that were received before."""

    NEW = "new"
    REPEATED = "the same again"
    CORRECTED = "other content under a known SOP Instance UID"


@dataclass(frozen=True)
class Received:
    """An image on the disk.

    Attributes:
        file: where it is.
        kind: what it is to earlier ones.
    """

    file: Path
    kind: Kind


@dataclass(frozen=True)
class Instance:
    """An image as it arrives.

    Attributes:
        uid: SOP Instance UID; ``sop_class`` the class.
        syntax: transfer syntax of the data set.
        dataset: the encoded data set, without file meta information.
    """

    uid: str
    sop_class: str
    syntax: str
    dataset: bytes

    @cached_property
    def content(self) -> bytes:
        """The image as a file; the same for the same data set, whoever sends it, and whenever."""
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = UID(self.sop_class)
        meta.MediaStorageSOPInstanceUID = UID(self.uid)
        meta.TransferSyntaxUID = UID(self.syntax)
        meta.ImplementationClassUID = derived_uid("implementation of the node")
        meta.ImplementationVersionName = "CXRLENS"
        stream = DicomBytesIO()
        write_file_meta_info(stream, meta, enforce_standard=True)
        return b"".join((_PREAMBLE, stream.getvalue(), self.dataset))


class Spool:
    """The images that a node has received.

    A file's name is made of digests: of the SOP Instance UID, which may hold anything and may be secret, and of the
    content. Another content under the same UID, a correction, lies beside the first one.

    Args:
        folder: made where there is none.
        keep_free: bytes of its disk that no image may take: results need some.
    """

    def __init__(self, folder: Path, keep_free: int = 0) -> None:
        self.folder = folder
        self._keep_free = keep_free
        make_private(folder)
        remove_partials(folder.parent, [folder.name])  # of a node that was killed

    def take(self, instance: Instance) -> Received:
        """Put an image on the disk: when this returns, it is there also after a power failure.

        Threads may call this at the same time, also with the same image.

        Raises:
            NoSpaceError: when there is not enough space.
            OSError: when it cannot be written for another reason.
        """
        uid = hashlib.sha256(instance.uid.encode()).hexdigest()[:_DIGITS]
        digest = hashlib.sha256(instance.syntax.encode() + b"\0")
        digest.update(instance.dataset)
        place = self.folder / uid[:2]
        file = place / f"{uid}-{digest.hexdigest()[:_DIGITS]}.dcm"
        # One look for both questions: another thread may write the same image between two.
        known = {name for name in os.listdir(place) if name.startswith(f"{uid}-")} if place.is_dir() else set()  # noqa: PTH208
        if file.name in known:
            _sync_folder(place)  # the thread that wrote it may not have come that far
            return Received(file, Kind.REPEATED)
        if shutil.disk_usage(self.folder).free - len(instance.dataset) < self._keep_free:
            raise NoSpaceError
        if not place.is_dir():
            make_private(place)
            _sync_folder(self.folder)
        with replacing(file, private=True) as partial, partial.open("wb") as stream:
            stream.write(instance.content)
            stream.flush()
            os.fsync(stream.fileno())
        _sync_folder(place)
        return Received(file, Kind.CORRECTED if known else Kind.NEW)

    def files(self) -> Iterator[Path]:
        """All images, by name."""
        for place in sorted(self.folder.iterdir()):
            if place.is_dir() and re.fullmatch("[0-9a-f]{2}", place.name):
                yield from sorted(file for file in place.iterdir() if _NAME.fullmatch(file.name))


def _sync_folder(folder: Path) -> None:
    """Have the system keep the names in a folder, where it can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
