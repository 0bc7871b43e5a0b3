"""Settings of the process."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys

import pytest

REUSE = """
import resource, sys, torch
from cxrlens.process import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(15):  # aligned blocks are found again only after some
    torch.ones(10 * 2**20)  # 40 MiB, freed at once
before = faults()
for _ in range(5):
    torch.ones(10 * 2**20)
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_freed_memory_is_used_again():
    def faults(mode: str) -> int:
        done = subprocess.run([sys.executable, "-c", REUSE, mode], capture_output=True, text=True, check=True)
        return int(done.stdout)

    a_block = 40 * 2**20 // resource.getpagesize()
    assert faults("keep") < a_block
    assert faults("give back") >= 4 * a_block
