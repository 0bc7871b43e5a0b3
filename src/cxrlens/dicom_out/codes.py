"""The coded concepts of the report: of DICOM's dictionary and SNOMED CT where there are any, else of 99CXRLENS."""

from __future__ import annotations

from typing import Final

from pydicom.sr.coding import Code

SCHEME: Final = "99CXRLENS"
SCHEME_NAME: Final = "cxrlens, quality control of chest radiographs"

PLAIN_RADIOGRAPHY: Final = Code("168537006", "SCT", "Plain radiography")
FOREIGN_BODY: Final = Code("19227008", "SCT", "Foreign body")
QUALITY_ASSESSMENT: Final = Code("111050", "DCM", "Quality Assessment")
COMMENT: Final = Code("121106", "DCM", "Comment")
SOURCE_IMAGE: Final = Code("121322", "DCM", "Source image for image processing operation")
NO_UNITS: Final = Code("1", "UCUM", "no units")

PROBABILITY: Final = Code("P_AFFECTED", SCHEME, "Probability that the image shows a foreign object")
SUGGESTED_RETAKE: Final = Code("RETAKE", SCHEME, "Suggested retake")
SUGGESTED_REVIEW: Final = Code("REVIEW", SCHEME, "Suggested review")
NO_RETAKE_SUGGESTED: Final = Code("PASS", SCHEME, "No retake suggested")
