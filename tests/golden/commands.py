"""Runs every command on a small data set and writes down all that it printed and wrote, a text a step.

``python tests/golden/commands.py OUT`` writes the texts into OUT; two versions of cxrlens on one machine are compared
by ``diff -r``. ``python tests/golden/commands.py --freeze`` writes the texts that `test_golden` compares with, for a
change that is meant, or new versions of the libraries that make the figures and the help.

Commands are called by `cxrlens.cli.main` and the names of `cxrlens` alone, so that what lies behind may be moved.
"""

from __future__ import annotations

import csv
import importlib.metadata
import inspect
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1]))

from normal_forms import (
    Words,
    array_text,
    file_text,
    help_text,
    html_text,
    json_text,
    keys_text,
    mark,
    picture_text,
    table_text,
    without_marks,
)

FROZEN = Path(__file__).with_name("frozen")
ENVIRONMENT = {
    "COLUMNS": "100",
    "TERMINAL_WIDTH": "100",
    "NO_COLOR": "1",
    "TERM": "dumb",
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "MPLBACKEND": "agg",
}
VERSION, INSTALLED = "0.1.0", importlib.metadata.version("cxrlens")
"""Of cxrlens: that of all texts, and that of the checkout, whose digits grow with every commit and would stand in
captions; processes of their own tell it."""
COMMANDS = (
    "data",
    "data phantom",
    "data check",
    "data prepare",
    "data cache",
    "model",
    "model list",
    "model info",
    "model add",
    "model export",
    "model verify",
    "model remove",
    "train",
    "test",
    "explain",
    "pointing-game",
    "screen",
    "analyse",
    "study",
    "compare",
    "calibrate",
    "serve",
    "node",
    "card",
    "export",
    "demo",
    "doctor",
)


class Golden:
    """Runs steps in a folder and writes what each printed and wrote.

    Attributes:
        out: where the texts go.
        words: replaces what differs from run to run; learns the digests of files as they are made.
    """

    def __init__(self, out: Path, work: Path) -> None:
        from cxrlens import __version__

        self.out = out
        self.work = work
        self.words = Words(__version__, {str(work): "<work>", INSTALLED: "<version>"})
        self.seen: dict[Path, tuple[int, int]] = {}
        out.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, parts: Iterable[tuple[str, str]]) -> None:
        """One text of parts with headings; empty ones are left out."""
        text = "".join(f"==== {title}\n{body.rstrip()}\n" for title, body in parts if body.strip())
        (self.out / f"{name}.txt").write_text(self.words(text), encoding="utf-8", newline="\n")

    def run(self, name: str, command: str, *, looks: bool = True) -> str:
        """Runs a command; gives what it printed. ``looks``: whether the text says what its files hold.

        Figures that nobody looks at are not all drawn.
        """
        from few_figures import few_figures_drawn

        self.new_files()
        given = shlex.split(command)
        with nullcontext() if looks else few_figures_drawn():
            code, out, err = call(given)
        if "--json" in given and out:
            value = json.loads(out)
            shown = keys_text(value) if given[0] == "doctor" else json_text(value)
        elif "--help" in given:
            shown = help_text(out)
        else:
            shown = out
        made = self.new_files()
        self.write(
            name,
            [
                ("command", f"cxrlens {command}"),
                ("exit code", str(code)),
                ("stdout", shown),
                ("stderr", err),
                ("files", "\n".join(sorted(self.words(path.as_posix()) for path in made))),
                *sorted(
                    (self.words(f"file {path.as_posix()}"), file_text(self.work / path))
                    for path in made
                    if looks and file_text(self.work / path)
                ),
            ],
        )
        return out

    def new_files(self) -> list[Path]:
        """Files that are new or were changed since the last call; the cache of decoded images is left out."""
        found = {
            path: (path.stat().st_mtime_ns, path.stat().st_size)
            for path in sorted(self.work.rglob("*"))
            if path.is_file() and "cache" not in path.relative_to(self.work).parts[:1]
        }
        new = [path for path, state in found.items() if self.seen.get(path) != state]
        self.seen = found
        for path in new:
            digest = sha256_of(path)
            self.words.fixed.setdefault(digest, f"<sha256 of {path.relative_to(self.work).as_posix()}>")
        return [path.relative_to(self.work) for path in new]


