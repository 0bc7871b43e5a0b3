"""Results on an address: worked out in a folder of this machine, and published as whole files, their index last."""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from cxrlens.errors import ServerLostError, UsageError
from cxrlens.files import replacing, sha256_of, to_json
from cxrlens.outputs import MARK, locked, new_private_folder
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.published import Published
from cxrlens.screening.remote.addresses import parse_address
from cxrlens.screening.remote.object_store import ObjectStore, StoreFailedError
from cxrlens.screening.result_files import FOLDERS, LAST, TOP

log = logging.getLogger(__name__)

INDEX: Final = "index.json"
_AT_ONCE = 8


class Publication:
    """What a screening has written, at an address; no two work folders write there.

    Args:
        text: the address.
        folder: of this machine, where the screening is worked out and gone on with: the work folder.

    Attributes:
        address: without a slash at its end.

    Raises:
        UsageError: when the address is none that can be written to.
    """

    def __init__(self, text: str, folder: Path) -> None:
        address = parse_address(text)
        if address.is_web:
            raise UsageError(
                f"{text}: takes no folder of results; give `send` for DICOM results, and a folder for `out`"
            )
        self.address = address.root
        self.folder = folder
        self._store = ObjectStore(self.address)
        self._published: Published | None = None
        self._failed: StoreFailedError | None = None
        self._is_new = False  # and nothing was put there

    @contextlib.contextmanager
    def held(self, *, force: bool = False) -> Iterator[None]:
        """The address is this work folder's, see `begin`; at the end all must be published.

        Raises:
            UsageError: as `begin` does.
            ServerLostError: likewise, and when not all is published.
        """
        self.begin(force=force)
        try:
            yield
        except BaseException:
            self.abandon()
            raise
        self.raise_if_failed()

    def begin(self, *, force: bool = False) -> None:
        """Make the address this work folder's own; a screening that is there is fetched into a work folder without one.

        Args:
            force: take an address at which files lie that are none of a screening.

        Raises:
            UsageError: when the address holds something else, or what another work folder publishes there.
            ServerLostError: when the store fails.
        """
        new_private_folder(self.folder)
        with self._said(), locked(self.folder, "screening", "a `work_folder`"):
            self._published = Published(self.folder, self.address)
            mark = self._store.read_json(MARK)
            if mark is None:
                self._refuse_foreign(force)
                self._is_new = self._store.create(MARK, self._mark())
                mark = self._store.read_json(MARK)
            if self._owner(mark) == self._published.id:
                return
            if ScreenedFolder(self.folder).info_file.exists():
                raise UsageError(
                    f"{self.address}: holds a screening of another work folder than {self.folder}; give that one "
                    "(`work_folder`), or an empty one, into which what is there is fetched, or another address"
                )
            self._fetch()
            self._store.write(MARK, self._mark())

    def abandon(self) -> None:
        """Leave the address as it was, if nothing was put there."""
        if self._is_new:
            with contextlib.suppress(StoreFailedError):
                self._store.remove(MARK)

    def publish(self, folder: ScreenedFolder) -> None:
        """Publish what is new; where the store fails, the next time does, see `raise_if_failed`.

        Raises:
            UsageError: when another work folder has taken the address over.
        """
        try:
            self._publish(folder.path)
        except StoreFailedError as error:
            if self._failed is None:
                log.warning("%s: %s; what is not published yet is in %s", self.address, error.reason, self.folder)
            self._failed = error
        else:
            self._failed = None

    def raise_if_failed(self) -> None:
        """Tell that not everything is published.

        Raises:
            ServerLostError: when it is not.
        """
        if self._failed is not None:
            raise ServerLostError(
                f"{self.address}: {self._failed.reason}; all results are in {self.folder}, and the same command "
                "publishes them"
            )

    def _publish(self, folder: Path) -> None:
        assert self._published is not None
        if self._owner(self._store.read_json(MARK)) != self._published.id:
            raise UsageError(
                f"{self.address}: another work folder publishes there by now; all results are in {self.folder}, give "
                "another address for them"
            )
        self._is_new = False
        there = dict(_files_of(folder))
        new = {name: state for name, state in there.items() if self._published.state(name) != state}
        inner = [name for name in new if "/" in name]
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for name, _ in zip(
                inner, threads.map(lambda name: self._store.put(folder / name, name), inner), strict=True
            ):
                self._published.note(name, new[name])
        index = {name: self._put_top(folder, name) for name in TOP if (folder / name).is_file()}
        self._store.write(INDEX, self._index(index, there))
        for name in self._published.names() - there.keys():
            self._store.remove(name)
            self._published.forget(name)
        for name in TOP:
            if name not in index:
                self._store.remove(name)

    def _put_top(self, folder: Path, name: str) -> dict[str, Any]:
        """Put a file of the folder there; of a database, what it holds at this moment. Gives its size and digest."""
        with contextlib.ExitStack() as stack:
            file = folder / name
            if name.endswith(".sqlite"):
                file = stack.enter_context(_snapshot(file))
            facts = {"size": file.stat().st_size, "sha256": sha256_of(file)}
            self._store.put(file, name)
        return facts

    def _index(self, files: dict[str, dict[str, Any]], there: dict[str, str]) -> bytes:
        counts = {folder: sum(name.startswith(f"{folder}/") for name in there) for folder in FOLDERS}
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return to_json({"format": 1, "published": when, "files": files, "folders": counts}).encode()

    def _fetch(self) -> None:
        """Bring a published screening into the work folder; what says that it is one comes last."""
        assert self._published is not None
        index = self._store.read_json(INDEX)
        if index is None or index.get("format") != 1:  # it was claimed, and nothing was published yet
            return
        log.info("%s: is fetched into %s", self.address, self.folder)
        for page in self._store.pages():
            for found in page:
                name = str(found["name"])[len(self._store.path) + 1 :]
                if _is_inner(name):
                    self._get(name)
                    self._published.note(name, _state(self.folder / name))
        files = {name: facts for name, facts in index["files"].items() if name in TOP}
        for name in sorted(files, key=lambda name: name == LAST):
            self._get(name, files[name]["sha256"])

    def _get(self, name: str, digest: str = "") -> None:
        with replacing(self.folder / name, private=True) as partial:
            self._store.get(name, partial)
            if digest and sha256_of(partial) != digest:
                raise StoreFailedError(f"{name} is not as its index says: it is being written, or damaged; try again")

    def _refuse_foreign(self, force: bool) -> None:
        if self._is_empty():
            return
        if not force:
            raise UsageError(
                f"{self.address}: holds files that no screening has published; give an empty address, or `force`, "
                "which replaces none of them"
            )
        for name in (*TOP, INDEX, *FOLDERS):
            if self._store.info(name) is not None:
                raise UsageError(
                    f"{self.address}/{name}: is there already, and was not published by cxrlens; move it away, or give "
                    "another address"
                )

    def _is_empty(self) -> bool:
        try:
            return not any(self._store.pages())
        except StoreFailedError as error:
            if error.is_gone:  # there is no such folder yet
                return True
            raise

    def _mark(self) -> bytes:
        assert self._published is not None
        names = sorted((*TOP, INDEX, *FOLDERS))
        return to_json({"format": 1, "names": names, "publication": self._published.id}).encode()

    @staticmethod
    def _owner(mark: dict[str, Any] | None) -> Any:
        return (mark or {}).get("publication")

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except StoreFailedError as error:
            kind = UsageError if error.is_gone else ServerLostError
            raise kind(f"{self.address}: {error.reason}; check the address and the credentials") from error


def _files_of(folder: Path) -> Iterator[tuple[str, str]]:
    """The names of files in folders that are published, and the state of each."""
    for inner in FOLDERS:
        place = folder / inner
        for file in place.iterdir() if place.is_dir() and not place.is_symlink() else ():
            name = f"{inner}/{file.name}"
            if _is_inner(name):
                yield name, _state(file)


def _is_inner(name: str) -> bool:
    folder, _, last = name.partition("/")
    return folder in FOLDERS and re.fullmatch(FOLDERS[folder], last) is not None


def _state(file: Path) -> str:
    found = file.stat()
    return f"{found.st_size} {found.st_mtime_ns}"


@contextlib.contextmanager
def _snapshot(file: Path) -> Iterator[Path]:
    """A copy of a database as it is at one moment, whoever writes to it."""
    copy = file.with_name(f".{secrets.token_hex(8)}.partial.{file.name}")
    try:
        with (
            contextlib.closing(sqlite3.connect(file, timeout=20)) as source,
            contextlib.closing(sqlite3.connect(copy)) as to,
        ):
            source.backup(to)
        yield copy
    finally:
        copy.unlink(missing_ok=True)
