"""Results as DICOM objects in the study of the image that they are about: a report, a picture, and outlines over it.

They carry the patient's identity, as all objects of a study do. docs/dicom.md says what is in them.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset

from cxrlens.dicom_out.equipment import NAME, Equipment
from cxrlens.dicom_out.regions import closed_regions
from cxrlens.dicom_out.source import NotReferableError, Source, open_source
from cxrlens.dicom_out.statement import NOTICE, statement_of
from cxrlens.errors import CxrlensError, UsageError
from cxrlens.files import replacing
from cxrlens.inputs.readers import Pixels, read
from cxrlens.inputs.readers.quiet import without_warnings
from cxrlens.inputs.readers.reasons import reason_of
from cxrlens.inspection.model_facts import ModelFacts
from cxrlens.inspection.record import ImageRecord

__all__ = ["NotReferableError", "WrittenDicom", "paths_of", "require_highdicom", "write_dicom"]


@dataclass(frozen=True)
class WrittenDicom:
    """The files of an image: the Comprehensive SR and the Secondary Capture.

    Attributes:
        presentation: the Presentation State (GSPS); None where there is nothing to point at, or it would change how
            the image looks.
    """

    report: Path
    capture: Path
    presentation: Path | None = None


def require_highdicom() -> None:
    """Refuse before any work what cannot write DICOM results.

    Raises:
        UsageError: when highdicom is not installed.
    """
    if importlib.util.find_spec("highdicom") is None:
        raise UsageError("DICOM results need the package highdicom: pip install 'cxrlens[dicom]'")


def paths_of(stem: Path) -> tuple[Path, Path]:
    """Paths of the report and the capture of a stem."""
    return stem.with_name(f"{stem.name}.sr.dcm"), stem.with_name(f"{stem.name}.sc.dcm")


def files_of(stem: Path) -> list[Path]:
    """All files of a stem that were written: report and capture, and the presentation where there is one."""
    return [path for path in (*paths_of(stem), presentation_path(stem)) if path.exists()]


def presentation_path(stem: Path) -> Path:
    """Path of the presentation of a stem, which is there where there is something to point at."""
    return stem.with_name(f"{stem.name}.pr.dcm")


def write_dicom(
    source: Path | bytes | Dataset,
    image: ImageRecord,
    model: ModelFacts,
    stem: Path,
    *,
    map_: Pixels | None = None,
    picture: Pixels | None = None,
) -> WrittenDicom:
    """Write ``STEM.sr.dcm`` and ``STEM.sc.dcm`` for one image, and ``STEM.pr.dcm`` where it has regions.

    The same image, model and result give the same UIDs; with ``model.created`` the same bytes too.

    Args:
        source: the DICOM image that the result is about.
        image: the result; its contours are the regions of the report where a retake or review is suggested.
        model: which one with which thresholds gave it.
        stem: path of the files without their endings.
        map_: [h, w] in [0, 1] of the whole picture, drawn over it where a retake or review is suggested.
        picture: [height, width] in [0, 1] as `cxrlens.inputs.readers.read` gives it; read from the source if not given.

    Raises:
        UsageError: when highdicom is not installed.
        NotReferableError: when the source is no DICOM image, lacks what a result has to refer to, or is not of the
            size of result and picture.
        UnreadableImageError: when the source cannot be read.
        ArgumentError: when the image has no result.
    """
    require_highdicom()
    from cxrlens.dicom_out.capture import capture
    from cxrlens.dicom_out.picture import captured
    from cxrlens.dicom_out.presentation import can_present, presentation
    from cxrlens.dicom_out.report import report

    stem_paths = paths_of(stem)
    statement = statement_of(image, model.review_threshold)
    with _reasons(image.name):
        origin = open_source(source, image.name)
        size = int(origin.header.Rows), int(origin.header.Columns)
        if picture is None:
            picture = read(source).pixels
        if not size == (image.height, image.width) == picture.shape:
            raise NotReferableError(
                f"{image.name}: has {size[1]} x {size[0]} pixels, unlike the image that the result is of; make it again"
            )
        equipment = Equipment.of(model, image.resize)
        regions = closed_regions(image.contours, *size) if statement.has_findings else []
        key = _key(origin, image, equipment)
        caption = f"{NAME} {equipment.version}, {equipment.model}: {statement.words}, {statement.reason}. {NOTICE}"
        drawn, shown = captured(picture, map_ if statement.has_findings else None, regions, caption)
        drawn_over = regions and can_present(origin)
        over = _encoded(presentation(origin, statement, regions, equipment, key)) if drawn_over else b""
        files = {
            presentation_path(stem): over,  # first: where the others are, all of them are
            stem_paths[0]: _encoded(report(origin, statement, regions, equipment, key)),
            stem_paths[1]: _encoded(capture(origin, statement, drawn, shown, equipment, key)),
        }
    for path, content in files.items():
        if not content:
            path.unlink(missing_ok=True)
            continue
        with replacing(path, private=True) as partial:
            partial.write_bytes(content)
    return WrittenDicom(*stem_paths, presentation_path(stem) if over else None)


@contextmanager
def _reasons(name: str) -> Iterator[None]:
    """Turn any error of the libraries at an odd header into the reason why nothing refers to the image."""
    try:
        with without_warnings():
            yield
    except CxrlensError:
        raise
    except Exception as error:  # pydicom and highdicom name no set of errors; an odd element raises nearly anything
        reason = reason_of(error.__cause__ or error)  # pydicom puts the cause's traceback into its message
        raise NotReferableError(f"{name}: a DICOM result cannot take over what its header says: {reason}") from error


def _key(origin: Source, image: ImageRecord, equipment: Equipment) -> str:
    """The text that a result's identity rests on: source instance, software and model, and the result itself."""
    said = {"probability", "decision", "triage", "reason", "flat", "peak", "contours"}
    if image.remarks:  # an image without any keeps the identifiers that it had before there were remarks
        said.add("remarks")
    parts = (str(origin.header.SOPInstanceUID), equipment.version, equipment.sha256, *equipment.parameters)
    return "|".join([*parts, image.model_dump_json(include=said)])


def _encoded(result: Dataset) -> bytes:
    stream = io.BytesIO()
    result.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
