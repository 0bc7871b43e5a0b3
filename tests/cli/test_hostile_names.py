"""No file among the images, in the working folder or in the output is executed, or configures a command."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from ports import unused_port
from waiting import PATIENCE

NAMES = ("pickle", "selectors", "numpy", "json", "torch", "random", "cxrlens", "sitecustomize")
SCRIPT = "from cxrlens.cli.main import main\nif __name__ == '__main__':\n    main()\n"
ALL_WAYS = """
import multiprocessing, sys
sys.path[:] = [path for path in sys.path if path not in ("", sys.argv[1])]
from cxrlens.inputs.processes import WorkerProcess

if __name__ == "__main__":
    for way in multiprocessing.get_all_start_methods():
        process = WorkerProcess(len, context=multiprocessing.get_context(way))
        assert process("four") == 4
        process.close()
"""


def plant(folder: Path, fired: Path) -> None:
    """Modules that leave a mark when they are executed, and settings that end whoever reads them."""
    folder.mkdir(exist_ok=True)
    for name in NAMES:
        (folder / f"{name}.py").write_text(f"open({str(fired)!r}, 'a').write({name!r})\nraise SystemExit(77)\n")
    (folder / "matplotlibrc").write_bytes(b"\xff\xfe: no settings\n")


@pytest.fixture
def place(phantoms: Path, tmp_path: Path) -> Path:
    """A data set in a working folder that is full of traps; the folders in it, and the one to write to, are so too."""
    place = tmp_path / "place"
    shutil.copytree(phantoms, place)
    for folder in (place, place / "out", *(path for path in place.rglob("*") if path.is_dir())):
        plant(folder, tmp_path / "fired")
    return place


def command(tmp_path: Path, *arguments: object) -> list[str]:
    """The command as it is installed: a script in a folder of its own."""
    script = tmp_path / "bin" / "cxrlens"
    script.parent.mkdir(exist_ok=True)
    script.write_text(SCRIPT)
    return [sys.executable, str(script), *map(str, arguments)]


def environment() -> dict[str, str]:
    """The package is found by PYTHONPATH, as in a source checkout; processes that train together meet at a port."""
    source = Path(__file__).parents[2] / "src"
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(source), "MASTER_PORT": str(unused_port())}


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", ".", "--workers", "2"),
        ("screen", ".", "--workers", "2"),
        ("test", ".", "--workers", "2"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_commands(place: Path, whole_model: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    run = [*command(tmp_path, *arguments), "-m", str(whole_model), "-o", "out/result"]
    finished = subprocess.run(run, cwd=place, env=environment(), capture_output=True, text=True, check=False)
    assert not (tmp_path / "fired").exists()
    assert finished.returncode in (0, 3), finished.stderr  # 3: traps are no images
    assert any((place / "out" / "result").iterdir())


@pytest.mark.parametrize("hardware", [("--workers", "2"), ("--devices", "2", "--strategy", "ddp")])
def test_training(place: Path, tmp_path: Path, hardware: tuple[str, ...]) -> None:
    options = ("--arch", "resnet18", "--image-size", "32", "--epochs", "1", "--weights", "none", "--device", "cpu")
    run = command(tmp_path, "train", ".", *options, *hardware, "--runs", "out", "--name", "one")
    finished = subprocess.run(run, cwd=place, env=environment(), capture_output=True, text=True, check=False)
    assert not (tmp_path / "fired").exists()
    assert finished.returncode == 0, finished.stderr


def test_phantoms(place: Path, tmp_path: Path) -> None:
    run = command(tmp_path, "data", "phantom", "out/phantoms", "--train", "8", "--dev", "4", "--size", "64")
    finished = subprocess.run(
        [*run, "--workers", "2"], cwd=place, env=environment(), capture_output=True, text=True, check=False
    )
    assert not (tmp_path / "fired").exists()
    assert finished.returncode == 0, finished.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_server(place: Path, whole_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    run = command(tmp_path, "serve", "-m", whole_model, "--port", "0", "--workers", "1")
    with subprocess.Popen(
        run, cwd=place, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            line = server.stdout.readline()
            assert line.startswith("serving on "), server.communicate()[1]
            image = min(place.rglob("*.jp*g")).read_bytes()
            form = (
                b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + image + b"\r\n--b--\r\n"
            )
            kind = {"Content-Type": "multipart/form-data; boundary=b"}
            request = urllib.request.Request(f"{line.split()[2]}api/check", form, kind)
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                assert answer.status == 200
            server.send_signal(signal.SIGINT)
            _, log = server.communicate(timeout=PATIENCE)
        finally:
            server.kill()
    assert server.returncode == 0, log
    assert not (tmp_path / "fired").exists()


def test_processes_of_a_library_that_is_used_by_others(tmp_path: Path) -> None:
    """However Python starts them, and without the command line's settings."""
    place, script = tmp_path / "place", tmp_path / "use.py"
    plant(place, tmp_path / "fired")
    script.write_text(ALL_WAYS)
    run = [sys.executable, str(script), str(place)]
    finished = subprocess.run(run, cwd=place, env=environment(), capture_output=True, text=True, check=False)
    assert not (tmp_path / "fired").exists()
    assert finished.returncode == 0, finished.stderr
