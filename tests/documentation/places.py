"""What the pages take for granted: data sets, models, results and files under the names that they use, all tiny."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from blocks import blocks
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian
from terminal import labelled_by, made_small

from command_line import cxrlens
from cxrlens.dataset.phantom.dataset import write_phantom_dataset
from cxrlens.files import sha256_of
from cxrlens.models.model_file import load_model, save_model
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.store.marks import Mark
from cxrlens.screening.store.store import Store
from cxrlens.screening.store.verdicts import Grounds

OF_A_CLASS = 10
IMAGES = 2 * OF_A_CLASS + 1
PLAN = {
    "architectures": ["resnet34"],
    "training": {"recipe": "small", "seeds": [0], "settings": {"image_size": 64, "epochs": 1, "batch_size": 8}},
    "rows": ["grad_cam last"],
    "fusions": ["centres bicubic", "areas bilinear"],
    "faithfulness": {"images": 2, "steps": 2},
    "randomisation": {"images": 2},
    "repeats": 100,
}


@dataclass(frozen=True)
class Shared:
    """What is made once for all pages.

    Attributes:
        phantoms: a data set.
        images: affected (a0.jpg ...) and normal ones (n0.jpg ...) of its training split, and one more as DICOM.
        run: a training's folder.
        site: its model, calibrated.
        screened: the images, screened with that; a reader has judged them all.
    """

    phantoms: Path
    images: Path
    run: Path
    site: Path
    screened: Path

    @property
    def key(self) -> str:
        """Of an image that was screened."""
        return sha256_of(self.images / "a0.jpg")

    @classmethod
    def made(cls, folder: Path) -> Shared:
        found = cls(*(folder / name for name in ("data", "images", "run", "site.safetensors", "screened")))
        write_phantom_dataset(found.phantoms, train=32, dev=16, size=96)
        found.images.mkdir()
        for kind in ("affected", "normal"):
            files = sorted((found.phantoms / "train" / kind).iterdir())
            for number, file in enumerate(files[:OF_A_CLASS]):
                shutil.copy(file, found.images / f"{kind[0]}{number}.jpg")
        write_dicom(files[-1], found.images / "chest.dcm")
        _done("train", found.phantoms, "--runs", folder, "--name", found.run.name)
        labelled = labelled_by(found.run, found.phantoms, folder / "labelled")
        _done("calibrate", labelled, "-m", found.run, "-o", found.site, "--max-retake-rate", "40%")
        _done("screen", found.images, "-m", found.site, "-o", found.screened)
        judge(found.screened)
        return found


def _done(*arguments: object) -> None:
    ended = cxrlens(*made_small([str(each) for each in arguments]))
    assert ended.code == 0, ended


def judge(screened: Path) -> None:
    """A reader accepts the normal images of a folder, and sees an object on the others."""
    drawn = Grounds(reason="foreign_object", marks=(Mark(kind="box", points=((20, 10), (50, 30))),))
    with Store(ScreenedFolder(screened)) as store:
        for image in store.results.newest():
            if image.name.startswith("a"):
                given = store.verdicts.give(image.key, "retake", lambda: "", grounds=drawn)
            else:
                given = store.verdicts.give(image.key, "accept", lambda: "")
            assert given


def write_dicom(picture: Path, out: Path, number: int = 1) -> None:
    """The picture as a digital radiograph of nobody."""
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("L"))
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    values = {
        "SOPClassUID": DigitalXRayImageStorageForPresentation, "SOPInstanceUID": f"1.2.3.{number}",
        "StudyInstanceUID": f"1.2.{number}", "SeriesInstanceUID": f"1.2.4.{number}", "Modality": "DX",
        "Rows": pixels.shape[0], "Columns": pixels.shape[1], "SamplesPerPixel": 1, "BitsAllocated": 8,
        "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0, "PhotometricInterpretation": "MONOCHROME2",
        "BodyPartExamined": "CHEST", "ViewPosition": "PA", "PixelData": pixels.tobytes() + bytes(pixels.size % 2),
        "StationName": "ROOM1", "StudyDate": "20260131", "PatientName": "", "PatientID": "", "PatientBirthDate": "",
        "PatientSex": "", "StudyTime": "", "StudyID": "", "AccessionNumber": "", "ReferringPhysicianName": "",
    }  # fmt: skip
    for keyword, value in values.items():
        setattr(made, keyword, value)
    made.save_as(out, enforce_file_format=True)


# -- names of pages ---------------------------------------------------------------------------------------------------


def _link(what: str) -> Callable[[Shared, Path], None]:
    return lambda shared, path: path.symlink_to(getattr(shared, what))


def _copy(what: str) -> Callable[[Shared, Path], None]:
    def copy(shared: Shared, path: Path) -> None:
        source = getattr(shared, what)
        shutil.copytree(source, path) if source.is_dir() else shutil.copy(source, path)

    return copy


def _picture(shared: Shared, path: Path) -> None:
    if path.suffix == ".dcm":
        shutil.copy(shared.images / "chest.dcm", path)
    else:
        with Image.open(shared.images / "a0.jpg") as image:
            image.save(path)


def _old_images(shared: Shared, path: Path) -> None:
    """Images of a node, of a hundred days ago."""
    path.mkdir()
    _picture(shared, path / "old.dcm")
    then = time.time() - 100 * 24 * 3600
    os.utime(path / "old.dcm", (then, then))


def _netrc(shared: Shared, path: Path) -> None:
    path.write_text("machine 127.0.0.1 login cxrlens password of-the-tests\n", encoding="utf-8")
    path.chmod(0o600)


def _weights(shared: Shared, path: Path) -> None:
    """Those of a network of timm."""
    timm = pytest.importorskip("timm")
    torch.save(timm.create_model("test_efficientnet").state_dict(), path)


def _rows(shared: Shared, path: Path) -> None:
    """Annotations of the images."""
    lines = ["image_name,annotation"]
    for number in range(OF_A_CLASS):
        lines += [f"a{number}.jpg,0 20 10 50 30", f"n{number}.jpg,"]
    path.write_text("\n".join([*lines, "chest.dcm,"]), encoding="utf-8")


STANDS_FOR: dict[str, Callable[[Shared, Path], None]] = {
    r"object-CXR|SITE|DATA|data|SRC": _link("phantoms"),
    r"ARCHIVE|IMAGES|INBOX(/.*)?|FOLDER|images|incoming|folder": _link("images"),
    r"(runs|demos)/.*|MODEL": _copy("run"),
    r"site\.safetensors": _copy("site"),
    r"screened": _copy("screened"),
    r".*\.(jpg|png|dcm)": _picture,
    r"OUT/images": _old_images,
    r"\.pacs": _netrc,
    r"rows\.csv": _rows,
    r"PATH": _weights,
}
"""What names of pages stand for, by patterns."""


def put(name: str, shared: Shared) -> None:
    """Put into the working directory what a name stands for."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    (make,) = (make for pattern, make in STANDS_FOR.items() if re.fullmatch(pattern, name))
    make(shared, path)


