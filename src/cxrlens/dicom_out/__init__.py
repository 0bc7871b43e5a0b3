"""Results as DICOM objects in the study of the image that they are about: a report and a picture.

They carry the patient's identity, as all objects of a study do. docs/dicom.md says what is in them.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset

from cxrlens.data.readers import Pixels, read
from cxrlens.data.readers.quiet import without_warnings
from cxrlens.dicom_out.equipment import NAME, Equipment
from cxrlens.dicom_out.regions import closed_regions
from cxrlens.dicom_out.source import NotReferableError, Source, is_dicom_file, open_source
from cxrlens.dicom_out.statement import NOTICE, statement_of
from cxrlens.errors import UsageError
from cxrlens.files import replacing
from cxrlens.screening.folder import ScreeningInfo
from cxrlens.screening.record import ScreenedImage

__all__ = ["NotReferableError", "WrittenDicom", "is_dicom_file", "require_highdicom", "write_dicom"]


@dataclass(frozen=True)
class WrittenDicom:
    """The two files of an image: the Comprehensive SR and the Secondary Capture."""

    report: Path
    capture: Path


def require_highdicom() -> None:
    """Find out before any work whether DICOM results can be written.

    Raises:
        UsageError: when highdicom is not installed.
    """
    if importlib.util.find_spec("highdicom") is None:
        raise UsageError("DICOM results need the package highdicom: pip install 'cxrlens[dicom]'")


def write_dicom(
    source: Path | bytes | Dataset,
    image: ScreenedImage,
    info: ScreeningInfo,
    stem: Path,
    *,
    map_: Pixels | None = None,
    picture: Pixels | None = None,
) -> WrittenDicom:
    """Write ``STEM.sr.dcm`` and ``STEM.sc.dcm`` for one image.

    The same image, model and result give the same UIDs; with ``info.created`` the same bytes too.

    Args:
        source: the DICOM image that the result is about.
        image: the result; its contours are the regions of the report where a retake or review is suggested.
        info: which model with which thresholds gave it.
        stem: path of the files without their endings.
        map_: [h, w] in [0, 1] of the whole picture, drawn over it where a retake or review is suggested.
        picture: [height, width] in [0, 1] as `cxrlens.data.readers.read` gives it; read from the source if not given.

    Raises:
        UsageError: when highdicom is not installed.
        NotReferableError: when the source is no DICOM image, or lacks what a result has to refer to.
        UnreadableImageError: when the source cannot be read.
        ValueError: when the image has no result, or result or picture are of another size than the source.
    """
    require_highdicom()
    from cxrlens.dicom_out.capture import capture
    from cxrlens.dicom_out.picture import captured
    from cxrlens.dicom_out.report import report

    statement = statement_of(image)
    origin = open_source(source, image.name)
    size = int(origin.header.Rows), int(origin.header.Columns)
    if picture is None:
        picture = read(source).pixels
    if not size == (image.height, image.width) == picture.shape:
        raise ValueError(f"{image.name}: result, picture and source should be of one size, here {size}")
    equipment = Equipment.of(info)
    regions = closed_regions(image.contours, *size) if statement.has_findings else []
    key = _key(origin, image, equipment)
    caption = (
        f"{NAME} {equipment.version}, {equipment.model}: {statement.words}, "
        f"probability {statement.probability:.3f}, retake threshold {info.threshold:.3g}. {NOTICE}"
    )
    drawn, shown = captured(picture, map_ if statement.has_findings else None, regions, caption)
    written = WrittenDicom(stem.with_name(f"{stem.name}.sr.dcm"), stem.with_name(f"{stem.name}.sc.dcm"))
    with without_warnings():
        _save(report(origin, statement, regions, equipment, key), written.report)
        _save(capture(origin, statement, drawn, shown, equipment, key), written.capture)
    return written


def _key(origin: Source, image: ScreenedImage, equipment: Equipment) -> str:
    """What a result's identity rests on: the source instance, software and model, and the result itself."""
    said = {"probability", "decision", "triage", "reason", "flat", "peak", "contours"}
    parts = (str(origin.header.SOPInstanceUID), equipment.version, equipment.sha256, *equipment.parameters)
    return "|".join([*parts, image.model_dump_json(include=said)])


def _save(result: Dataset, path: Path) -> None:
    with replacing(path) as partial:
        result.save_as(partial, enforce_file_format=True)
