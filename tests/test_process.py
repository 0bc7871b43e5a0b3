"""Settings of the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

MIB = 2**20
REUSE = f"""
import ctypes, resource, sys
from cxrlens.process import keep_freed_memory

libc, size = ctypes.CDLL(None), 40 * {MIB}
if sys.argv[1] == "keep":
    assert keep_freed_memory()

def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

before = held()
for _ in range(40):  # as a tensor is made and freed
    block = ctypes.c_void_p()
    assert libc.posix_memalign(ctypes.byref(block), ctypes.c_size_t(64), ctypes.c_size_t(size)) == 0
    libc.memset(block, 1, ctypes.c_size_t(size))
    libc.free(block)
print(held() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_freed_memory_is_kept_and_used_again():
    """Told by what the process holds, not by the pages that it asks for: those may be of 4 KiB or of 2 MiB."""

    def held(mode: str) -> int:
        done = subprocess.run([sys.executable, "-c", REUSE, mode], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert 39 * MIB < held("keep") < 500 * MIB  # of 40 blocks that would hold 1600
    assert held("give back") < 20 * MIB
