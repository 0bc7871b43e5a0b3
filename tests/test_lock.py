"""CI's lock: what it must hold, and what installing by it does where it fits and where it does not."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = ROOT / ".ci" / "requirements.lock"
OF_TORCH = re.compile(r"torch|torchvision|triton|nvidia-.*|cuda-.*")
"""What has other files for each kind of machine."""


def locked(text: str) -> list[tuple[Requirement, list[str]]]:
    """The packages of a lock, each with its hashes."""
    lines = [line for line in text.replace("\\\n", " ").splitlines() if not line.startswith("#")]
    return [(Requirement(package), hashes) for package, *hashes in map(str.split, lines)]


def test_every_line_is_one_version_and_its_hashes() -> None:
    packages = locked(LOCK.read_text(encoding="utf-8"))
    assert len({package.name for package, _ in packages}) == len(packages) > 100
    for package, hashes in packages:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", str(package))
        assert hashes
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), package


def test_the_lock_holds_all_that_is_declared_but_what_differs_by_machine() -> None:
    """A range that was raised, or a dependency that was added, needs `make lock`."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = content["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    declared = [Requirement(line) for line in [*project["dependencies"], *extras, *content["build-system"]["requires"]]]
    versions = {package.name: str(package.specifier)[2:] for package, _ in locked(LOCK.read_text(encoding="utf-8"))}
    assert not [name for name in versions if OF_TORCH.fullmatch(name)]
    apart = {canonicalize_name(each.name) for each in declared} - versions.keys()
    assert apart == {"torch", "torchvision", "cxrlens"}
    outside = [
        str(each)
        for each in declared
        if (version := versions.get(canonicalize_name(each.name))) and not each.specifier.contains(version)
    ]
    assert not outside


Install = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """`.ci/install` by a lock of one's own, from a folder with one wheel, into a folder; nothing else is installed."""
    pytest.importorskip("pip")
    if not shutil.which("bash"):
        pytest.skip("no bash")
    binaries, wheels = tmp_path / "venv" / "bin", tmp_path / "wheels"
    binaries.mkdir(parents=True)
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "")
        wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tiny-1.0.dist-info/RECORD", "")
    script(binaries / "python", 'echo "${MACHINE:-CPython 3.11.7 Linux x86_64}"')
    offline = f"--isolated --no-index --find-links {wheels} --target {tmp_path / 'installed'}"
    script(
        binaries / "pip",
        f'case "$*" in *--requirement*) exec {sys.executable} -m pip "$@" {offline} ;; *) echo "pip $*" ;; esac',
    )

    def run(lock: str, machine: str = "") -> subprocess.CompletedProcess[str]:
        (tmp_path / "a.lock").write_text(lock, encoding="utf-8")
        environment = {"PATH": "/usr/bin:/bin", "LOCK": str(tmp_path / "a.lock"), "MACHINE": machine}
        command = ["bash", str(ROOT / ".ci" / "install"), str(tmp_path / "venv")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)

    return run


def script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)


def by_ranges(output: str) -> bool:
    return "pip install --quiet --editable .[test]" in output


def sha256_of_wheel(folder: Path) -> str:
    return hashlib.sha256((folder / "wheels" / "tiny-1.0-py3-none-any.whl").read_bytes()).hexdigest()


def test_the_files_of_the_lock_are_installed(install: Install, tmp_path: Path) -> None:
    done = install(f"tiny==1.0 \\\n    --hash=sha256:{sha256_of_wheel(tmp_path)}\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "installed" / "tiny.py").is_file()
    assert not by_ranges(done.stdout)
    rest = [line for line in done.stdout.splitlines() if line.startswith("pip ")]
    assert rest[0].startswith("pip install --quiet torch>=")
    assert " torchvision>=" in rest[0]
    assert rest[1:] == ["pip install --quiet --no-build-isolation --no-deps --editable .", "pip check"]


def test_a_file_of_another_hash_ends_it(install: Install, tmp_path: Path) -> None:
    done = install(f"tiny==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    assert done.returncode == 1
    assert "DO NOT MATCH THE HASHES" in done.stdout
    assert not by_ranges(done.stdout)
    assert not (tmp_path / "installed" / "tiny.py").exists()


def test_a_version_that_is_not_to_be_had_is_said_and_ranges_are_taken(install: Install, tmp_path: Path) -> None:
    done = install(f"tiny==2.0 \\\n    --hash=sha256:{sha256_of_wheel(tmp_path)}\n")
    assert done.returncode == 0
    said, installed = done.stdout.splitlines()
    assert said == (
        "installed by the ranges of pyproject.toml, not by the lock: No matching distribution found for tiny==2.0"
    )
    assert by_ranges(installed)


def test_another_machine_is_said_and_ranges_are_taken(install: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = install("tiny==1.0\n", machine="CPython 3.12.1 Darwin arm64")
    assert done.returncode == 0
    said, installed = done.stdout.splitlines()
    assert said.endswith("it is for CPython 3.11 on Linux x86_64, and this is CPython 3.12.1 Darwin arm64")
    assert by_ranges(installed)
