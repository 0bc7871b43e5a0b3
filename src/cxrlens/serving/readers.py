"""The readers of a server, each known by a token of their own, from a file that nobody else may read."""

from __future__ import annotations

import hashlib
import hmac
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml

from cxrlens.errors import UsageError
from cxrlens.serving.tokens import check_token

_HASH: Final = "sha256:"
_LONGEST_NAME = 60
_FORM = "write a line NAME: TOKEN for each reader, or NAME: sha256: and the token's SHA-256 without a blank between"


@dataclass(frozen=True)
class Reader:
    """A reader.

    Attributes:
        name: that the audit log keeps.
        digest: SHA-256 of the token, in hexadecimal digits.
    """

    name: str
    digest: str = field(repr=False)

    def has(self, token: str) -> bool:
        """True of this reader's token."""
        given = hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
        return hmac.compare_digest(given, self.digest)


def read_readers(path: Path) -> tuple[Reader, ...]:
    """The readers of a YAML file, tokens or their digests by name; no error text repeats one.

    Raises:
        UsageError: when others may read the file, or it holds no readers, a token twice or one that is none.
    """
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise UsageError(f"{path}: others may read or change these tokens; keep them to yourself: chmod 600 {path}")
        found = yaml.load(path.read_text("utf-8"), Loader=_AsWritten)
    except OSError as error:
        raise UsageError(f"{path}: the readers cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, yaml.YAMLError):
        raise UsageError(f"{path}: holds no readers, or one of them twice; {_FORM}") from None
    if not isinstance(found, dict) or not found:
        raise UsageError(f"{path}: holds no readers; {_FORM}")
    readers = tuple(_reader(path, name, token) for name, token in found.items())
    if len({reader.digest for reader in readers}) < len(readers):
        raise UsageError(f"{path}: two readers have the same token; give each one of their own")
    return readers


class _AsWritten(yaml.BaseLoader):
    """All values as they are written, and no name twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        found = super().construct_mapping(node, deep)
        if len(found) < len(node.value):
            raise yaml.YAMLError
        return dict(found)


def _reader(path: Path, name: object, token: object) -> Reader:
    if not isinstance(name, str) or not isinstance(token, str):
        raise UsageError(f"{path}: holds something else than names and tokens; {_FORM}")
    if not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise UsageError(f"{path}: a reader's name has 1 to {_LONGEST_NAME} printable signs; correct it")
    if token.startswith(_HASH):
        digest = token.removeprefix(_HASH).lower()
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise UsageError(f"{path}: the SHA-256 of {name} has no 64 hexadecimal digits; correct it")
        return Reader(name, digest)
    try:
        check_token(token)
    except UsageError:
        raise UsageError(
            f"{path}: the token of {name} is too short or has other signs than A-Z a-z 0-9 . _ ~ -; give 16 or more"
        ) from None
    return Reader(name, hashlib.sha256(token.encode()).hexdigest())
