"""Runs what a page types in: calls of the program in this process, a few others by the shell, servers while asked."""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from unittest import mock

import pytest
from blocks import calls, program_of, words_of

from command_line import cxrlens
from cxrlens import load
from ports import unused_port
from waiting import PATIENCE, until

ON = "--device cpu --workers 0"
DEFAULTS = {"train": "--weights none", "serve": "--port 8000", "node": "--port 11112"}
"""What a command is given where the page gives no other."""

SMALL = {
    "train": f"--image-size 64 --epochs 1 --batch-size 8 --precision 32-true {ON}",
    "test": ON,
    "explain": f"--method grad_cam --layers last {ON}",
    "pointing-game": f"--method grad_cam --layers last {ON}",
    "compare": f"--force --layers last {ON}",
    "study": f"--plan plan.yaml {ON}",
    "calibrate": f"--split dev {ON}",
    "screen": ON,
    "serve": "--device cpu --workers 1",
    "node": ON,
    "export": "--layers last --workers 0",
    "data check": "--workers 0",
    "data prepare": "--workers 0",
}
"""What is added to a command, so that it takes seconds; of an option that is given twice the last one counts."""

CLIENTS = {"curl", "echoscu", "storescu"}
RUN = {*CLIENTS, "cat", "chmod", "export", "find", "Orthanc", "python"}
"""Programs that are run beside this one."""

FEW: dict[str, dict[str, int]] = {"benchmarks.gate": {"PHANTOMS": 2, "MADE": 1}}
"""What modules that are run have less of."""

NOTHING_YET = {"verdicts": 4}

_IS_READY = "(Ctrl-C ends it)"
_SETTING = re.compile(r"([A-Z_]+)=(.*)")


def made_small(arguments: Sequence[str]) -> list[str]:
    """A call with what `DEFAULTS` and `SMALL` add to its command."""
    name = next((name for name in SMALL if list(arguments[: len(name.split())]) == name.split()), "")
    command, *others = arguments
    return [command, *DEFAULTS.get(name, "").split(), *others, *SMALL.get(name, "").split()]


def labelled_by(model: Path, data: Path, out: Path) -> Path:
    """A data set of which a model that has learnt next to nothing knows the labels, but for two images: its own."""
    loaded = load(model, device="cpu")
    images = sorted(data.rglob("*.jpg"), key=lambda path: loaded.check(path).probability)
    half = len(images) // 2
    images[half - 1], images[half] = images[half], images[half - 1]
    for number, image in enumerate(images):
        folder = out / "dev" / ("normal" if number < half else "affected")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, folder)
    return out


def _is_healthy(ports: Mapping[str, int]) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{ports['8000']}/health", timeout=60) as answer:
        assert json.load(answer)["status"] == "ok"


def _answers_an_echo(ports: Mapping[str, int]) -> None:
    from pynetdicom import AE

    caller = AE("PACS")
    caller.add_requested_context("1.2.840.10008.1.1")
    association = caller.associate("127.0.0.1", ports["11112"], ae_title="CXRLENS")
    assert association.is_established
    assert association.send_c_echo().Status == 0
    association.release()


ANSWERS = {"serve": _is_healthy, "node": _answers_an_echo}
"""Servers, and what is asked of them where the page asks nothing."""


