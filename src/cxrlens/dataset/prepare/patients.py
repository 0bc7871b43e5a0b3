"""Grouping of images by patient."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from pydicom import dcmread

from cxrlens.dataset.prepare.record import Record
from cxrlens.errors import UnreadableImageError, UsageError
from cxrlens.inputs.origin import Origin
from cxrlens.inputs.readers import RASTER_SUFFIXES


def with_patients(records: Iterable[Record], pattern: str | None) -> list[Record]:
    """The records, those without a patient with the one that their name or their DICOM file tells.

    Patients of DICOM files are numbered in the order of the records, so that no number of a hospital gets out.

    Args:
        pattern: a regular expression that is searched in the name; its first group, else all of it, is the patient.

    Raises:
        UsageError: when the pattern is none, or fits no name.
    """
    found = list(_by_name(records, pattern)) if pattern else list(records)
    if pattern and not any(record.patient_id for record in found):
        example = found[0].name if found else ""
        raise UsageError(f"--patient-pattern '{pattern}': fits no image's name, such as '{example}'")
    numbers: dict[str, str] = {}
    for place, record in enumerate(found):
        if not record.patient_id and PurePosixPath(record.name).suffix.lower() not in RASTER_SUFFIXES:
            patient = _dicom_patient(record.origin)
            if patient:
                number = numbers.setdefault(patient, f"dicom-{len(numbers) + 1:05d}")
                found[place] = replace(record, patient_id=number)
    return found


def _by_name(records: Iterable[Record], pattern: str) -> Iterator[Record]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--patient-pattern '{pattern}': is no regular expression: {error}") from error
    for record in records:
        match = None if record.patient_id else expression.search(record.name)
        yield record if match is None else replace(record, patient_id=match.group(1 if expression.groups else 0) or "")


def _dicom_patient(origin: Origin) -> str:
    try:
        with origin.open() as stream:
            header = dcmread(stream, stop_before_pixels=True, specific_tags=["PatientID"], force=True)
        return str(header.get("PatientID", "") or "")
    except UnreadableImageError:
        return ""
    except Exception:  # a damaged header raises nearly anything; the image itself is read, and listed, later
        return ""
