"""Blocks of README and docs that can be run are run, one after the other, on tiny data."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from blocks import PAGES, Block, blocks, calls
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from command_line import cxrlens
from cxrlens import load
from cxrlens.dataset.phantom.dataset import write_phantom_dataset
from few_figures import few_figures_drawn
from small_networks import small_networks

ON = "--device cpu --workers 0"
SMALL = {
    "train": f"--weights none --image-size 64 --epochs 1 --batch-size 8 --precision 32-true {ON}",
    "test": ON,
    "explain": f"--method grad_cam --layers last {ON}",
    "pointing-game": f"--method grad_cam --layers last {ON}",
    "compare": f"--force --layers last {ON}",
    "study": f"--plan plan.yaml {ON}",
    "calibrate": f"--split dev {ON}",
    "screen": ON,
    "export": "--layers last --workers 0",
    "data check": "--workers 0",
    "data prepare": "--workers 0",
}
"""What is added to a command, so that it takes seconds; of an option that is given twice the last one counts."""

SERVERS = {"serve", "node"}

RUN = [
    ("docs/tutorial.md", [0, 1, 2, 3, 4, 5]),
    ("README.md", [3, 4, 5, 6, 7, 8]),
]
"""Pages, and the numbers of their blocks that are run in turn in one folder."""

BEFORE = {
    "README.md#4": ["train object-CXR --arch efficientnet_b0"],
}
"""What a block takes for granted."""

REPLACED = {
    "--train 320 --dev 80 --size 256": "--train 32 --dev 16 --size 96",
    "--max-retake-rate 3%": "--max-retake-rate 40%",  # of so few images
    "screened/2026-* -o analysis --fail-on drift": "screened -o analysis",  # which so few do not show
}
LEFT_OUT = {"screen ARCHIVE -m site.onnx -o by-openvino"}
NOTHING_YET = {"verdicts": 4}


def made_small(arguments: list[str]) -> list[str]:
    """A call with what `SMALL` adds to its command."""
    name = next((name for name in SMALL if arguments[: len(name.split())] == name.split()), "")
    return [*arguments, *shlex.split(SMALL.get(name, ""))]


def run(block: Block) -> list[str]:
    """Run the calls of a block; gives the names of the commands."""
    done = []
    for line in [*(f"cxrlens {each}" for each in BEFORE.get(str(block), ())), *block.lines]:
        for before, after in REPLACED.items():
            line = line.replace(before, after)
        for arguments in calls(line):
            if arguments[0] in SERVERS or any(" ".join(arguments).startswith(each) for each in LEFT_OUT):
                continue
            if arguments[0] == "calibrate":
                arguments[1] = str(labelled_by(arguments[arguments.index(_model_option(arguments)) + 1]))
            ended = cxrlens(*made_small(arguments))
            assert ended.code in (0, 10, NOTHING_YET.get(arguments[0])), f"{shlex.join(arguments)}: {ended}"
            done.append(arguments[0])
    return done


def _model_option(arguments: list[str]) -> str:
    return "-m" if "-m" in arguments else "--model"


def labelled_by(model: str) -> Path:
    """A data set of which a model that has learnt next to nothing knows the labels, but for two images: its own."""
    loaded = load(model, device="cpu")
    images = sorted(Path("data").rglob("*.jpg"), key=lambda path: loaded.check(path).probability)
    half = len(images) // 2
    images[half - 1], images[half] = images[half], images[half - 1]
    for number, image in enumerate(images):
        folder = Path("labelled") / "dev" / ("normal" if number < half else "affected")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / image.name).write_bytes(image.read_bytes())
    return Path("labelled")


@pytest.fixture(autouse=True)
def _few_figures_and_small_networks() -> Iterator[None]:
    with few_figures_drawn(), small_networks():
        yield


def write_dicom(picture: Path, out: Path) -> None:
    """The picture as a digital radiograph of nobody."""
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("L"))
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    values = {
        "SOPClassUID": DigitalXRayImageStorageForPresentation, "SOPInstanceUID": "1.2.3", "StudyInstanceUID": "1.2",
        "SeriesInstanceUID": "1.2.4", "Modality": "DX", "Rows": pixels.shape[0], "Columns": pixels.shape[1],
        "SamplesPerPixel": 1, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0,
        "PhotometricInterpretation": "MONOCHROME2", "BodyPartExamined": "CHEST", "ViewPosition": "PA",
        "PixelData": pixels.tobytes() + bytes(pixels.size % 2), "PatientName": "", "PatientID": "",
        "PatientBirthDate": "", "PatientSex": "", "StudyDate": "", "StudyTime": "", "StudyID": "",
        "AccessionNumber": "", "ReferringPhysicianName": "",
    }  # fmt: skip
    for keyword, value in values.items():
        setattr(made, keyword, value)
    made.save_as(out, enforce_file_format=True)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that README's and the docs' names stand for."""
    folder = tmp_path_factory.mktemp("documentation") / "data"
    write_phantom_dataset(folder, train=32, dev=16, size=96)
    return folder


