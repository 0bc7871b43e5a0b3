"""Every command in README and docs is one that the command line takes; what else a block calls is there too."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import typer
from blocks import PAGES, PROGRAMS, ROOT, Block, blocks, calls, program_of, spans, words_of

from cxrlens.cli.main import app

COMMAND_BLOCKS = [block for page in PAGES for block in blocks(page) if block.is_commands]
COMMAND: Any = typer.main.get_command(app)
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


def resolved(arguments: list[str]) -> tuple[Any, list[str]]:
    """The command of a call, and what is left for it."""
    command = COMMAND
    left = list(arguments)
    while hasattr(command, "commands") and left:
        assert left[0] in command.commands, f"there is no command '{left[0]}'"
        command = command.commands[left.pop(0)]
    return command, left


def parse(arguments: list[str]) -> None:
    """Take a call apart as the command line does, without running it."""
    command, left = resolved(arguments)
    given = ["7" if re.fullmatch("[A-Z]", word) else word for word in left if word != "..."]
    command.make_context(command.name, given)


def options_of(command: Any) -> set[str]:
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {
        "--help"
    }


def test_there_are_blocks() -> None:
    assert len(COMMAND_BLOCKS) > 40
    assert len({block.page for block in COMMAND_BLOCKS}) > 15


@pytest.mark.parametrize("block", COMMAND_BLOCKS, ids=str)
def test_commands_of_a_block_can_be_given(block: Block) -> None:
    found = 0
    for line in block.lines:
        for arguments in calls(line):
            parse(arguments)
            found += 1
        words = words_of(line)
        for extras in re.findall(r"'?(?:cxrlens|\.)\[([\w,]+)\]'?", line):
            assert set(extras.split(",")) <= EXTRAS.keys()
            found += 1
        if program_of(line) == "make":
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), words[1]
        for module in re.findall(r"python3? -m (benchmarks[\w.]*)", line):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()
        for script in re.findall(r"python3? ((?:examples|tests)/[\w/.]+)", line):
            assert (ROOT / script).is_file()
        found += program_of(line) in PROGRAMS
    assert found


@pytest.mark.parametrize("page", [page for page in PAGES if spans(page)])
def test_commands_in_sentences_and_their_options_are_there(page: str) -> None:
    for span in spans(page):
        (arguments, *_) = calls(span) or [[]]
        if not arguments:
            continue
        command, left = resolved([word for word in arguments if word != "..."])
        named = {word.partition("=")[0] for word in left if re.match(r"--?[a-z]", word)}
        assert named <= options_of(command), span


def test_a_wrong_option_or_command_is_found() -> None:
    parse(["train", "data", "--recipe", "small"])
    with pytest.raises(Exception, match="no such option"):
        parse(["train", "data", "--recip", "small"])
    with pytest.raises(AssertionError, match="no command 'trian'"):
        parse(["trian", "data"])
    with pytest.raises(Exception, match="which model"):
        parse(["screen", "data", "--out", "x"])


def test_lines_are_taken_apart() -> None:
    assert calls("X=1 cxrlens serve a -m m && cxrlens card -m m  # cxrlens no") == [
        ["serve", "a", "-m", "m"], ["card", "-m", "m"]
    ]  # fmt: skip
    assert calls("docker build -t cxrlens .") == calls("git clone ... && cd cxrlens") == []
    assert calls("docker run cxrlens screen 'a b' -o c") == [["screen", "a b", "-o", "c"]]
    assert calls("ExecStart=/opt/cxrlens/bin/cxrlens node --out o") == [["node", "--out", "o"]]
    here = Block("page", 0, "", "cat > f <<'JSON'\n{\"cxrlens\": 1}\nJSON\n$ cxrlens a \\\n  b\nanswer\n")
    assert here.lines == ["cxrlens a    b"]