class Terminal:
    """What a page types in, in the working directory.

    Attributes:
        words: what stands for words of the page.
        ports: what stands for its ports; free ones.
        answers: what servers have answered, the last one last.
    """

    def __init__(self, patch: pytest.MonkeyPatch, words: Mapping[str, str]) -> None:
        self.words = dict(words)
        self.ports = {port: unused_port() for port in ("8000", "11112", "8042", "4242")}
        self.answers: list[str] = []
        self._patch = patch
        self._background: list[subprocess.Popen[bytes]] = []

    def put(self, text: str) -> str:
        """A text of the page with what stands for its words."""
        for before, after in self.words.items():
            text = text.replace(before, after)
        return re.sub(rf"\b({'|'.join(self.ports)})\b", lambda found: str(self.ports[found[0]]), text)

    def run(self, statements: Sequence[str], and_then: Callable[[Terminal], None] | None = None) -> None:
        """Run them in turn. Clients ask the server in front of them, and then ``and_then`` does."""
        assert program_of(statements[0]) not in CLIENTS, f"which server is asked by '{statements[0]}'?"
        for place, statement in enumerate(statements):
            if program_of(statement) in CLIENTS:
                continue
            clients = list(takewhile(lambda each: program_of(each) in CLIENTS, statements[place + 1 :]))
            self._run(self.put(statement), clients, and_then)

    def end(self) -> None:
        """End what was started in the background."""
        for process in self._background:
            process.terminate()
            process.wait()

    def _run(self, statement: str, clients: Sequence[str], and_then: Callable[[Terminal], None] | None) -> None:
        def ask(server: str) -> None:
            for client in clients:
                self.ask(client)
            if not clients:
                ANSWERS[server](self.ports)
            if and_then is not None:
                and_then(self)

        words = words_of(statement)
        if found := calls(statement):
            with self._patch.context() as patch:
                for setting in takewhile(bool, map(_SETTING.fullmatch, words)):
                    patch.setenv(*setting.groups())
                for arguments in found:
                    self._call(_expanded(arguments), ask)
        elif words[0] == "export":
            for setting in filter(None, map(_SETTING.fullmatch, words[1:])):
                self._patch.setenv(*setting.groups())
        elif words[:2] == ["python", "-m"]:
            module = importlib.import_module(words[2])
            with mock.patch.multiple(module, **FEW[words[2]]), mock.patch.object(sys, "argv", words[2:]):
                module.main()
        else:
            self.ask(statement)

    def _call(self, arguments: list[str], ask: Callable[[str], None]) -> None:
        if arguments[:2] == ["data", "prepare"] and "OUT" in arguments:
            shutil.rmtree("OUT", ignore_errors=True)  # which is another one each time
        if arguments[0] == "calibrate":
            model = next(arguments[place + 1] for place, each in enumerate(arguments) if each in ("-m", "--model"))
            arguments[1] = str(labelled_by(Path(model), Path(arguments[1]), Path("labelled")))
        given = [self.put(word) for word in made_small(arguments)]
        if arguments[0] in ANSWERS:
            with asked_by(lambda: ask(arguments[0]), self._learn):
                ended = cxrlens(*given)
        elif "--watch" in arguments:
            worklist = Path(arguments[arguments.index("-o") + 1]) / "worklist.csv"
            with asked_by(lambda: None, worklist.exists):
                ended = cxrlens(*given)
        else:
            ended = cxrlens(*given)
        assert ended.code in (0, 10, NOTHING_YET.get(arguments[0])), f"{shlex.join(given)}: {ended}"

    def _learn(self) -> bool:
        """Whether the server says that it is ready; its new token is then what the page's stands for."""
        said = getattr(sys.stdout, "getvalue", str)()
        for token in re.findall(r"\?token=(\S+)", said):
            self.words["Zk3..."] = token
        return _IS_READY in said

    def ask(self, statement: str) -> None:
        """Have the shell run a statement; one that ends in & goes on until the page ends."""
        line = self.put(statement).strip()
        program = program_of(line)
        assert program in RUN, f"nothing is said of {program}"
        if shutil.which(program) is None:
            pytest.skip(f"no {program}")
        if line.endswith("&"):
            self._background.append(
                subprocess.Popen(
                    ["bash", "-c", f"exec {line[:-1]}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
            )
            until(lambda: _is_taken(self.ports["8042"]))
            return
        if program == "curl":
            line = line.replace("curl", "curl --fail --silent --show-error", 1)
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        self.answers.append(done.stdout)


@contextlib.contextmanager
def asked_by(ask: Callable[[], None], is_ready: Callable[[], bool]) -> Iterator[None]:
    """Inside, a server runs in this thread: as soon as it is ready another one asks it, and ends it as Ctrl-C does."""
    errors: list[BaseException] = []
    has_ended = threading.Event()
    server = threading.get_ident()

    def work() -> None:
        try:
            until(lambda: has_ended.is_set() or is_ready())
            if not has_ended.is_set():
                ask()
        except BaseException as error:
            errors.append(error)
        finally:
            if not has_ended.is_set():
                signal.pthread_kill(server, signal.SIGINT)

    client = threading.Thread(target=work)
    client.start()
    try:
        yield
    finally:
        has_ended.set()
        client.join()
    if errors:
        raise errors[0]


def _is_taken(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def _expanded(arguments: Sequence[str]) -> list[str]:
    """Arguments with the files that a pattern among them fits, as a shell gives them."""
    found: list[str] = []
    for argument in arguments:
        files = sorted(str(path) for path in Path().glob(argument)) if "*" in argument and ":" not in argument else []
        found += files or [argument]
    return found
