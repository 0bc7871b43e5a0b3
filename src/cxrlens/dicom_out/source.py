"""The image that results refer to: its identity, without its pixels."""

from __future__ import annotations

import copy
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom import Dataset, dcmread
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    XRayAngiographicImageStorage,
    XRayRadiofluoroscopicImageStorage,
)

from cxrlens.errors import UsageError
from cxrlens.inputs.readers import elements, read_content
from cxrlens.inputs.readers.dicom import START, is_dicom
from cxrlens.inputs.readers.quiet import without_warnings
from cxrlens.inputs.readers.reasons import one_line, reason_of

IDENTITY: Final = (
    # Patient
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "PatientBirthDate",
    "PatientSex",
    "OtherPatientIDsSequence",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    # Study
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "StudyDescription",
    # Patient in the study
    "PatientAge",
    # Clinical trial
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription",
)
"""Elements that results take over as they are: they identify patient and study, alike in all objects of a study."""

_MAY_BE_EMPTY = (  # but have to be there (type 2)
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
_PIXELS = 0x7FE00000  # the first tag of the group of pixels
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_IS_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
SOURCE_CLASSES: Final = {
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    XRayRadiofluoroscopicImageStorage,
    XRayAngiographicImageStorage,
}
"""SOP classes of the images that results can refer to."""


class NotReferableError(UsageError):
    """An image that no DICOM result can refer to, and why; other images of a batch are not touched by it."""


@dataclass(frozen=True)
class Source:
    """A DICOM image without its pixels.

    Attributes:
        name: stands for it in messages.
        header: its data set; holds the four UIDs of `reference`.
        syntax: how its pixels are encoded, where the file says.
    """

    name: str
    header: Dataset
    syntax: UID | None = None

    @property
    def reference(self) -> Dataset:
        """UIDs, kind and size of the image alone, what results have to have of patient and study being empty."""
        bare = Dataset()
        for keyword in _MAY_BE_EMPTY:
            setattr(bare, keyword, None)
        for keyword in (*_UIDS, "Rows", "Columns"):
            setattr(bare, keyword, self.header[keyword].value)
        bare.Modality = elements.text(self.header, "Modality") or "OT"
        return bare

    def pair(self, keyword: str) -> tuple[float, float] | None:
        """The two numbers of an element, both positive; None where it is not there or holds anything else."""
        values = elements.numbers(self.header, keyword)
        if len(values) != 2 or any(value is None or not 0 < value < float("inf") for value in values):
            return None
        first, second = values
        return (first, second) if first and second else None


def open_source(source: Path | bytes | Dataset, name: str | None = None) -> Source:
    """Take what results refer to from a DICOM file, the bytes of one, or a data set (which is left as it is).

    Raises:
        NotReferableError: when it is no DICOM image, names no study, series or instance, or is no radiograph by its
            class.
        UnreadableImageError: when the file cannot be opened.
    """
    if isinstance(source, Dataset):
        name = name or "the data set"
        found = source
    else:
        name = name or (str(source) if isinstance(source, Path) else f"{len(source)} bytes")
        content = source if isinstance(source, bytes) else read_content(source, name)
        if not is_dicom(content[:START]):
            raise NotReferableError(
                f"{name}: is no DICOM file, so there is no patient or study that a DICOM result could belong to"
            )
        found = _parsed(content, name)
    header = found[: Tag(_PIXELS)]
    _check(header, name)
    syntax = elements.text(getattr(found, "file_meta", Dataset()), "TransferSyntaxUID")
    return Source(name, header, UID(syntax) if syntax else None)


def _parsed(content: bytes, name: str) -> Dataset:
    try:
        with without_warnings():
            return dcmread(io.BytesIO(content), stop_before_pixels=True, force=True)
    except Exception as error:  # pydicom names no set of errors
        raise NotReferableError(f"{name}: its DICOM header is damaged ({reason_of(error)})") from error


def carry_identity(result: Dataset, source: Source) -> None:
    """Write the source's patient and study into a result, value for value, also where they break DICOM's rules.

    Both have then the same character set.
    """
    with without_warnings():
        for keyword in ("SpecificCharacterSet", *IDENTITY):
            if keyword in source.header:
                result[keyword] = copy.deepcopy(source.header[keyword])
            elif keyword not in _MAY_BE_EMPTY and keyword in result:
                del result[keyword]


def _check(header: Dataset, name: str) -> None:
    for keyword in _UIDS:
        value = elements.text(header, keyword)
        if not value:
            raise NotReferableError(
                f"{name}: the element {keyword} is missing, so that a DICOM result cannot refer to the image; "
                "export the image again from the archive"
            )
        if not _IS_UID.fullmatch(value) or len(value) > 64:
            raise NotReferableError(
                f"{name}: the element {keyword} is '{one_line(value)}', which is no unique identifier; "
                "export the image again from the archive"
            )
    if header.SOPClassUID not in SOURCE_CLASSES:
        raise NotReferableError(
            f"{name}: DICOM results are written for radiographs (CR, DX, SC), not for "
            f"'{one_line(UID(header.SOPClassUID).name)}'"
        )
    for keyword in ("Rows", "Columns"):
        if not elements.text(header, keyword):
            raise NotReferableError(f"{name}: the element {keyword} is missing, so that places in it mean nothing")
