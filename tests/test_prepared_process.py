"""Commands that are forked are as those that are started; tests of the server and of nodes send them signals."""

from __future__ import annotations

from pathlib import Path

import pytest

import cxrlens
from prepared_process import started
from waiting import PATIENCE


def test_a_command_has_its_own_arguments_environment_folder_and_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with started("--version") as command:
        assert command.communicate(PATIENCE) == (f"{cxrlens.__version__}\n", "")
        assert command.returncode == 0
    monkeypatch.chdir(tmp_path)
    Path("thesis.txt").write_text("mine")
    with started("model", "list", CXRLENS_MODELS=str(tmp_path / "thesis.txt")) as command:
        out, err = command.communicate(PATIENCE)
        assert (out, command.returncode) == ("", 2)
        assert "thesis.txt" in err
    with started("screen", ".", "-m", "thesis.txt", "-o", "out") as command:
        out, err = command.communicate(PATIENCE)
        assert (out, command.returncode) == ("", 2)
        assert err.startswith("error: thesis.txt: ")
