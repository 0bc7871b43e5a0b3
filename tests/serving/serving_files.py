"""A screened folder, uploads, and a server in a thread, for the tests of serving."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
from fastapi import FastAPI
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from cxrlens.inputs.origin import Origin
from cxrlens.screening.folder import ScreenedFolder, ScreeningInfo
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store.store import Store
from cxrlens.serving.decoding import DecodedUpload
from cxrlens.serving.settings import ServerSettings

PATIENT = "Mustermann^Erika"
PATIENT_ID = "PID-4711-X"
OTHER_MODEL = "f" * 64


def pixels(seed: int = 0, shape: tuple[int, int] = (150, 110)) -> npt.NDArray[np.uint8]:
    """A smooth picture of random greys."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 7), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BICUBIC))


def encoded(array: npt.NDArray[Any], kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


def dicom(array: npt.NDArray[np.uint8], **elements: object) -> bytes:
    """A digital radiograph with the patient's name and number, and further elements."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4"
    dataset.Modality, dataset.PatientName, dataset.PatientID = "DX", PATIENT, PATIENT_ID
    dataset.Rows, dataset.Columns = array.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = array.tobytes() + bytes(array.size % 2)
    for name, value in elements.items():
        setattr(dataset, name, value)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def bomb() -> bytes:
    """A small file of a picture of 400 million pixels."""
    stream = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(stream, "PNG")
    return stream.getvalue()


@dataclass(frozen=True)
class Sent:
    """A file as a client sends it, and the status that answers it."""

    content: bytes
    status: int


@functools.cache
def uploads() -> dict[str, Sent]:
    """Good ones and bad ones, by name."""
    jpeg = encoded(pixels(1), "JPEG")
    return {
        "png": Sent(encoded(pixels(2, (90, 160))), 200),
        "jpeg": Sent(jpeg, 200),
        "tall png": Sent(encoded(pixels(3, (190, 100))), 200),
        "dicom": Sent(dicom(pixels(4, (120, 101))), 200),
        "truncated jpeg": Sent(jpeg[: len(jpeg) // 2], 422),
        "bomb": Sent(bomb(), 413),
        "text": Sent(b"not a picture at all, but a text", 415),
        "empty": Sent(b"", 422),
        "lateral dicom": Sent(dicom(pixels(5), ViewPosition="LL"), 422),
        "truncated dicom": Sent(dicom(pixels(6))[:5000], 422),
    }


def key_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


NAMES = ("b/low.png", 'a/<b>high</b>, "quoted".jpg', "größe.dcm", "copy of größe.dcm", "damaged.jpg", "gone.jpg")


def screened(path: Path, model_sha256: str = OTHER_MODEL, root: str = "/archive") -> ScreenedFolder:
    """A folder of six files: four with results, two of which have the same content, and two that are unreadable."""
    folder = ScreenedFolder(path)
    path.mkdir(parents=True, exist_ok=True)
    folder.write_info(
        ScreeningInfo(
            root=root,
            model="model-a.safetensors",
            model_sha256=model_sha256,
            threshold=0.5,
            review_threshold=None,
            method="normgrad_conv1x1",
            layers="combined",
        )
    )
    keys = (key_of(0), key_of(1), key_of(2), key_of(2), key_of(3), "")
    probabilities = (0.1, 0.9, 0.625, 0.625, None, None)
    images = []
    for name, key, probability in zip(NAMES, keys, probabilities, strict=True):
        is_read = probability is not None
        if is_read:
            for file, kind in ((folder.picture_file(key), "JPEG"), (folder.map_file(key), "PNG")):
                file.parent.mkdir(exist_ok=True)
                file.write_bytes(encoded(pixels(len(images)), kind))
        images.append(
            ScreenedImage(
                name=name,
                key=key,
                status="ok" if is_read else "unreadable",
                reason="because",
                probability=probability,
                decision=None if probability is None else "affected" if probability >= 0.5 else "normal",
                origin="DICOM DX" if name.endswith("dcm") else "",
                height=150 if is_read else 0,
                width=110 if is_read else 0,
                method="normgrad_conv1x1" if is_read else "",
                layers="combined" if is_read else "",
                peak=(3, 90) if is_read else None,
                contours=(((80.5, 1.5), (100.0, 2.0), (95.0, 9.0), (80.5, 1.5)),) if is_read else (),
                picture=f"pictures/{key}.jpg" if is_read else "",
                map=f"maps/{key}.png" if is_read else "",
                tags={"PatientName": PATIENT, "PatientID": PATIENT_ID} if is_read else {},
            )
        )
    with Store(folder) as store:
        store.results.clear()
        store.add(images)
    return folder


def add_results(folder: ScreenedFolder, *images: ScreenedImage) -> None:
    """Results that are written while the folder is served."""
    with Store(folder) as store:
        store.add(images)


@contextmanager
def running(app: FastAPI, settings: ServerSettings | None = None) -> Iterator[str]:
    """The app behind a real socket, in a thread; gives its address."""
    import uvicorn

    from cxrlens.serving.run import configured, listening

    listener = listening("127.0.0.1", 0)
    server = uvicorn.Server(configured(app, settings or ServerSettings()))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.02)
        yield url
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def check(client: httpx.Client, content: bytes, name: str = "image", **data: object) -> httpx.Response:
    """An upload to /api/check."""
    return client.post("/api/check", files={"file": (name, content)}, data=data)


class Poisoned:
    """Stands for the decoder: content can end its process, keep it busy, or just be read."""

    def __call__(self, origin: Origin) -> DecodedUpload:
        content = origin.read()
        if content == b"die":
            os._exit(9)
        if content == b"hang":
            time.sleep(600)
        if content == b"memory":
            bytearray(6 << 30)
        if content == b"odd":  # the network cannot take it
            return DecodedUpload(np.zeros((1, 0, 5), np.float32), 2, 3, "test", content)
        return DecodedUpload(np.full((1, 48, 64), len(content), np.float32), 48, 64, "test", content)
