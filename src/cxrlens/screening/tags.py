"""What a screening keeps of a DICOM file's header: nothing but the tags that a user names, one by one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final

from cxrlens.errors import UsageError

TAGS: Final[Mapping[str, str]] = {
    "station": "the station",
    "room": "the room or department",
    "date": "the day of the image",
    "operator": "the operators, by name",
    "view": "the view, such as PA",
    "exposure_index": "the exposure index",
    "target_exposure_index": "the target exposure index",
    "deviation_index": "the deviation index, in dB",
    "detector": "the detector or plate",
    "manufacturer": "the manufacturer of the device",
    "device": "the device's type",
    "patient_id": "the patient's number",
    "accession_number": "the order's number",
    "study_uid": "the UID of the study",
    "image_uid": "the UID of the image",
}
"""The tags that can be kept, in the order of columns, and what they say; an option writes them with hyphens."""

FORMER: Final = ("date", "view", "patient_id", "accession_number", "study_uid", "image_uid")
"""What ``--keep-tags`` meant in earlier versions, where it was one switch."""

_FORMER_KEYS: Final = {
    "PatientID": "patient_id",
    "AccessionNumber": "accession_number",
    "StudyDate": "date",
    "StudyInstanceUID": "study_uid",
    "SOPInstanceUID": "image_uid",
    "ViewPosition": "view",
}
"""What the tags were called in records of earlier versions."""

_OTHER_NAMES: Final = {"projection": "view"}
_DATE: Final = re.compile(r"(\d{4})([-./]?)(\d\d)\2(\d\d)")


def named_tags(texts: Iterable[str]) -> tuple[str, ...]:
    """The tags that an option names, such as "station,exposure-index"; each once, in the order of `TAGS`.

    Raises:
        UsageError: when one is not known.
    """
    names = {part.strip() for text in texts for part in text.split(",") if part.strip()}
    found = {_OTHER_NAMES.get(name, name.replace("-", "_")) for name in names}
    if unknown := sorted(found - TAGS.keys()):
        raise UsageError(
            f"`keep_tags` takes names joined with commas, of {in_words(TAGS)}; '{unknown[0].replace('_', '-')}' is none"
        )
    return tuple(name for name in TAGS if name in found)


def in_words(tags: Iterable[str]) -> str:
    """Tags as an option names them."""
    return ",".join(name.replace("_", "-") for name in tags)


def iso_date(text: str) -> str:
    """A date as DICOM writes it, alone or before a time, as ISO 8601 has it; "" where there is no such day."""
    found = _DATE.match(text.strip())
    try:
        return date(int(found[1]), int(found[3]), int(found[4])).isoformat() if found else ""
    except ValueError:  # a 13th month
        return ""


def as_now(tags: Mapping[str, str]) -> dict[str, str]:
    """A record's tags as they are called today, whichever version has kept them."""
    named = {_FORMER_KEYS.get(key, key): iso_date(text) if key == "StudyDate" else text for key, text in tags.items()}
    return {name: text for name, text in named.items() if text}
