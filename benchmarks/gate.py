"""What cannot be judged: ``python -m benchmarks.gate --good FOLDER ... --wrong FOLDER ... [--model MODEL]``.

Prints a Markdown table: of wrong inputs, how many are caught; of good radiographs, how many are lost. Folders of good
images hold frontal chest radiographs alone, folders of wrong ones none. Further good images are phantoms; further wrong
ones are pydicom's test files (looked at by hand: none is a radiograph of a chest), pictures made here, and the good
images turned, inverted, cut or spoilt. Without a model, header and pixels judge alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pydicom
import pydicom.data
from PIL import Image, ImageDraw, ImageFilter

from benchmarks.page import table
from cxrlens.dataset.phantom.dataset import make_phantom
from cxrlens.errors import UnreadableImageError
from cxrlens.evaluation.proportions import clopper_pearson_interval
from cxrlens.inputs.readers import Radiograph, doubts, read, refusals
from cxrlens.inspection.quality_model import QualityModel, as_radiograph, load

PHANTOMS = 100
MADE = 20  # pictures of each kind that is drawn here
SIDE = 512
AT_LEAST = (SIDE, SIDE)  # rows and columns that are decoded where no model asks for others

Judge: TypeAlias = Callable[[Radiograph], tuple[bool, bool]]  # whether it is refused, and whether there are doubts


@dataclass
class Tally:
    """Counts of images of a kind; what could not be read is neither refused nor in doubt."""

    images: int = 0
    refused: int = 0
    doubted: int = 0
    unreadable: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(own + more for own, more in zip(vars(self).values(), vars(other).values(), strict=True)))

    def row(self, name: str) -> list[object]:
        """Its row: the share refused, of those that were read, with its 95 % interval (Clopper-Pearson)."""
        read_ = self.images - self.unreadable
        interval = clopper_pearson_interval(self.refused, read_)
        share = f"{self.refused / read_:.3f} ({interval.low:.3f} to {interval.high:.3f})" if read_ else "-"
        return [name, self.images, self.unreadable or "", self.refused, self.doubted or "", share]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--good", type=Path, nargs="+", default=[])
    parser.add_argument("--wrong", type=Path, nargs="+", default=[])
    parser.add_argument("--model", type=Path, help="judges as well, where it knows its training images")
    options = parser.parse_args()
    judge = _judge(load(options.model, device="cpu") if options.model else None)
    good = {folder.name: list(_images(folder)) for folder in options.good}
    chests = [image for images in good.values() for image in images if image is not None]
    good["phantoms"] = list(_phantoms())
    wrong = {folder.name: list(_images(folder)) for folder in options.wrong} | _pydicom() | _drawn() | _spoilt(chests)
    rows = []
    for title, kinds in (("good radiographs", good), ("wrong inputs", wrong)):
        tallies = {}
        for name, images in kinds.items():
            tallies[name] = _tally(images, judge)
            print(*tallies[name].row(name), sep="\t", file=sys.stderr, flush=True)  # noqa: T201
        rows += [tally.row(name) for name, tally in tallies.items()]
        rows.append(sum(tallies.values(), Tally()).row(f"**all {title}**"))
    print(table(["kind", "images", "unreadable", "refused", "in doubt", "share refused"], rows))  # noqa: T201


def _judge(model: QualityModel | None) -> Judge:
    def judge(image: Radiograph) -> tuple[bool, bool]:
        remarks = image.remarks if model is None else model.check(image, layers="last").remarks
        return bool(refusals(remarks)), bool(doubts(remarks))

    return judge


def _tally(images: Iterable[Radiograph | None], judge: Judge) -> Tally:
    tally = Tally()
    for image in images:
        refused, doubted = judge(image) if image is not None else (False, False)
        tally += Tally(1, refused, doubted and not refused, image is None)
    return tally


def _images(folder: Path) -> Iterator[Radiograph | None]:
    """The images below a folder, each picture once; None stands for one that cannot be read."""
    seen = set()
    for file in sorted(folder.rglob("*")):
        if not file.is_file() or file.suffix in (".md", ".txt", ".csv", ".json", ".py"):
            continue
        try:
            image = read(file, at_least=AT_LEAST)
        except UnreadableImageError:
            yield None
            continue
        if (content := image.pixels.tobytes()) not in seen:
            seen.add(content)
            yield image


def _of(pixels: np.ndarray) -> Radiograph:
    return as_radiograph(np.ascontiguousarray(pixels, dtype=np.float32))


def _phantoms() -> Iterator[Radiograph]:
    for seed in range(PHANTOMS):
        yield as_radiograph(make_phantom(seed, affected=bool(seed % 2), size=SIDE).image)


def _pydicom() -> dict[str, list[Radiograph | None]]:
    """pydicom's test files that hold a single picture, by modality."""
    kinds: dict[str, list[Radiograph | None]] = {}
    folder = Path(pydicom.data.__file__).parent
    for image in _images(folder):
        if image is not None:
            modality = image.origin.removeprefix("DICOM").strip()
            kind = modality if modality in ("CT", "MR", "NM", "US") else "charts"
            kinds.setdefault(f"pydicom's {kind}", []).append(image)
    return kinds


