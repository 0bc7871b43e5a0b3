"""Settings of the running process, made before it works."""

from __future__ import annotations

import ctypes
import sys

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
