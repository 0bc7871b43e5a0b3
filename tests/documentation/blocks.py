"""The blocks of code in README and docs, and the commands in them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "examples" / "README.md",
        *(ROOT / "docs").rglob("*.md"),
    )
)

PROGRAMS = frozenset(
    {"cat", "cd", "chmod", "curl", "cxrlens", "docker", "echoscu", "export", "find", "git", "make", "Orthanc", "pip",
     "printf", "python", "python3", "ray", "storescu", "sudo"}
)  # fmt: skip
"""What lines of commands begin with."""

SHELLS = frozenset({"sh", "console"})
"""Languages of blocks for a terminal."""

_DOCUMENT = re.compile(r"<<'(\w+)'.*?^\1$", re.MULTILINE | re.DOTALL)
_BREAK = "\0"
_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`(cxrlens [^`]+)`(?!`)")
_ENDS = {"|", "||", "&", "&&", ";", ">", ">>", "<", "(", ")"}
_NOT_THE_PROGRAM = {"-t", "cd", "login"}  # what follows them has its name: an image, a folder, a user


@dataclass(frozen=True)
class Block:
    """A fenced block: of which page, the how-manieth there, its language and text."""

    page: str
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}#{self.number}"

    @property
    def statements(self) -> list[str]:
        """What is typed in, with the documents that go along; answers of the terminal and comments are left out."""
        joined = _DOCUMENT.sub(lambda found: found[0].replace("\n", _BREAK), self.text.replace("\\\n", " "))
        lines = joined.splitlines()
        if any(line.startswith("$ ") for line in lines):
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        found: list[str] = []
        for line in lines:
            if found and self.language in SHELLS and _is_open(found[-1]):
                found[-1] += f"\n{line}"
            elif line.strip() and not line.strip().startswith("#"):
                found.append(line)
        return [statement.replace(_BREAK, "\n") for statement in found]

    @property
    def lines(self) -> list[str]:
        """The statements without their documents."""
        return [_DOCUMENT.sub("", statement) for statement in self.statements]

    @property
    def is_commands(self) -> bool:
        """Whether it is for a terminal."""
        if self.language in SHELLS:
            return True
        return not self.language and any(program_of(line) in PROGRAMS or calls(line) for line in self.lines)


def blocks(page: str) -> list[Block]:
    """The blocks of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(page, number, found["language"], found["text"]) for number, found in enumerate(_FENCE.finditer(text))]


def spans(page: str) -> list[str]:
    """Calls of the program within sentences, as far as they name a command."""
    text = _FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    return [" ".join(found.split()) for found in _SPAN.findall(text)]


def words_of(line: str) -> list[str]:
    """A line as a shell takes it apart, without its comment."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = "#"
    try:
        return list(lexer)
    except ValueError:  # a quote that is a line of another language's
        return line.split()


def _is_open(line: str) -> bool:
    """Whether a quote goes on in the next line."""
    try:
        shlex.split(line, comments=True)
    except ValueError:
        return True
    return False


def program_of(line: str) -> str:
    """The first word that is no setting of a variable."""
    words = [word for word in words_of(line) if not re.match(r"[A-Z_]+=", word)]
    return words[0].removeprefix(".venv/bin/") if words else ""


def calls(line: str) -> list[list[str]]:
    """The arguments of each call of the program in a line, wherever it stands."""
    words, found = words_of(line), []
    for place, word in enumerate(words):
        before = words[place - 1] if place else ""
        if word.rpartition("/")[2] != "cxrlens" or before in _NOT_THE_PROGRAM:
            continue
        following = words[place + 1 :]
        end = next((index for index, each in enumerate(following) if each in _ENDS), len(following))
        if following[:end] and re.fullmatch(r"[a-z][a-z-]*", following[0]):
            found.append(following[:end])
    return found
