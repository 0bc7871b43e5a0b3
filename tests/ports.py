"""A port that nobody else is given."""

from __future__ import annotations

import contextlib
import random
import socket

_RANDOM = random.SystemRandom()  # a seed that a test has set would give every process of tests the same ports


def unused_port() -> int:
    """A port of 127.0.0.1 that none listens on, nor is given who asks for any (those are 32768 and above)."""
    while True:
        port = _RANDOM.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
