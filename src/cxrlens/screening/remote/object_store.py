"""Object stores and other file systems by fsspec: what lies there, whole files from and to it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cxrlens.errors import CxrlensError, UsageError
from cxrlens.plugins import SOURCES, plugin_names
from cxrlens.screening.remote.addresses import WEB

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

SECONDS: Final = 60
"""For which an object store's answer is waited for."""

PAGE: Final = 1000
"""Objects of S3 that are listed at once, which is the most that it gives."""

_PACKAGES: Final = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs",
    "adl": "adlfs", "sftp": "paramiko", "ssh": "paramiko", "smb": "smbprotocol", "http": "aiohttp", "https": "aiohttp",
}  # fmt: skip
"""What has to be installed beside fsspec."""

_WHOLE: Final = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "memory"}
"""Stores in which a file is there as a whole or not at all."""

_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "s3": {"config_kwargs": {"connect_timeout": 10, "read_timeout": SECONDS, "retries": {"max_attempts": 3}}}
}


class StoreFailedError(CxrlensError):
    """An object store could not do what it was asked; the text follows a name."""

    def __init__(self, reason: str, *, is_gone: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_gone = is_gone


class ObjectStore:
    """A file system of fsspec, at one address; each process opens it for itself, and anew in another environment.

    Raises:
        UsageError: when there is no such kind of address, or its package is not installed.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.scheme = address.partition("://")[0]
        self.files, self.path = _opened(address, self.scheme, os.getpid(), frozenset(os.environ.items()))

    @property
    def writes_whole(self) -> bool:
        """Whether a file that is put there is seen as a whole or not at all."""
        return self.scheme in _WHOLE

    def path_of(self, name: str) -> str:
        """The path of a name below the address."""
        return f"{self.path}/{name}"

    def pages(self) -> Iterator[list[dict[str, Any]]]:
        """What fsspec says of each file below the address, a page at a time and asked for as it is needed.

        Of S3, pages of a thousand in the order of their names; of all else, folder by folder.

        Raises:
            StoreFailedError: when the store fails.
        """
        found = self._pages_of_s3() if self.scheme in ("s3", "s3a") else self._pages_of_folders()
        while True:
            with in_plain_words():
                page = next(found, None)
            if page is None:
                return
            yield page

    def _pages_of_s3(self) -> Iterator[list[dict[str, Any]]]:
        bucket, _, prefix = self.path.partition("/")
        wanted: dict[str, Any] = {"Bucket": bucket, "Prefix": f"{prefix}/" if prefix else "", "MaxKeys": PAGE}
        while True:
            answer = self.files.call_s3("list_objects_v2", **wanted)
            yield [
                {"name": f"{bucket}/{each['Key']}", "size": each["Size"], "type": "file", "ETag": each.get("ETag")}
                for each in answer.get("Contents", ())
                if not each["Key"].endswith("/")
            ]
            if not answer.get("IsTruncated"):
                return
            wanted["ContinuationToken"] = answer["NextContinuationToken"]

    def _pages_of_folders(self) -> Iterator[list[dict[str, Any]]]:
        for _, _, found in self.files.walk(self.path, detail=True, on_error="raise"):
            yield [found[name] for name in sorted(found)]

    def info(self, name: str = "") -> dict[str, Any] | None:
        """What fsspec says of a name below the address, or of itself; None where there is nothing."""
        try:
            with in_plain_words():
                found: dict[str, Any] = self.files.info(self.path_of(name) if name else self.path)
        except StoreFailedError as error:
            if error.is_gone:
                return None
            raise
        return found

    def read(self, name: str, most: int, *, size: int | None = None) -> bytes:
        """The content of a file; one of more bytes than that is refused.

        Args:
            size: of the file, where it is known; it is asked for otherwise.

        Raises:
            StoreFailedError: when it cannot be had.
        """
        with in_plain_words():
            if size is None:
                size = self.files.info(self.path_of(name)).get("size") or 0
            if size > most:
                raise StoreFailedError(f"is {size / 1e9:.1f} GB, too large")
            content: bytes = self.files.cat_file(self.path_of(name))
        return content

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The values in a file of JSON; None where there is none, or it holds something else."""
        try:
            content = json.loads(self.read(name, 1 << 24))
        except StoreFailedError as error:
            if error.is_gone:
                return None
            raise
        except ValueError:
            return None
        return content if isinstance(content, dict) else None

    def put(self, file: Path, name: str) -> None:
        """Put a file there, so that nobody sees a part of it.

        Raises:
            StoreFailedError: when it cannot be put there; a whole older one stays.
        """
        path = self.path_of(name)
        with in_plain_words():
            if self.writes_whole:
                self.files.put_file(str(file), path)
                return
            parent, _, last = path.rpartition("/")
            self.files.makedirs(parent, exist_ok=True)
            partial = f"{parent}/.{os.urandom(8).hex()}.partial.{last}"
            try:
                self.files.put_file(str(file), partial)
                self.files.mv(partial, path)
            except BaseException:
                if self.files.exists(partial):
                    self.files.rm_file(partial)
                raise

    def create(self, name: str, content: bytes) -> bool:
        """Write a small file where there is none; False where there is one."""
        path = self.path_of(name)
        with in_plain_words():
            if self.files.exists(path):
                return False
            if not self.writes_whole:
                self.files.makedirs(path.rpartition("/")[0], exist_ok=True)
            try:
                if self.scheme in ("s3", "s3a"):  # of two that come at once, one is refused
                    self.files.pipe_file(path, content, mode="create")
                else:
                    self.files.pipe_file(path, content)
            except FileExistsError:
                return False
        return True

    def write(self, name: str, content: bytes) -> None:
        """Write a small file, in place of one that is there."""
        with in_plain_words():
            self.files.pipe_file(self.path_of(name), content)

    def get(self, name: str, file: Path) -> None:
        """Write the content of a file there into one here."""
        with in_plain_words():
            self.files.get_file(self.path_of(name), str(file))

    def remove(self, name: str) -> None:
        """Remove a file, which may be gone."""
        with in_plain_words():
            try:
                self.files.rm_file(self.path_of(name))
            except FileNotFoundError:
                return


@contextmanager
def in_plain_words() -> Iterator[None]:
    """Turn whatever a file system raises into a `StoreFailedError`; they agree on no errors."""
    try:
        yield
    except (CxrlensError, StopIteration):
        raise
    except FileNotFoundError as error:
        raise StoreFailedError("is not there", is_gone=True) from error
    except PermissionError as error:
        raise StoreFailedError("may not be read or written with these credentials") from error
    except Exception as error:
        raise StoreFailedError(f"the store fails ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """The error in one line, without the parts of addresses that may be signatures."""
    strerror = getattr(error, "strerror", None)
    text = f"{type(error).__name__}: {error}".partition("\n")[0] if strerror is None else str(strerror)
    return re.sub(r"\?\S+", "?...", text)[:300]


@lru_cache(maxsize=16)
def _opened(
    address: str, scheme: str, _process: int, _environment: frozenset[tuple[str, str]]
) -> tuple[AbstractFileSystem, str]:
    """The environment has endpoint and credentials, which fsspec's own cache of file systems knows nothing of."""
    if importlib.util.find_spec("fsspec") is None:
        raise UsageError(f"{address}: needs the package fsspec: {_pip(scheme)}")
    import fsspec

    if scheme not in fsspec.available_protocols():
        named = [*WEB, *plugin_names(SOURCES)]
        raise UsageError(
            f"{address}: there is no address of the kind '{scheme}://'; s3, gs, az and others of fsspec are known, and "
            f"{', '.join(named)}"
        )
    try:
        options = {"use_listings_cache": False, "skip_instance_cache": True, **_OPTIONS.get(scheme, {})}
        files, path = fsspec.core.url_to_fs(address, **options)
    except ImportError as error:
        raise UsageError(f"{address}: needs a package that is not installed: {_pip(scheme)}") from error
    except Exception as error:
        raise UsageError(f"{address}: cannot be opened ({_reason(error)}); check the address") from error
    return files, str(path).rstrip("/")


def _pip(scheme: str) -> str:
    further = f" {_PACKAGES[scheme]}" if scheme in _PACKAGES else ""
    return f"pip install 'cxrlens[remote]'{further}"
