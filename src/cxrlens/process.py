"""Settings of the running process, made before it works."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> bool:
    """Let this process keep the memory of freed tensors for its next ones; whether that could be arranged (glibc).

    By default glibc gives every block above 32 MiB back to the system when it is freed. The next tensor of that size
    gets pages that must be mapped and cleared one by one, which on a CPU takes longer than computing it.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 1 << 30)) and bool(mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1))


_SAFE_PATH = "PYTHONSAFEPATH"


def isolate_children() -> None:
    """Let no Python process that this one starts search the folder that it is started in for modules.

    The standard library starts processes as ``python -c``, which searches it first: a file ``pickle.py`` that lies
    among somebody's images would be executed. PYTHONPATH and installed packages are searched as ever.
    """
    os.environ[_SAFE_PATH] = "1"


@contextlib.contextmanager
def isolated_children() -> Iterator[None]:
    """As `isolate_children`, of processes that are started inside the block."""
    before = os.environ.get(_SAFE_PATH)
    isolate_children()
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = before


def ignore_local_figure_settings() -> None:
    """Import matplotlib so that it does not read a file ``matplotlibrc`` of the working folder, where there is one."""
    if not os.path.lexists("matplotlibrc"):
        return
    here = Path.cwd()
    os.chdir(Path(sys.executable).anchor or os.sep)
    try:
        import matplotlib  # noqa: F401  # it reads its settings now
    finally:
        os.chdir(here)
