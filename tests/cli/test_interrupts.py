"""Ctrl-C, once and again, at work and when all is done: no traceback, and exit code 130."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import cxrlens
from waiting import PATIENCE

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX signals")

INTERRUPTED_AGAIN = f"""
import os, signal, sys, time
from unittest import mock
from cxrlens.cli.main import main

def press():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep({PATIENCE})  # interrupted at once

def work(*_, **__):
    try:
        press()
    finally:
        print("put in order", flush=True)
        {{again}}

sys.argv = ["cxrlens", "data", "phantom", "never"]
with mock.patch("cxrlens.dataset.phantom.dataset.write_phantom_dataset", work):
    main()
"""

INTERRUPTED_AT_ITS_END = """
import os, signal, sys, threading, time
from cxrlens.cli.main import main

def press():
    threading.main_thread().join()
    while True:  # Python may not hear the first before it has waited for this thread
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)

threading.Thread(target=press).start()  # which Python waits for when all else has ended
sys.argv = ["cxrlens", "--version"]
main()
"""


def run(script: str, tmp_path: Path, *, ignored: bool = False) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(cxrlens.__file__).parents[1])}
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if ignored else None  # a new process inherits this alone
    try:
        return subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


def test_the_first_puts_in_order_and_says_what_is_kept(tmp_path: Path) -> None:
    finished = run(INTERRUPTED_AGAIN.format(again=""), tmp_path)
    assert (finished.returncode, finished.stdout) == (130, "put in order\n")
    assert finished.stderr == "stopped: nothing was written, and the same command begins anew\n"


def test_the_second_ends_the_process_without_a_word(tmp_path: Path) -> None:
    finished = run(INTERRUPTED_AGAIN.format(again="press()"), tmp_path)
    assert (finished.returncode, finished.stdout, finished.stderr) == (130, "put in order\n", "")


def test_when_all_is_done_the_first_ends_the_process_without_a_word(tmp_path: Path) -> None:
    finished = run(INTERRUPTED_AT_ITS_END, tmp_path)
    assert (finished.returncode, finished.stdout, finished.stderr) == (130, f"{cxrlens.__version__}\n", "")


def test_whoever_ignores_it_goes_on_to(tmp_path: Path) -> None:
    script = "import os, signal; from cxrlens.cli.interrupts import *; take_interrupts(); end_at_interrupts(); "
    finished = run(script + "os.kill(os.getpid(), signal.SIGINT); print('goes on')", tmp_path, ignored=True)
    assert (finished.returncode, finished.stdout) == (0, "goes on\n")
