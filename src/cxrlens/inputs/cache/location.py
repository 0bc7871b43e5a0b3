"""Place of the decoded images that are kept between runs, and the bytes that they may take."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_dir
from pydantic import ByteSize, TypeAdapter, ValidationError

from cxrlens.errors import UsageError
from cxrlens.user_folder import user_folder

FOLDER_VARIABLE, SIZE_VARIABLE = "CXRLENS_CACHE", "CXRLENS_CACHE_SIZE"
DEFAULT_SIZE = "20GB"

_SIZE: TypeAdapter[ByteSize] = TypeAdapter(ByteSize)


def default_folder() -> Path:
    """The folder that ``CXRLENS_CACHE`` names, else the platform's place for caches of this user.

    Raises:
        UsageError: when this user has no home.
    """
    remedy = f"decoded images are kept; name a folder with `cache_dir` or the environment variable {FOLDER_VARIABLE}"
    return user_folder(FOLDER_VARIABLE, "XDG_CACHE_HOME", user_cache_dir, remedy)


def default_limit() -> int:
    """Bytes that ``CXRLENS_CACHE_SIZE`` names, else 20 GB.

    Raises:
        UsageError: when the variable holds no size.
    """
    return parse_size(os.environ.get(SIZE_VARIABLE) or DEFAULT_SIZE, SIZE_VARIABLE)


def parse_size(text: str, name: str = "`cache_size`") -> int:
    """Bytes of a text such as ``20GB``, ``500 MB``, ``1.5TiB`` or ``1000000``.

    Raises:
        UsageError: when it is no size, or none at all; ``name`` says whose value it was.
    """
    try:
        size = int(_SIZE.validate_python(text.strip()))
    except ValidationError as error:
        raise UsageError(f"{name} takes a size such as 20GB or 500MB, not '{text}'") from error
    if size <= 0:
        raise UsageError(f"{name} takes a size above zero, not '{text}'")
    return size


def format_size(size: int) -> str:
    """The size in decimal units, ``3.2GB``."""
    return ByteSize(size).human_readable(decimal=True)
