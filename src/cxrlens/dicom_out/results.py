"""DICOM results beside the other results of a command."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from cxrlens.dicom_out import NotReferableError, require_highdicom, write_dicom
from cxrlens.dicom_out.equipment import NAME
from cxrlens.inputs.origin import FileOrigin, Origin
from cxrlens.inputs.readers import Pixels
from cxrlens.inputs.readers.dicom import START, is_dicom
from cxrlens.inputs.reading import Cause, Unreadable, attempt
from cxrlens.inputs.unreadable import list_unreadable, log_first
from cxrlens.inspection.model_facts import ModelFacts
from cxrlens.inspection.record import ImageRecord

log = logging.getLogger(__name__)

FOLDER = "dicom"

_HEADER = 1 << 16


@dataclass(frozen=True)
class DicomOutcome:
    """The outcome of an image that was read: results, or it is no DICOM file, or the reason why it can have none."""

    is_other: bool = False
    reason: str = ""


class DicomResults:
    """Writes the results of many images, and remembers which images have none and why.

    Args:
        out: the command's output folder; results go to its folder ``dicom``.
        model: which one gave them.

    Attributes:
        written: images whose results were written.
        others: names of images that are no DICOM files.
        refused: why a DICOM image has no result, one sentence each, by its name and the digest of its content.
        passing: those refused for what lies in the file's place, not in its content: it may be read another time.

    Raises:
        UsageError: when highdicom is not installed.
    """

    def __init__(self, out: Path, model: ModelFacts) -> None:
        require_highdicom()
        self.folder = out / FOLDER
        self.model = model
        self.written = 0
        self.others: set[str] = set()
        self.refused: dict[tuple[str, str], str] = {}
        self.passing: set[tuple[str, str]] = set()

    def clear(self) -> None:
        """Remove the results of an earlier run; objects of other equipment of that name stay."""
        for file in [file for kind in ("sr", "sc", "pr") for file in self.folder.rglob(f"*.{kind}.dcm")]:
            if _is_own(file):
                file.unlink()

    def add(self, source: Path, image: ImageRecord, place: Path, map_: Pixels | None, picture: Pixels) -> None:
        """Write ``dicom/PLACE.sr.dcm``, ``dicom/PLACE.sc.dcm`` and more, see `write_dicom`; or note why not."""
        stem = self.folder / place
        self.note(image, attempt(lambda _: write_outcome(source, image, self.model, stem, map_, picture), source))

    def report(self) -> None:
        """Say what was written and what was not; the reasons are listed in ``dicom/left_out.txt``."""
        log.info(
            "images whose DICOM results were written: %d, to %s; they name the patients", self.written, self.folder
        )
        if self.others:
            log.info("images without DICOM results, because they are no DICOM files: %d", len(self.others))
        listed = list_unreadable([*self.refused.values()], self.folder, "left_out.txt")
        if self.refused:
            log.warning("DICOM images without DICOM results: %d; the reasons are in %s", len(self.refused), listed)
            log_first([*self.refused.values()])

    def note(self, image: ImageRecord, outcome: DicomOutcome | Unreadable) -> None:
        """Count what came of an image."""
        if outcome.reason:
            self.refused[image.name, image.key] = outcome.reason
            if isinstance(outcome, Unreadable) and outcome.cause is not Cause.LOST:  # it lies in the file's place
                self.passing.add((image.name, image.key))
        elif isinstance(outcome, DicomOutcome) and outcome.is_other:
            self.others.add(image.name)
        else:
            self.written += 1


def _is_own(file: Path) -> bool:
    """True for a DICOM object whose header names this software."""
    with file.open("rb") as stream:
        head = stream.read(_HEADER)
    return is_dicom(head) and NAME.encode() in head


def write_outcome(
    source: Path | Origin,
    image: ImageRecord,
    model: ModelFacts,
    stem: Path,
    map_: Pixels | None,
    picture: Pixels | None,
) -> DicomOutcome:
    """Write the DICOM results of one image, see `write_dicom`, if its file is a DICOM image and still the same.

    There are none of an image that cannot be judged.

    Raises:
        UnreadableImageError: when the file cannot be read.
    """
    content = (FileOrigin(source) if isinstance(source, Path) else source).read()
    if not is_dicom(content[:START]):
        return DicomOutcome(is_other=True)
    if image.triage == "not_assessable":
        return DicomOutcome(reason=f"{image.name}: not assessable: {image.reason}")
    try:
        if image.key and hashlib.sha256(content).hexdigest() != image.key:
            raise NotReferableError(f"{image.name}: the file is not the one that was screened; screen it again")
        write_dicom(content, image, model, stem, map_=map_, picture=picture)
    except NotReferableError as error:
        return DicomOutcome(reason=str(error))
    return DicomOutcome()
