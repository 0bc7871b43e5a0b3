"""Waiting for what must come: until it is there, however slow the machine is; only a failure takes all the time."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 300.0
"""Seconds after which something that has not come counts as missing."""


def until(came: Callable[[], object]) -> None:
    """Wait until this gives something true."""
    end = time.monotonic() + PATIENCE
    while not came():
        assert time.monotonic() < end, f"it did not come about within {PATIENCE:g} s"
        time.sleep(0.02)
