"""Packages that bring an architecture, a method or a source: the example is used, broken ones are named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import cxrlens, refused, table
from cxrlens.errors import UsageError
from cxrlens.models.registry import find_architecture
from cxrlens.saliency.methods import METHODS, find_method
from cxrlens.screening.remote.taking import take_remote
from plugged_packages import package
from waiting import PATIENCE

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the example is installed into."""
    pytest.importorskip("pip")
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(EXAMPLE, folder / "source")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    target = str(folder / "installed")
    command = [sys.executable, "-m", "pip", "install", *options, "--target", target, str(folder / "source")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "installed"


def test_the_example_trains_explains_and_screens(
    installed: Path, on_path: pytest.MonkeyPatch, phantoms: Path, tmp_path: Path
):
    on_path.syspath_prepend(str(installed))
    run = tmp_path / "runs" / "example_net-small"
    finished = cxrlens(
        *("train", phantoms, "--arch", "example_net", "--recipe", "small", "--image-size", 64, "--epochs", 1),
        *("--runs", run.parent, "--workers", 0, "--device", "cpu"),
    )
    assert finished.code == 0, finished.err
    assert (run / "model.safetensors").is_file()
    images = sorted((phantoms / "dev" / "affected").iterdir())[:2]
    finished = cxrlens(
        *("explain", *images, "-m", run, "-o", tmp_path / "explained", "--workers", 0),
        *("--method", "example_energy", "--layers", "both"),
    )
    assert finished.code == 0, finished.err
    rows = table(tmp_path / "explained" / "explanations.csv")
    assert {(row["method"], row["layers"]) for row in rows} == {
        ("example_energy", "last"),
        ("example_energy", "combined"),
    }
    assert not any(int(row["flat"]) for row in rows)

    (tmp_path / "ward").mkdir()
    for place, image in enumerate(images):
        shutil.copyfile(image, tmp_path / "ward" / f"{place}.jpg")
    listed = tmp_path / "ward" / "today.txt"
    listed.write_text("0.jpg\n\n1.jpg\nabsent.jpg\n")
    screened = subprocess.run(
        [sys.executable, "-m", "cxrlens", "screen", f"listed://{listed}", "-m", str(run), "-o",
         str(tmp_path / "screened"), "--workers", "1", "--method", "example_energy"],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), *sys.path])},
    )  # fmt: skip
    assert screened.returncode == 3, screened.stderr  # one of the list is not there
    assert "absent.jpg" in (tmp_path / "screened" / "unreadable.txt").read_text()
    assert {row["name"] for row in table(tmp_path / "screened" / "worklist.csv")} >= {"0.jpg", "1.jpg"}


def test_the_examples_source_says_what_is_missing(
    installed: Path, on_path: pytest.MonkeyPatch, model: Path, tmp_path: Path
):
    on_path.syspath_prepend(str(installed))
    finished = cxrlens("screen", f"listed://{tmp_path}/absent.txt", "-m", model, "-o", tmp_path / "out")
    refused(finished, 2, "there is no such list")


BROKEN = {
    "raise RuntimeError('no\\nluck')": ("cannot be loaded (RuntimeError: no, line 1 of plugged_in.py)", "plugged-in"),
    "import a_module_that_is_not_there": ("cannot be loaded (ModuleNotFoundError", "a_module_that_is_not_there"),
    "": ("cannot be loaded (AttributeError", "plugged-in"),
    "raise SystemExit(7)": ("cannot be loaded (SystemExit: 7, line 1 of plugged_in.py)", "plugged-in"),
    "net = scheme = grey = 5": ("as int", "which should be"),
}


@pytest.mark.parametrize("code", list(BROKEN))
def test_a_broken_package_is_named_and_nothing_else_is_kept_from_working(
    on_path: pytest.MonkeyPatch, tmp_path: Path, phantoms: Path, model: Path, code: str
):
    points = {
        "cxrlens.architectures": "net = plugged_in:net",
        "cxrlens.methods": "grey = plugged_in:grey",
        "cxrlens.sources": "scheme = plugged_in:scheme",
    }
    package(tmp_path / "site", "plugged-in", points, code)
    on_path.syspath_prepend(str(tmp_path / "site"))
    image = min((phantoms / "dev" / "affected").iterdir())
    for arguments in (
        ("train", phantoms, "--arch", "net", "--runs", tmp_path / "runs"),
        ("explain", image, "-m", model, "-o", tmp_path / "explained", "--method", "grey"),
        ("screen", "scheme://somewhere", "-m", model, "-o", tmp_path / "screened"),
    ):
        refused(cxrlens(*arguments), 2, "plugged-in", *BROKEN[code], "pip uninstall plugged-in")
    fine = cxrlens("explain", image, "-m", model, "-o", tmp_path / "fine", "--method", "grad_cam", "--workers", 0)
    assert fine.code == 0, fine.err


WRONG = """
from cxrlens.models.registry import Architecture
from cxrlens.saliency.methods.registry import method

def fails(classes):
    raise KeyError("weights")

net = Architecture("another_name", fails)
failing = Architecture("failing", fails)

def grey(pair):
    return pair.activation.mean(1)

@method("grad_cam", title="", formula="", source="")
def grad_cam(pair):
    return pair.activation.mean(1)

def scheme(address):
    return object()
"""


def test_packages_that_load_and_are_wrong(on_path: pytest.MonkeyPatch, tmp_path: Path):
    good, taking = WRONG.split("@method")
    package(
        tmp_path / "site",
        "plugged-wrong",
        {
            "cxrlens.architectures": "net = plugged_wrong:net\nfailing = plugged_wrong:failing",
            "cxrlens.methods": "grey = plugged_wrong:grey",
            "cxrlens.sources": "scheme = plugged_wrong:scheme",
        },
        good + taking[taking.index("def scheme") :],
    )
    package(tmp_path / "site", "plugged-over", {"cxrlens.methods": "over = plugged_over:grad_cam"}, WRONG)
    on_path.syspath_prepend(str(tmp_path / "site"))
    own = METHODS["grad_cam"]
    with pytest.raises(UsageError, match="plugged-wrong is an architecture that calls itself 'another_name'"):
        find_architecture("net")
    with pytest.raises(UsageError, match=r"plugged-wrong.*failed \(KeyError: 'weights', line 6 of plugged_wrong.py\)"):
        find_architecture("failing").make(2)
    with pytest.raises(UsageError, match="registers none of this id"):
        find_method("grey")
    with pytest.raises(UsageError, match=r"plugged-over.*there is a method 'grad_cam' already"):
        find_method("over")
    assert METHODS["grad_cam"] is own
    with pytest.raises(
        UsageError, match=r"'scheme' of the package plugged-wrong gives object, a source without 'address'"
    ):
        take_remote("scheme://somewhere")
    with pytest.raises(UsageError, match=r"near matches: .*grey"):
        find_method("greyy")
    with pytest.raises(UsageError, match=r"did you mean .*failing"):
        find_architecture("failling")


def test_a_name_that_two_packages_give_is_refused(on_path: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("plugged-one", "plugged-two"):
        package(tmp_path / "site", name, {"cxrlens.architectures": f"net = {name.replace('-', '_')}:net"}, "net = 1")
    on_path.syspath_prepend(str(tmp_path / "site"))
    with pytest.raises(UsageError, match="'net' is given by plugged-one and by plugged-two"):
        find_architecture("net")