def _drawn() -> dict[str, list[Radiograph | None]]:
    """Pictures of nothing, and such as a camera or an office would give."""
    rng = np.random.default_rng(0)
    flat = [np.full((SIDE, SIDE), level) for level in np.linspace(0, 1, MADE)]
    noise = [rng.random((SIDE, SIDE)) for _ in range(MADE)]
    kinds = {"flat": flat, "noise": noise, "scenes": [_scene(rng) for _ in range(MADE)]}
    kinds["text"] = [_page(rng) for _ in range(MADE)]
    return {kind: [_of(pixels) for pixels in pictures] for kind, pictures in kinds.items()}


def _scene(rng: np.random.Generator) -> np.ndarray:
    """A picture with the spectrum of photographs, 1 / frequency, and a few things with edges in it."""
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    frequency[0, 0] = np.inf
    phases = np.exp(2j * np.pi * rng.random(frequency.shape))
    cloud = np.fft.irfft2(phases / frequency, s=(SIDE, SIDE))
    picture = Image.fromarray(np.uint8(np.clip(128 + 45 * cloud / cloud.std(), 0, 255)))
    draw = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y, width, height = (int(value) for value in rng.integers(0, SIDE // 2, 4))
        shape = draw.rectangle if rng.random() < 0.5 else draw.ellipse
        shape((x, y, x + width + 8, y + height + 8), fill=int(rng.integers(0, 256)))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(1)), np.float32) / 255


def _page(rng: np.random.Generator) -> np.ndarray:
    """A page of words."""
    picture = Image.new("L", (SIDE, SIDE), 255)
    draw = ImageDraw.Draw(picture)
    for line in range(24, SIDE - 24, 20):
        words = ("".join(rng.choice([*"abcdefghijklmnop"], rng.integers(2, 10))) for _ in range(9))
        draw.text((24, line), " ".join(words), fill=0)
    return np.asarray(picture, np.float32) / 255


def _spoilt(chests: list[Radiograph]) -> dict[str, list[Radiograph | None]]:
    """The good images turned, inverted, cut to a corner, and exposed beyond all use."""
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "turned by 90 degrees": lambda pixels: np.rot90(pixels),
        "turned by 180 degrees": lambda pixels: np.rot90(pixels, 2),
        "inverted": lambda pixels: 1 - pixels,
        "a quarter of both sides": lambda pixels: pixels[: pixels.shape[0] // 4, : pixels.shape[1] // 4],
        "nearly black": lambda pixels: np.clip(pixels - 0.95, 0, 1),
        "nearly white": lambda pixels: np.clip(pixels + 0.95, 0, 1),
    }
    return {name: [_of(way(image.pixels)) for image in chests] for name, way in ways.items()}


if __name__ == "__main__":
    main()