def sha256_of(path: Path) -> str:
    """The digest of a file."""
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def call(arguments: list[str]) -> tuple[int, str, str]:
    """Runs the entry point in this process: exit code, stdout and stderr."""
    from command_line import cxrlens

    ended = cxrlens(*arguments)
    return ended.code, ended.out, ended.err


# -- inputs -----------------------------------------------------------------------------------------------------------


def plant_weights(trained: Path, data: Path, out: Path, *, seed: int, resize: str) -> None:
    """A model file with the card of a trained one and weights that are the same on every machine.

    A training's own weights differ between processors from the first digits on; these are drawn by numpy, and the
    head points from the mean of the normal images to that of the affected ones.
    """
    import numpy as np
    import torch
    from PIL import Image
    from safetensors import safe_open
    from safetensors.torch import save_file
    from torchvision.models import resnet34

    with safe_open(trained, framework="pt") as stored:
        card = stored.metadata()
    facts = json.loads(card["cxrlens"])
    side = facts["preprocessing"]["height"]
    facts["preprocessing"]["resize"] = resize
    random = np.random.default_rng(seed)
    network = resnet34(num_classes=2).eval()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.ndim == 4:
                scale = (2 / tensor[0].numel()) ** 0.5
                drawn = random.standard_normal(tuple(tensor.shape)).astype(np.float32) * scale
                tensor.copy_(torch.from_numpy(drawn))
            elif tensor.ndim == 1 and name.endswith("bn2.weight"):
                tensor.fill_(0.5)
    files = sorted((data / "train").glob("*/*.jpg")) + sorted((data / "dev").glob("*/*.jpg"))
    grey = []
    for file in files:
        with Image.open(file) as image:
            small = image.convert("L").resize((side, side), Image.Resampling.BILINEAR)
            grey.append(np.asarray(small, dtype=np.float32) / 255)
    images = (torch.from_numpy(np.stack(grey))[:, None].repeat(1, 3, 1, 1) - 0.45) / 0.225
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    features = {}
    network.avgpool.register_forward_hook(lambda *given: features.update(all=given[2].flatten(1)))
    with torch.no_grad():
        network.train()(images)
        network.eval()(images)
        all_ = features["all"].double()
        is_affected = torch.tensor([file.parent.name == "affected" for file in files])
        way = all_[is_affected].mean(0) - all_[~is_affected].mean(0)
        along = all_ @ way
        way = 2.5 * way / along.std()
        shift = -(all_ @ way).mean()
        network.fc.weight.copy_(torch.stack([-way / 2, way / 2]))
        network.fc.bias.copy_(torch.stack([-shift / 2, shift / 2]))
    save_file(
        {key: value.contiguous() for key, value in network.state_dict().items()},
        out,
        metadata={"cxrlens": json.dumps(facts)},
    )


