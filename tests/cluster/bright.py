"""An inspector by brightness, which workers find as a module, and pictures for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cxrlens.inputs.origin import FileOrigin
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.inspector import GreyBatch
from cxrlens.inspection.model_facts import ModelIdentity
from cxrlens.inspection.result import ImageResult, InputMap
from cxrlens.models.card import ModelCard
from cxrlens.saliency.recorded_resize import NO_RESIZE

MODEL = "bright.safetensors"
COUNT = 13


class Bright:
    """Its map is the picture; a nearly white one may end its process."""

    name, precision = "torch", "f32"
    method, layers, resize = "normgrad_conv1x1", "combined", NO_RESIZE
    card = ModelCard(architecture="resnet34", preprocessing=Preprocessing(height=24, width=40), threshold=0.5)
    identity = ModelIdentity(MODEL)

    def __init__(self, log: Path, ends: int = 0) -> None:
        self._log = log
        self._ends = ends

    def inspect(
        self, grey: GreyBatch, stored: Sequence[tuple[int, int]], *, maps: object, remarks: object, assess_any: bool
    ) -> list[ImageResult]:
        if (grey.mean(axis=(1, 2, 3)) > 0.8).any() and len(self._lines("end")) < self._ends:
            self._note("end")
            os.kill(os.getpid(), signal.SIGKILL)
        for _ in grey:
            self._note("seen")
        return [
            ImageResult.of(
                float(picture.mean()),
                self.card,
                self.identity,
                size,
                [InputMap(self.method, self.layers, picture[0], False)],
            )
            for picture, size in zip(grey, stored, strict=True)
        ]

    def _note(self, what: str) -> None:
        with self._log.open("a") as stream:
            stream.write(f"{what}\n")

    def _lines(self, what: str) -> list[str]:
        return [line for line in lines(self._log) if line == what]


def lines(log: Path) -> list[str]:
    """What inspectors noted: "seen" an image, "end" a process."""
    return log.read_text().splitlines() if log.exists() else []


@dataclass(frozen=True)
class OpenBright:
    """Opens it; a white picture ends so many processes."""

    log: Path
    ends: int = 0

    def __call__(self, file: Path, device: str) -> Bright:
        assert file.name == MODEL
        assert file.read_bytes() == b"weights"
        assert device == "cpu"
        return Bright(self.log, self.ends)


@dataclass(frozen=True)
class HiddenOrigin(FileOrigin):
    """A file that one process alone finds."""

    process: int

    def read(self) -> bytes:
        return super().read() if self.exists() else FileOrigin(self.path.with_name("hidden.png")).read()

    def exists(self) -> bool:
        return os.getpid() == self.process


def write_pictures(folder: Path) -> Path:
    folder.mkdir()
    for number in range(COUNT):
        grey = np.full((66, 110), 20 + number, dtype=np.uint8)
        grey[6 + 2 * number : 18 + 2 * number, 66 - 4 * number : 90 - 4 * number] = 250
        Image.fromarray(grey).save(folder / f"{number:02}.png")
    return folder


def write_white(file: Path) -> None:
    """Nearly white, with a spot, so that it can be judged."""
    grey = np.full((66, 110), 245, dtype=np.uint8)
    grey[10:20, 30:60] = 60
    Image.fromarray(grey).save(file)
