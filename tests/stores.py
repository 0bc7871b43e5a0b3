"""Stores of folders that no screening has made, in the folder itself or in a database."""

from __future__ import annotations

from pathlib import Path

from cxrlens.screening.folder import ScreenedFolder, ScreeningInfo
from cxrlens.screening.store.postgresql import Server
from cxrlens.screening.store.store import Store

INFO = ScreeningInfo(
    root="/images", model="m", model_sha256="d" * 64, threshold=0.5, review_threshold=None, method="", layers=""
)


def opened(path: Path, server: Server | None = None) -> Store:
    """Ready to be added to."""
    store = Store(screened(path), server)
    store.go_on()
    return store


def screened(path: Path) -> ScreenedFolder:
    """A folder that says with what it was screened."""
    path.mkdir(exist_ok=True)
    folder = ScreenedFolder(path)
    if not folder.info_file.exists():
        folder.write_info(INFO)
    return folder
