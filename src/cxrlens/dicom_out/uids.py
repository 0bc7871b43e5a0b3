"""Unique identifiers that follow from what they identify."""

from __future__ import annotations

import uuid

from pydicom.uid import UID

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "cxrlens:dicom")


def derived_uid(*parts: str) -> UID:
    """The same UID for the same texts: a name-based UUID under the root 2.25 (DICOM PS3.5 B.2)."""
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, '|'.join(parts)).int}")
