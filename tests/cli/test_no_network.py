"""No command asks the network for anything: every address that is looked up, bound or connected to is an error."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from waiting import PATIENCE

OFFLINE = """
import sys

def refuse(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg"):
        raise ConnectionRefusedError(f"{event} {arguments}")
    if event in ("socket.connect", "socket.bind") and not isinstance(arguments[1], str | bytes):  # of this machine
        raise ConnectionRefusedError(f"{event} {arguments}")

sys.addaudithook(refuse)
"""
COMMANDS = """
from cxrlens.cli.main import main

_, data, model, out = sys.argv
for command in ("screen", "explain", "test"):
    sys.argv = ["cxrlens", command, data, "-m", model, "-o", f"{out}/{command}", "--workers", "2"]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""


def offline(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A process of its own, since nothing takes an audit hook away; the processes that it forks have it too."""
    given = [sys.executable, "-c", OFFLINE + code, *map(str, arguments)]
    return subprocess.run(given, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.mark.parametrize(
    "attempt",
    [
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9/')",
        "import socket; socket.create_connection(('localhost', 9))",
        "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
    ],
)
def test_the_network_is_blocked(attempt: str) -> None:
    finished = offline(attempt)
    assert finished.returncode == 1
    assert re.search(r"(ConnectionRefusedError: |URLError.*)socket\.", finished.stderr)


def test_commands_work_without_a_network(phantoms: Path, whole_model: Path, tmp_path: Path) -> None:
    finished = offline(COMMANDS, phantoms, whole_model, tmp_path)
    assert finished.returncode == 0, finished.stderr
    for file in ("screen/report.html", "screen/worklist.csv", "explain/explanations.csv", "test/scores.json"):
        assert (tmp_path / file).is_file()
