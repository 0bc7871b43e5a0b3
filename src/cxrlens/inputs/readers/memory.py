"""A bound on the memory of a process that decodes files of strangers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

MAX_MEMORY = 4 << 30
"""Bytes that a decoding process may take beyond what it has when `limit_memory` is called.

The largest image that is read, 100 million pixels in colour, takes three quarters of it.
"""


def limit_memory(more: int = MAX_MEMORY) -> bool:
    """Bound this process's memory to what it has now and so many bytes more.

    Beyond it Python raises a MemoryError, and a codec gives an error or ends the process. The bound is on the address
    space (RLIMIT_AS), so that what libraries have mapped already, CUDA's tens of GB too, counts as there. A lower
    limit that stands already is left as it is. To be called at the start of a process that does nothing but read.

    Args:
        more: bytes.

    Returns:
        True where the system keeps such a bound; it does on Linux.
    """
    try:
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        bounds = [bound for bound in (mapped + more, soft, hard) if bound != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_AS, (min(bounds), hard))
    except (AttributeError, OSError, ValueError):  # no such limit, or no such file, in this system
        return False
    return True


@contextlib.contextmanager
def limited_memory(more: int = MAX_MEMORY) -> Iterator[None]:
    """As `limit_memory`, of a process that does more than read, for the time of the block."""
    try:
        before = resource.getrlimit(resource.RLIMIT_AS)
    except AttributeError:  # no such limit in this system
        yield
        return
    limit_memory(more)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
