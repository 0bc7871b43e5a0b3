"""The tags that a screening is to keep, as a DICOM file's header has them; odd values never break a screening.

Of several attributes that may hold a tag, the first with a usable value counts (PS3.3: C.7.3.1, C.7.5.1, C.8.11).
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Final, TypeAlias

from pydicom import Dataset, dcmread

from cxrlens.inputs.readers import elements
from cxrlens.inputs.readers.dicom import START, is_dicom
from cxrlens.inputs.readers.quiet import without_warnings
from cxrlens.screening.tags import iso_date

_Read: TypeAlias = Callable[[Dataset, str], str]

_LONGEST = 120
_VIEWS: Final = {"POSTERO-ANTERIOR": "PA", "ANTERO-POSTERIOR": "AP"}


def kept_tags(content: bytes, names: Collection[str]) -> dict[str, str]:
    """Those of the named `TAGS` that a file's content has; none of a file that is no DICOM.

    What is damaged, or no value of its kind, is left out: the picture can be read without it.
    """
    if not names or not is_dicom(content[:START]):
        return {}
    wanted = [keyword for name in names for keyword, _ in _SOURCES[name]]
    with without_warnings():
        try:
            dataset = dcmread(io.BytesIO(content), force=True, stop_before_pixels=True, specific_tags=wanted)
        except Exception:  # a damaged header raises nearly anything; the picture's own reader says what is wrong
            return {}
        found = {name: _first(dataset, name) for name in names}
    return {name: value for name, value in found.items() if value}


def _first(dataset: Dataset, name: str) -> str:
    for keyword, read in _SOURCES[name]:
        try:
            if value := read(dataset, keyword):
                return value
        except Exception:  # an odd element raises nearly anything
            continue
    return ""


def _text(dataset: Dataset, keyword: str) -> str:
    """All values on one line, without what does not print."""
    said = ", ".join(
        str(value) for value in elements.values(dataset, keyword) if value and not isinstance(value, bytes)
    )
    printed = "".join(sign if sign.isprintable() else " " for sign in said)
    return " ".join(printed.split())[:_LONGEST]


def _date(dataset: Dataset, keyword: str) -> str:
    return iso_date(elements.text(dataset, keyword))


def _number(dataset: Dataset, keyword: str, *, least: float = -math.inf) -> str:
    found = elements.numbers(dataset, keyword)
    value = found[0] if found else None
    return f"{value:g}" if value is not None and math.isfinite(value) and value >= least else ""


def _deviation(dataset: Dataset, _keyword: str) -> str:
    """10 log10(exposure index / target), as IEC 62494-1 defines it, where the file leaves it out."""
    index, target = (elements.numbers(dataset, keyword)[0] for keyword in ("ExposureIndex", "TargetExposureIndex"))
    return f"{10 * math.log10(index / target):.1f}" if index and target and min(index, target) > 0 else ""


def _view(dataset: Dataset, keyword: str) -> str:
    return _text(dataset, keyword).upper()


def _view_code(dataset: Dataset, keyword: str) -> str:
    codes = elements.values(dataset, keyword)
    meaning = _text(codes[0], "CodeMeaning").upper() if codes else ""
    return next((view for sign, view in _VIEWS.items() if sign in meaning), meaning)


def _each(read: _Read, *keywords: str) -> tuple[tuple[str, _Read], ...]:
    return tuple((keyword, read) for keyword in keywords)


_index = partial(_number, least=0.0)
_SOURCES: Final[Mapping[str, tuple[tuple[str, _Read], ...]]] = {
    "station": _each(_text, "StationName", "PerformedStationName"),
    "room": _each(_text, "PerformedLocation", "InstitutionalDepartmentName"),
    "date": _each(_date, "AcquisitionDate", "AcquisitionDateTime", "ContentDate", "SeriesDate", "StudyDate"),
    "operator": _each(_text, "OperatorsName"),
    "view": (*_each(_view, "ViewPosition"), *_each(_view_code, "ViewCodeSequence")),
    "exposure_index": _each(_index, "ExposureIndex"),
    "target_exposure_index": _each(_index, "TargetExposureIndex"),
    "deviation_index": (
        *_each(_number, "DeviationIndex"),
        *_each(_deviation, "ExposureIndex", "TargetExposureIndex"),
    ),
    "detector": _each(_text, "DetectorID", "PlateID", "CassetteID"),
    "manufacturer": _each(_text, "Manufacturer"),
    "device": _each(_text, "ManufacturerModelName"),
    "patient_id": _each(_text, "PatientID"),
    "accession_number": _each(_text, "AccessionNumber"),
    "study_uid": _each(_text, "StudyInstanceUID"),
    "image_uid": _each(_text, "SOPInstanceUID"),
}
