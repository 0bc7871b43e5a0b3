"""Small radiographs to be sent to a node, and who sends them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian
from pynetdicom import AE, build_context
from pynetdicom.association import Association

from waiting import PATIENCE

HEIGHT, WIDTH = 90, 70
ROOT: Final = "1.2.826.0.1.3680043.8.498."


def radiograph(number: int, *, seed: int | None = None, **elements: Any) -> Dataset:
    """Noise with a patient; the same number has the same UIDs, another seed other pixels."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    image.SOPInstanceUID, image.SeriesInstanceUID = f"{ROOT}{number}.3", f"{ROOT}{number}.2"
    image.StudyInstanceUID = f"{ROOT}{number}.1"
    image.Modality, image.PatientName, image.PatientID = "DX", f"Doe^Jane {number}", f"P-{number}"
    image.ViewPosition, image.BodyPartExamined = "PA", "CHEST"
    image.Rows, image.Columns, image.SamplesPerPixel = HEIGHT, WIDTH, 1
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.PixelRepresentation = 7, 0
    image.PhotometricInterpretation = "MONOCHROME2"
    noise = np.random.default_rng(number if seed is None else seed)
    image.PixelData = noise.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8).tobytes()
    for keyword, value in elements.items():
        setattr(image, keyword, value)
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    return image


def call(
    port: int,
    *,
    title: str = "CXRLENS",
    caller: str = "SCANNER",
    kinds: Sequence[str] = (DigitalXRayImageStorageForPresentation,),
    syntaxes: Sequence[UID] = (ExplicitVRLittleEndian,),
    tls: Any = None,
) -> Association:
    """An association with a node, established or not."""
    entity = AE(caller)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = PATIENCE
    contexts = [build_context("1.2.840.10008.1.1"), *(build_context(kind, list(syntaxes)) for kind in kinds)]
    return entity.associate("127.0.0.1", port, contexts, ae_title=title, tls_args=tls)


def send(port: int, *images: Dataset, **options: Any) -> list[tuple[int | None, str]]:
    """Statuses of images that are sent over one association, each with its comment; None without an answer."""
    association = call(port, **options)
    assert association.is_established
    answers = [association.send_c_store(image) for image in images]
    if association.is_established:
        association.release()
    return [(answer.get("Status"), str(answer.get("ErrorComment", ""))) for answer in answers]
