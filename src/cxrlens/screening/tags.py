"""Patient and study tags of a DICOM file: read only where a user asks for it."""

from __future__ import annotations

import io

from pydicom import Dataset, dcmread

from cxrlens.inputs.readers.dicom import START, is_dicom
from cxrlens.inputs.readers.quiet import without_warnings

KEPT_TAGS = ("PatientID", "AccessionNumber", "StudyDate", "StudyInstanceUID", "SOPInstanceUID", "ViewPosition")


def kept_tags(content: bytes) -> dict[str, str]:
    """Those of `KEPT_TAGS` that a file's content has and that are not empty; none of a file that is no DICOM.

    One that is damaged is left out: the picture can be read without it.
    """
    if not is_dicom(content[:START]):
        return {}
    with without_warnings():
        dataset = dcmread(io.BytesIO(content), force=True, stop_before_pixels=True, specific_tags=list(KEPT_TAGS))
        found = {name: _text(dataset, name) for name in KEPT_TAGS}
    return {name: value for name, value in found.items() if value}


def _text(dataset: Dataset, name: str) -> str:
    try:
        return str(dataset.get(name) or "")
    except Exception:  # an odd element raises nearly anything
        return ""