@pytest.fixture
def work(phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the names of the blocks are there."""
    monkeypatch.chdir(tmp_path)
    for name in ("object-CXR", "SITE", "data"):
        (tmp_path / name).symlink_to(phantoms)
    (tmp_path / "ARCHIVE").symlink_to(phantoms / "dev")
    (tmp_path / "images").symlink_to(phantoms / "dev")
    (tmp_path / "image.jpg").write_bytes(next((phantoms / "dev" / "affected").iterdir()).read_bytes())
    write_dicom(tmp_path / "image.jpg", tmp_path / "image.dcm")
    few = {"images": 2}
    plan = {
        "architectures": ["resnet34"],
        "rows": ["grad_cam last"],
        "faithfulness": {"images": 2, "steps": 2},
        "randomisation": few,
        "repeats": 100,
    }
    (tmp_path / "plan.yaml").write_text(json.dumps(plan), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(("page", "numbers"), RUN, ids=[page for page, _ in RUN])
def test_blocks_run(page: str, numbers: list[int], work: Path) -> None:
    found = {block.number: block for block in blocks(page)}
    for name in ("old", "new"):
        (work / "runs").mkdir(exist_ok=True)
        (work / "runs" / name).symlink_to("resnet34-paper")
    done = [name for number in numbers for name in run(found[number])]
    assert {"train", "test", "explain", "pointing-game", "calibrate", "screen"} <= set(done)


PYTHON = [block for page in PAGES for block in blocks(page) if block.language == "python"]


def test_python_of_the_api_page_runs(work: Path) -> None:
    names: dict[str, Any] = {}
    for block in blocks("docs/api.md"):
        if block.language == "python":
            text = block.text.replace("epochs=6", "epochs=10, image_size=64, precision='32-true', workers=0")
            text = text.replace('sensitivity="90%"', 'split="train", sensitivity="75%"')
            exec(compile(text, str(block), "exec"), names)
    assert names["result"].n == 2
    assert names["screening"].counts["images"] == 16


def test_python_of_the_readme_runs(work: Path, phantoms: Path) -> None:
    training = ["train", "data", "--name", "resnet34-paper", "--arch", "resnet18", *shlex.split(SMALL["train"])]
    assert cxrlens(*training).code == 0
    (block,) = [block for block in blocks("README.md") if block.language == "python"]
    from cxrlens.models.registry import build_network

    names: dict[str, Any] = {
        "network": build_network("resnet18").eval(),
        "images": torch.rand(2, 3, 64, 80),
        "shapes_per_image": ["0 5 6 30 20", "0 40 30 70 60"],
    }
    exec(compile(block.text, str(block), "exec"), names)
    assert names["result"].n == 2


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


def test_the_exported_graph_runs_as_the_page_says(work: Path, phantoms: Path) -> None:
    pytest.importorskip("onnxruntime")
    (block,) = [block for block in blocks("docs/export.md") if block.language == "python"]
    train = f"train data --name one --arch resnet18 {SMALL['train']}"
    for line in (train, "export -m runs/one -o model.onnx --layers last --workers 0"):
        ended = cxrlens(*shlex.split(line))
        assert ended.code == 0, ended
    with Image.open("image.jpg") as image:
        image.save("image.png")
    names: dict[str, Any] = {}
    exec(compile(block.text, str(block), "exec"), names)
    assert 0 <= names["probability"][0] <= 1
