"""The DICOM node: from the first byte of an association to the report at the archive, and images taken in a second."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    ComprehensiveSRStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)
from pynetdicom import AE, build_context, evt

from benchmarks.commands import running
from benchmarks.timing import lively
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.registry import build_network

ARCHITECTURE = "resnet34"
SENDERS = ((1, True), (1, False), (8, False))
"""How many send at once, and whether each waits for the report on an image before it sends the next."""
_PATIENCE = 600.0  # seconds


@dataclass(frozen=True)
class NodeSizes:
    """How much is measured: the input's side, the images' sides, and images a sender."""

    side: int
    rows: int
    columns: int
    each: int

    @classmethod
    def of(cls, *, quick: bool) -> NodeSizes:
        return cls(64, 128, 96, 3) if quick else cls(600, 2048, 1728, 20)


@dataclass(frozen=True)
class TimedNode:
    """What senders saw.

    Attributes:
        senders: at once, each of which sends one image an association, the next when that is answered.
        waits: the next when the report on it has come.
        answered: milliseconds from the association to "success", median; ``reported`` to the report at the archive,
            and ``reported_95`` its 95th percentile.
        taken: images a second that were taken in; ``screened`` that were reported.
    """

    senders: int
    waits: bool
    answered: float
    reported: float
    reported_95: float
    taken: float
    screened: float


def node_all(*, quick: bool, progress: Callable[[str], None]) -> list[TimedNode]:
    """With one sender that waits for reports, with one that does not, and with several."""
    sizes, found = NodeSizes.of(quick=quick), []
    for senders, waits in SENDERS:
        with (
            tempfile.TemporaryDirectory() as folder,
            _archive() as archive,
            _node(Path(folder), sizes, archive) as port,
        ):
            _send(port, _image(sizes, seed=0))  # the first pass
            archive.wait_for(1)
            found.append(_measured(port, archive, senders, sizes, waits=waits))
            progress(f"node: {found[-1]}")
    return found


class _Archive:
    """Keeps when the report of each image came."""

    def __init__(self) -> None:
        self.port = 0
        self.came: dict[str, float] = {}
        self._changed = threading.Condition()

    def take(self, event: evt.Event) -> int:
        """Answer an object at once."""
        now = time.perf_counter()
        dataset = event.dataset
        if dataset.SOPClassUID == ComprehensiveSRStorage:
            evidence = dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
            with self._changed:
                self.came[str(evidence.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)] = now
                self._changed.notify_all()
        return 0x0000

    def wait_for(self, reports: int) -> None:
        """Wait until so many have come."""
        self._wait_until(lambda: len(self.came) >= reports)

    def wait_for_report_on(self, image: str) -> None:
        """Wait until the report on the image of a SOP Instance UID has come."""
        self._wait_until(lambda: image in self.came)

    def _wait_until(self, is_there: Callable[[], bool]) -> None:
        with self._changed:
            if not self._changed.wait_for(is_there, _PATIENCE):
                raise RuntimeError("the node did not send all reports")


@contextmanager
def _archive() -> Iterator[_Archive]:
    archive, entity = _Archive(), AE("ARCHIVE")
    for kind in (ComprehensiveSRStorage, SecondaryCaptureImageStorage, GrayscaleSoftcopyPresentationStateStorage):
        entity.add_supported_context(kind)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, archive.take)])
    assert server is not None
    archive.port = server.server_address[1]
    try:
        yield archive
    finally:
        entity.shutdown()


@contextmanager
def _node(folder: Path, sizes: NodeSizes, archive: _Archive) -> Iterator[int]:
    """The command in a process of its own; gives its port."""
    torch.manual_seed(0)
    model = folder / "model.safetensors"
    preprocessing = Preprocessing(height=sizes.side, width=sizes.side)
    card = ModelCard(architecture=ARCHITECTURE, preprocessing=preprocessing, threshold=0.0)  # each image gets a map
    save_model(model, lively(build_network(ARCHITECTURE), sizes.side), card)
    sent = "--send", f"dicom://ARCHIVE@127.0.0.1:{archive.port}"
    with running(
        "node", "-m", model, "-o", folder / "node", "--port", "0", "--json", "--device", "cpu", *sent
    ) as ready:
        yield int(ready["port"])


def _measured(port: int, archive: _Archive, senders: int, sizes: NodeSizes, *, waits: bool) -> TimedNode:
    images = [
        [_image(sizes, seed=1 + sender * sizes.each + turn) for turn in range(sizes.each)] for sender in range(senders)
    ]
    before, began = len(archive.came), time.perf_counter()

    def run(own: list[Dataset]) -> list[tuple[str, float, float]]:
        found = []
        for image in own:
            uid = str(image.SOPInstanceUID)
            found.append((uid, *_send(port, image)))
            if waits:
                archive.wait_for_report_on(uid)
        return found

    with ThreadPoolExecutor(senders) as threads:
        sent = [each for found in threads.map(run, images) for each in found]
    taken = len(sent) / (time.perf_counter() - began)
    archive.wait_for(before + len(sent))
    reported = [archive.came[uid] - start for uid, start, _ in sent]
    return TimedNode(
        senders,
        waits,
        1e3 * statistics.median(end - start for _, start, end in sent),
        1e3 * statistics.median(reported),
        1e3 * float(np.quantile(reported, 0.95)),
        taken,
        len(sent) / (max(archive.came[uid] for uid, _, _ in sent) - began),
    )


def _send(port: int, image: Dataset) -> tuple[float, float]:
    """When the association began, and when the image was answered."""
    began = time.perf_counter()
    entity = AE("SENDER")
    contexts = [build_context(DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian)]
    association = entity.associate("127.0.0.1", port, contexts, ae_title="CXRLENS")
    answer: Any = association.send_c_store(image) if association.is_established else Dataset()
    ended = time.perf_counter()
    if answer.get("Status") != 0x0000:
        raise RuntimeError("the node did not take an image")
    association.release()
    return began, ended


def _image(sizes: NodeSizes, *, seed: int) -> Dataset:
    """A 12-bit radiograph's size, of smooth noise, uncompressed."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID, image.Modality = DigitalXRayImageStorageForPresentation, "DX"
    image.SOPInstanceUID, image.SeriesInstanceUID, image.StudyInstanceUID = (generate_uid() for _ in range(3))
    image.Rows, image.Columns, image.SamplesPerPixel = sizes.rows, sizes.columns, 1
    image.PhotometricInterpretation, image.PixelRepresentation = "MONOCHROME2", 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.WindowCenter, image.WindowWidth = 2048, 4096
    coarse = np.random.default_rng(seed).integers(0, 4096, (sizes.rows // 16, sizes.columns // 16), dtype=np.uint16)
    image.PixelData = np.kron(coarse, np.ones((16, 16), np.uint16)).tobytes()
    return image
