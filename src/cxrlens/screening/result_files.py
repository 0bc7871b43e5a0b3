"""The files of a screening's output folder."""

from __future__ import annotations

from typing import Final

FOLDERS: Final = {
    "pictures": r"[0-9a-f]{64}\.jpg",
    "maps": r"[0-9a-f]{64}\.png",
    "report_files": r"[0-9a-f]{64}\.js",
    "dicom": r"[0-9a-f]{64}\.(?:s[rc]|pr)\.dcm|left_out\.txt",
}
"""Folders, and which of the files in them are a screening's own: named by their image's content."""

LAST: Final = "screening.json"
"""The file that says that a folder is a screening's."""

TOP: Final = (
    "calibration.json", "reasons.json", "store.sqlite", "remote.sqlite", "outbox.sqlite", "results.jsonl",
    "unstored.jsonl", "worklist.csv", "unreadable.txt", "report.html", LAST
)  # fmt: skip
"""Files right in it."""