def radiograph(path: Path, number: int, **elements: object) -> None:
    """A digital radiograph as a DICOM file with a patient: a smooth picture with a bright object."""
    import numpy as np
    from PIL import Image
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

    coarse = np.random.default_rng(number).integers(0, 200, (9, 7), dtype=np.uint8)
    pixels = np.array(Image.fromarray(coarse).resize((70, 90), Image.Resampling.NEAREST))
    pixels[58:70, 8:24] = 255
    root = f"1.2.826.0.1.3680043.8.498.{number}"
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    values = {
        "SOPClassUID": DigitalXRayImageStorageForPresentation,
        "SOPInstanceUID": f"{root}.3",
        "SeriesInstanceUID": f"{root}.2",
        "StudyInstanceUID": f"{root}.1",
        "Modality": "DX",
        "PatientName": f"Doe^Jane {number}",
        "PatientID": f"P-{number}",
        "PatientBirthDate": "19610412",
        "PatientSex": "F",
        "StudyDate": "20310101",
        "StudyTime": "121314",
        "StudyID": "S1",
        "AccessionNumber": "A-5",
        "ReferringPhysicianName": "Roe^Richard",
        "Manufacturer": "Maker",
        "BodyPartExamined": "CHEST",
        "PatientOrientation": ["L", "F"],
        "ImagerPixelSpacing": [0.15, 0.15],
        "Rows": 90,
        "Columns": 70,
        "SamplesPerPixel": 1,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "PhotometricInterpretation": "MONOCHROME2",
        "PixelData": pixels.tobytes(),
    }
    for keyword, value in {**values, **elements}.items():
        setattr(image, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save_as(path, enforce_file_format=True)


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def spoil(data: Path, out: Path) -> None:
    """A copy of a data set with a duplicate across splits, a damaged file, a missing row, and boxes that are wrong."""
    shutil.copytree(data, out)
    dev = rows_of(out / "dev.csv")
    affected = [row for row in dev if row["annotation"]]
    lines = [f"{row['image_name']},{row['annotation']}" for row in dev if row is not affected[0]]
    lines = [line for line in lines if not line.startswith(affected[1]["image_name"])]
    lines += [f"{affected[1]['image_name']},0 5 5 4000 4000", "nobody.jpg,0 1 1 9 9"]
    (out / "dev.csv").write_text("\n".join(["image_name,annotation", *lines]) + "\n")
    first = sorted((out / "train" / "normal").iterdir())[0]
    shutil.copyfile(first, out / "dev" / "normal" / "again.jpg")
    (out / "train" / "normal" / "bad.jpg").write_bytes(first.read_bytes()[:300])


def mixed_folder(data: Path, out: Path) -> None:
    """Pictures and DICOM files, one of them in a folder below, one twice, and two that cannot be read."""
    out.mkdir()
    for file in sorted((data / "dev").glob("*/*.jpg"))[::2]:
        shutil.copyfile(file, out / file.name)
    twice = sorted(out.iterdir())[0]
    (out / "ward").mkdir()
    shutil.copyfile(twice, out / "ward" / "twice.jpg")
    radiograph(out / "ward" / "a.dcm", 1)
    radiograph(out / "b.dcm", 2, ViewPosition="LL")
    (out / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n not a picture")
    (out / "notes.txt").write_text("not a picture\n")


def class_folders(data: Path, out: Path) -> None:
    """The dev images in folders with other class names, and a table of them beside."""
    lines = ["path,label,patient_id"]
    for label, name in (("affected", "object"), ("normal", "clear")):
        (out / name).mkdir(parents=True)
        for number, file in enumerate(sorted((data / "dev" / label).iterdir())):
            shutil.copyfile(file, out / name / file.name)
            lines.append(f"{name}/{file.name},{label},{name}{number // 2}")
    out.with_suffix(".csv").write_text("\n".join(lines) + "\n")


def coco_file(images: Path, out: Path) -> None:
    """The images of the first class folder as a COCO file, every other one with a box."""
    from PIL import Image

    listed, boxes = [], []
    for number, file in enumerate(sorted((images / "object").iterdir())):
        with Image.open(file) as image:
            listed.append({"id": number, "file_name": file.name, "width": image.width, "height": image.height})
        if number % 2:
            boxes.append({"id": number, "image_id": number, "category_id": 7, "bbox": [5, 8, 20, 10 + number]})
    categories = [{"id": 7, "name": "object"}]
    out.write_text(json.dumps({"images": listed, "annotations": boxes, "categories": categories}))


STUDY = """\
architectures: [resnet34]
random: {seeds: [0], image_size: 64}
rows: [grad_cam last, normgrad_conv1x1 combined, input_x_gradient input, layer_cam each]
faithfulness: {images: 2, steps: 2}
randomisation: {images: 2}
consistency: {images: 2}
perturbation: {images: 2}
repeats: 100
batch_size: 4
"""


# -- steps ------------------------------------------------------------------------------------------------------------


def helps(golden: Golden) -> None:
    """The help of every command, and the version."""
    golden.run("help", "--help")
    golden.run("version", "--version")
    for command in COMMANDS:
        golden.run(f"help-{command.replace(' ', '-')}", f"{command} --help")


def data_commands(golden: Golden) -> None:
    """`data phantom`, `data check` and `data prepare`."""
    work = golden.work
    golden.run("data-phantom", "data phantom data --train 16 --dev 12 --size 96 --seed 1 --json --workers 0")
    golden.run("data-phantom-many", "data phantom many --train 48 --dev 4 --size 80 --seed 2 --workers 0", looks=False)
    golden.run("data-phantom-words", "data phantom few --train 2 --dev 2 --size 64 --workers 0")
    golden.run("data-check", "data check data --workers 0")
    golden.run("data-check-many", "data check many --workers 0")
    golden.run("data-check-many-json", "data check many --json --workers 0")
    spoil(work / "data", work / "spoiled")
    golden.run("data-check-spoiled", "data check spoiled --workers 0")
    golden.run("data-check-spoiled-page", "data check spoiled -o checked --json --fail-on problem --workers 0")
    class_folders(work / "data", work / "folders")
    names = "--affected object --normal clear"
    random = "--split-by random --dev-share 0.34"
    golden.run("data-prepare-folders", f"data prepare folders prepared {names} {random} --size 48 --json --workers 0")
    patients = "--split-by patient --dev-share 0.5"
    golden.run(
        "data-prepare-csv", f"data prepare folders.csv by-csv --images folders {patients} --relative --workers 0"
    )
    golden.run("data-prepare-object-cxr", "data prepare data copied --copy --dev-as-test --json --workers 0")
    coco_file(work / "folders", work / "coco.json")
    golden.run(
        "data-prepare-coco", f"data prepare coco.json by-coco --images folders/object {random} --json --workers 0"
    )
    golden.run("data-check-prepared", "data check prepared --json --workers 0")


def training(golden: Golden) -> None:
    """`train` and `data cache`, and the models of the later steps."""
    small = "--recipe small --image-size 64 --epochs 1 --seed 0 --device cpu --workers 0 --cache-dir cache"
    small += " --precision 32-true"  # "auto" follows the processor
    golden.run("train", f"train data --arch resnet34 {small} --json")
    other = "--arch efficientnet_b0 --name second --resize letterbox --class-weights none"
    golden.run("train-words", f"train data {other} {small} --set augmentation.degrees=10")
    images = sorted((golden.work / "folders" / "clear").iterdir())
    lines = [f"folders/clear/{images[0].name},affected", f"folders/clear/{images[1].name},normal"]
    (golden.work / "labels.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    golden.run("train-labels", f"train many --arch resnet18 --name third {small} --labels labels.csv", looks=False)
    golden.run("data-cache", "data cache --cache-dir cache")
    golden.run("data-cache-clear", "data cache --clear --json --cache-dir cache")
    trained = golden.work / "runs" / "resnet34-small" / "model.safetensors"
    plant_weights(trained, golden.work / "data", golden.work / "model.safetensors", seed=0, resize="stretch")
    plant_weights(trained, golden.work / "data", golden.work / "other.safetensors", seed=1, resize="letterbox")


def scoring(golden: Golden) -> None:
    """`test`, `explain`, `pointing-game`, `study` and `compare`."""
    on = "--device cpu --workers 0"
    model = f"-m model.safetensors {on}"
    golden.run("test", f"test data {model} -o tested --json")
    golden.run("test-words", f"test data {model} -o tested-train --split train", looks=False)
    golden.run("test-letterbox", f"test data -m other.safetensors {on} -o tested-letterbox", looks=False)

    golden.run("explain-list", "explain --list")
    image = sorted((golden.work / "data" / "dev" / "affected").iterdir())[0].relative_to(golden.work).as_posix()
    methods = "--method grad_cam,normgrad_conv1x1,layer_cam --method gradient,guided_grad_cam,hires_cam"
    golden.run("explain-last", f"explain {image} {model} -o explained-last --layers last {methods} --json")
    how = "--layers combined --combination geometric --smooth 1 --target predicted --method normgrad_scaling"
    objects = "--annotations data/dev.csv"
    golden.run("explain-combined", f"explain data/dev/affected {model} -o explained {how} {objects}")
    golden.run("explain-letterbox", f"explain {image} -m other.safetensors {on} -o explained-letterbox --json")
    radiograph(golden.work / "ward" / "a.dcm", 3)
    shutil.copyfile(golden.work / image, golden.work / "ward" / "b.jpg")
    one = "--method normgrad_conv1x1 --layers combined"
    golden.run("explain-dicom", f"explain ward {model} -o explained-dicom --dicom {one}")

    golden.run("pointing-game", f"pointing-game data {model} -o pointed --tolerance 0.1 --json")
    last = "--method layer_cam --layers last --split train"
    golden.run("pointing-game-words", f"pointing-game data {model} -o pointed-words {last}", looks=False)
    golden.run("pointing-game-image", f"pointing-game {image} {model} -o pointed-image {objects}")
    text = '--annotation "0 10 20 30 40" --json'
    golden.run("pointing-game-text", f"pointing-game {image} {model} -o pointed-text {text}", looks=False)

    (golden.work / "plan.yaml").write_text(STUDY)
    golden.run("study", f"study data -o studied --plan plan.yaml {model} --json")
    golden.run("study-again", f"study data -o studied --plan plan.yaml {model}", looks=False)

    rows = '"grad_cam last" "normgrad_conv1x1 combined"'
    golden.run("compare-rows", f"compare {rows} --data data {model} -o compared --json")
    models = "model.safetensors other.safetensors"
    golden.run("compare-models", f"compare {models} --data data -o compared-models {on} --fail-if-worse")


def at_a_site(golden: Golden) -> None:
    """`calibrate`, `card`, `screen`, `export` and `doctor`."""
    on = "--device cpu --workers 0"
    model = f"-m model.safetensors {on}"
    golden.run("calibrate", f"calibrate data {model} -o site.safetensors --specificity 0.8 --prevalence 12% --json")
    retakes = "--max-retake-rate 30% --review none"
    golden.run("calibrate-words", f"calibrate data {model} -o retakes.safetensors {retakes}", looks=False)
    golden.run("card", "card -m site.safetensors --data-licence CC0 --study studied -o card.md")
    golden.run("card-words", "card -m model.safetensors")
    golden.run("card-json", "card -m model.safetensors --json")

    mixed_folder(golden.work / "data", golden.work / "mixed")
    time.sleep(2.1)  # a file that has just been changed may change again unseen, and would be read once more
    site = "-m site.safetensors --workers 0"
    golden.run("screen", f"screen mixed {site} --device cpu -o screened --maps all --json")
    golden.run("screen-again", f"screen mixed {site} --device cpu -o screened --maps all", looks=False)
    kept = "station,date,view,patient-id,accession-number,study-uid,image-uid"
    given = f"--dicom --keep-tags {kept} --layers last --fail-on retake"
    golden.run("screen-dicom", f"screen mixed {site} --device cpu -o screened-dicom {given}")
    golden.run("screen-plain", f"screen mixed/ward {model} -o screened-plain")
    golden.run("analyse", "analyse screened screened-dicom -o analysed --json")

    golden.run("export", "export -m site.safetensors --to onnx --json")
    golden.run("export-words", "export -m model.safetensors --method grad_cam --layers last -o graph.onnx")
    golden.run("screen-onnx", "screen mixed -m site.onnx --workers 0 -o screened-onnx --json")

    out = golden.run("doctor-json", "doctor -m site.safetensors --json --device cpu")
    findings = json.loads(out)["findings"]
    golden.write("doctor-names", [("findings", "\n".join(f"{one['section']}: {one['name']}" for one in findings))])


REFUSED = (
    "train nowhere",
    "train data --arch vgg",
    "test data -m nowhere.safetensors",
    "test data -m model.safetensors -o tested",
    "explain data -m model.safetensors --method grad_cm -o unmade",
    "explain notes.txt -m model.safetensors -o unmade",
    "pointing-game data/dev/affected -m model.safetensors -o unmade --annotation '0 1 1 2 2'",
    "compare model.safetensors nowhere --data data -o unmade",
    "calibrate data -m model.safetensors -o site.safetensors",
    "calibrate data -m model.safetensors -o unmade.safetensors --prevalence 2",
    "export -m model.safetensors --method gradient -o unmade.onnx",
    "screen mixed -m other.safetensors -o screened",
    "serve nowhere -m model.safetensors",
    "study data -o unmade --plan nothing",
    "data check nowhere",
    "data prepare nowhere unmade",
    "card -m nowhere",
    "card -m model.safetensors --wrong",
    "nothing",
)


def refusals(golden: Golden) -> None:
    """The exit codes of commands that are refused; their sentences may change."""
    lines = []
    for command in REFUSED:
        code, out, _ = call(shlex.split(command))
        lines.append(f"{code} cxrlens {command}" + (f"\n{out}" if out else ""))
    golden.write("refusals", [("exit codes", "\n".join(lines))])


@contextmanager
def serving(golden: Golden) -> Iterator[str]:
    """A running ``cxrlens serve`` of the screened folder; gives its address."""
    command = ["serve", "screened", "-m", "site.safetensors", "--port", "0", "--workers", "1", "--json"]
    command += ["--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cxrlens", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    lines: list[str] = []
    err = ""
    try:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line.startswith("}"):
                break
        assert lines, process.stderr and process.stderr.read()
        yield json.loads("".join(lines))["url"]
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=300)
    said = re.sub(r'("port": )\d+', r"\1<port>", "".join(lines))
    golden.write("serve", [("exit code", str(process.returncode)), ("stdout", said), ("stderr", err)])


def server(golden: Golden) -> None:
    """Every address of the server."""
    import httpx

    with serving(golden) as url, httpx.Client(base_url=url, timeout=300) as client:

        def answer(name: str, method: str, address: str, **given: Any) -> httpx.Response:
            response = client.request(method, address, **given)
            kind = response.headers.get("content-type", "")
            headers = "\n".join(
                f"{key}: {value}"
                for key, value in sorted(response.headers.items())
                if key not in ("date", "content-length", "etag", "last-modified", "server")
            )
            asked = f"{method} {address} {given.get('json') or given.get('data') or given.get('params') or ''}".strip()
            golden.write(
                f"serve-{name}",
                [
                    ("request", asked),
                    ("status", str(response.status_code)),
                    ("headers", headers),
                    ("answer", _body(kind, response)),
                ],
            )
            return response

        page = answer("page", "GET", "/")
        for number, name in enumerate(sorted(set(re.findall(r"(?:src|href)=\"(/?static/[^\"]+)\"", page.text)))):
            answer(f"static-{number}", "GET", f"/{name.lstrip('/')}")
        answer("health", "GET", "/health")
        answer("model", "GET", "/api/model")
        answer("methods", "GET", "/api/methods")
        answer("openapi", "GET", "/api/openapi.json")
        listed = answer("worklist", "GET", "/api/worklist").json()["images"]
        answer("worklist-part", "GET", "/api/worklist", params={"show": "unreadable", "offset": 0, "limit": 1})
        answer("worklist-wrong", "GET", "/api/worklist", params={"show": "some"})
        answer("picture", "GET", listed[0]["picture"])
        answer("map", "GET", listed[0]["map"])
        answer("no-picture", "GET", f"/api/worklist/{'0' * 64}/picture")
        key = listed[0]["key"]
        answer("verdict", "POST", "/api/verdicts", json={"key": key, "verdict": "retake"})
        answer("verdict-again", "POST", "/api/verdicts", json={"key": key, "verdict": "accept"})
        answer("verdict-wrong", "POST", "/api/verdicts", json={"key": key, "verdict": "maybe"})
        answer("verdicts", "GET", "/api/verdicts")
        answer("verdicts-csv", "GET", "/api/verdicts.csv")
        answer("worklist-decided", "GET", "/api/worklist", params={"show": "decided"})
        answer("audit", "GET", "/api/audit")
        jpeg = golden.work / "mixed" / "ward" / "twice.jpg"
        dicom = golden.work / "mixed" / "ward" / "a.dcm"
        answer("check", "POST", "/api/check", files={"file": ("image", jpeg.read_bytes())})
        answer(
            "check-method",
            *("POST", "/api/check"),
            files={"file": ("image", dicom.read_bytes())},
            data={"method": "grad_cam", "layers": "last", "smooth": "1"},
        )
        answer("check-unreadable", "POST", "/api/check", files={"file": ("image", b"not a picture")})
        answer("check-without", "POST", "/api/check")
        answer("nothing", "GET", "/nothing")
        metrics = answer("metrics", "GET", "/metrics")
        names = sorted(re.sub(r" [-+.\de]+$", "", line) for line in metrics.text.splitlines())
        golden.write("serve-metrics", [("answer", "\n".join(names))])


def _body(kind: str, response: Any) -> str:
    if kind.startswith("application/json"):
        return json_text(response.json())
    if kind.startswith("image/"):
        return picture_text(response.content)
    if kind.startswith("text/html"):
        return html_text(response.text)
    if kind.startswith("text/csv"):
        return table_text(response.text)
    return mark(response.text)


def python_api(golden: Golden) -> None:
    """The names of the package, and what they give."""
    import numpy as np

    import cxrlens

    def signature(callable_: Any) -> str:
        parameters = inspect.signature(callable_).parameters.values()
        return ", ".join(
            f"{'*' if one.kind is one.KEYWORD_ONLY else ''}{one.name}"
            + ("" if one.default is one.empty else f"={one.default!r}")
            for one in parameters
        )

    model = cxrlens.load("site.safetensors", device="cpu")
    lines = [f"names: {sorted(cxrlens.__all__)}", f"dir: {[name for name in dir(cxrlens) if name in cxrlens.__all__]}"]
    lines += [f"{name}({signature(getattr(cxrlens, name))})" for name in ("load", "explain", "pointing_game")]
    for class_ in (cxrlens.QualityModel, cxrlens.Check, cxrlens.PointingResult):
        lines.append(f"{class_.__name__}({signature(class_)})")
        for name in sorted(vars(class_)):
            if not name.startswith("_"):
                member = vars(class_)[name]
                lines.append(f"  .{name}" + (f"({signature(member)})" if inspect.isfunction(member) else ""))
    lines.append(f"device {model.device}, size {model.preprocessing.size}, threshold {model.card.threshold:.6f}")

    image = sorted((golden.work / "data" / "dev" / "affected").iterdir())[0]
    found = []
    for name, source, given in (
        ("path", image, {}),
        ("bytes", image.read_bytes(), {"methods": ["grad_cam", "gradient"], "layers": "last", "smooth": 1.0}),
        ("DICOM", golden.work / "ward" / "a.dcm", {"target": "predicted"}),
        ("array", np.linspace(0, 1, 80 * 70, dtype=np.float32).reshape(80, 70), {"methods": "layer_cam"}),
    ):
        check = model.check(source, **given)
        found.append(f"{name}: probability {check.probability:.6f}, {check.decision}, {check.triage}, {check.peak}")
        found.append(f"  flat {check.flat} {mark(repr(check.probability))}")
        found += [f"  {id_}: {array_text(map_)}" for id_, map_ in check.maps.items()]

    images = np.random.default_rng(0).random((2, 1, 64, 64), dtype=np.float32)
    import torch

    methods = ["grad_cam", "normgrad_conv1x1", "normgrad_scaling", "captum:Saliency"]
    maps = cxrlens.explain(
        model.network,
        torch.from_numpy(images).repeat(1, 3, 1, 1),
        methods=methods,
        layers="combined",
        combination="mean",
    )
    explained = [f"layers {maps.layers}, fusion {maps.fusion}, logits {array_text(maps.logits.numpy())}"]
    explained += [f"{id_}: flat {maps.flat[id_].tolist()} {array_text(map_[0].numpy())}" for id_, map_ in maps.items()]

    spots = np.zeros((3, 40, 50), dtype=np.float32)
    spots[0, 10, 12] = spots[1, 30, 30] = 1
    played = cxrlens.pointing_game(spots, ["0 10 8 14 12", "1 0 0 5 5", "0 1 1 9 9"], tolerance=5)
    scores = f"accuracy {played.accuracy:.6f}, n {played.n}, hits {played.hits}, misses {played.misses}"
    game = [f"{scores}, tied {played.tied}"]
    game += [f"{one.outcome} {one.distance:.6f} {one.peak.tied}" for one in played.records]
    golden.write(
        "python",
        [
            ("names", "\n".join(lines)),
            ("check", "\n".join(found)),
            ("explain", "\n".join(explained)),
            ("pointing_game", "\n".join(game)),
        ],
    )


def write_all(out: Path) -> None:
    """Runs all steps in a folder of their own and writes the texts into ``out``."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder).resolve() / "golden"  # by which name the models that lie in it are called
        work.mkdir()
        os.environ["CXRLENS_CACHE"] = str(work / "cache")
        os.environ["CXRLENS_MODELS"] = str(work / "models")
        before = Path.cwd()
        os.chdir(work)
        try:
            golden = Golden(out, work)
            helps(golden)
            data_commands(golden)
            training(golden)
            scoring(golden)
            at_a_site(golden)
            refusals(golden)
            python_api(golden)
            server(golden)
            golden.run("demo", "demo --quick -o demo --device cpu --workers 0", looks=False)
        finally:
            os.chdir(before)


def freeze() -> None:
    """Writes the texts that the tests compare with."""
    with tempfile.TemporaryDirectory() as folder:
        write_all(Path(folder))
        shutil.rmtree(FROZEN, ignore_errors=True)
        FROZEN.mkdir()
        for path in sorted(Path(folder).iterdir()):
            (FROZEN / path.name).write_text(without_marks(path.read_text("utf-8")), encoding="utf-8", newline="\n")


def main(arguments: list[str]) -> int:
    """What the module does as a program."""
    if len(arguments) != 1 or (arguments[0].startswith("-") and arguments[0] != "--freeze"):
        print(__doc__, file=sys.stderr)  # noqa: T201
        return 2
    os.environ.pop("CXRLENS_CACHE_SIZE", None)
    os.environ.update(ENVIRONMENT)
    installed = importlib.metadata.version
    importlib.metadata.version = lambda name: VERSION if name == "cxrlens" else installed(name)
    if arguments[0] == "--freeze":
        freeze()
    else:
        write_all(Path(arguments[0]).resolve())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