def readers(shared: Shared) -> None:
    """The file that docs/serving.md shows."""
    (shown,) = (block for block in blocks("docs/serving.md") if "$ cat readers.yaml" in block.text)
    lines = [line for line in shown.text.splitlines() if not line.startswith("$ ")]
    Path("readers.yaml").write_text("\n".join(lines), encoding="utf-8")


def sure_of_all(shared: Shared) -> None:
    """The model calls every image affected, and the training images have no labels: 8 bits change no decision."""
    file = Path("runs/first/model.safetensors")
    network, card = load_model(file)
    save_model(file, network, card.model_copy(update={"threshold": 0.0}))
    Path("DATA").symlink_to(shared.images)


# -- sources of docs/data.md ------------------------------------------------------------------------------------------


def _images(shared: Shared) -> list[Path]:
    """In turn affected and normal ones."""
    return [shared.images / f"{kind}{number}.jpg" for number in range(OF_A_CLASS) for kind in "an"]


def download(shared: Shared) -> None:
    """Object-CXR as it is shared: for each split an archive of its images, and the objects of all of them."""
    folder = Path("download")
    folder.mkdir()
    for split in ("train", "dev"):
        with (shared.phantoms / f"{split}.csv").open(encoding="utf-8", newline="") as stream:
            objects = {row["image_name"]: row["annotation"] for row in csv.DictReader(stream)}
        images = sorted((shared.phantoms / split).rglob("*.jpg"))
        with zipfile.ZipFile(folder / f"{split}.zip", "w") as archive:
            for image in images:
                archive.write(image, f"{split}/{image.name}")
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as stream:
            rows = [(image.name, objects.get(image.name, "")) for image in images]
            csv.writer(stream).writerows([("image_name", "annotation"), *rows])


def table_of_images(shared: Shared) -> None:
    """A CSV, and what it names both beside it and elsewhere."""
    lines = ["path,label,split,patient_id"]
    for place in ("scans", "archive-2024/scans"):
        Path(place).mkdir(parents=True)
    for number, image in enumerate(_images(shared)):
        name, label = f"scans/{number:04}.dcm", "affected" if image.name.startswith("a") else "normal"
        write_dicom(image, Path(name), number)
        shutil.copy(name, f"archive-2024/{name}")
        lines.append(f"{name},{label},{'train' if number < 8 else 'dev'},p{number}")
    Path("rows.csv").write_text("\n".join(lines), encoding="utf-8")


def class_folders(shared: Shared) -> None:
    for number, image in enumerate(_images(shared)):
        folder = Path("folder", "train" if number < 8 else "val", "metal" if image.name.startswith("a") else "plain")
        folder.mkdir(parents=True, exist_ok=True)
        with Image.open(image) as picture:
            picture.save(folder / f"{number}.png")


def coco(shared: Shared) -> None:
    categories = [{"id": 1, "name": "button"}, {"id": 2, "name": "coin"}]
    for split, images in (("train2017", _images(shared)[:8]), ("val2017", _images(shared)[8:])):
        folder = Path("coco", split)
        folder.mkdir(parents=True)
        listed, objects = [], []
        for number, image in enumerate(images):
            shutil.copy(image, folder)
            with Image.open(image) as picture:
                width, height = picture.size
            listed.append({"id": number, "file_name": image.name, "height": height, "width": width})
            if image.name.startswith("a"):
                category = 1 + number // 2 % 2
                objects.append({"id": number, "image_id": number, "category_id": category, "bbox": [20, 10, 30, 20]})
        Path("coco/annotations").mkdir(exist_ok=True)
        content = json.dumps({"images": listed, "annotations": objects, "categories": categories})
        Path(f"coco/annotations/instances_{split}.json").write_text(content, encoding="utf-8")


def masks(shared: Shared) -> None:
    shutil.rmtree("folder")
    for folder in ("folder/images", "folder/masks"):
        Path(folder).mkdir(parents=True)
    for image in _images(shared):
        shutil.copy(image, "folder/images")
        with Image.open(image) as picture:
            mask = Image.new("L", picture.size)
        if image.name.startswith("a"):
            mask.paste(255, (20, 10, 50, 30))
        mask.save(f"folder/masks/{image.stem}.png")
