"""Whether the server of a container answers: exit code 0 if it does, or if the container's command is no server.

The image's HEALTHCHECK; it needs Python alone.
"""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path

_DEFAULT_PORT = "8000"


def port_of(command: Sequence[str]) -> str | None:
    """The port on which a command line of cxrlens serves; None of one that does not."""
    if "serve" in command:
        return _value(command, "--port") or _DEFAULT_PORT
    return _value(command, "--serve") if "node" in command else None


def is_healthy(port: str) -> bool:
    """True where ``/health`` of this machine's port answers."""
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
    try:
        with ask(f"http://127.0.0.1:{port}/health", timeout=4) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _value(command: Sequence[str], option: str) -> str | None:
    for word, following in zip(command, [*command[1:], ""], strict=True):
        if word == option:
            return following
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None


if __name__ == "__main__":
    words = Path("/proc/1/cmdline").read_bytes().decode(errors="replace").split("\0")
    port = port_of(words)
    sys.exit(0 if port is None or is_healthy(port) else 1)
