"""What cannot be judged: ``python -m benchmarks.gate --good FOLDER ... --wrong FOLDER ... [--fitted-to DATA]``.

Prints a Markdown table: of wrong inputs, how many are caught; of good radiographs, how many are lost. Folders of good
images hold frontal chest radiographs alone, folders of wrong ones none. Further good images are phantoms; further wrong
ones are pydicom's test files (looked at by hand: none is a radiograph of a chest), pictures made here, and the good
images turned, inverted, cut or spoilt. Header and pixels judge alone, or with the distance from the training images of
a model, or with one fitted to the splits train and dev of a data set as `cxrlens train` does (without a network).

A second table tells of other views of the good radiographs, and of such as are cut and turned in further ways.
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
from scipy.ndimage import rotate

from benchmarks.page import table
from cxrlens.dataset.phantom.dataset import make_phantom
from cxrlens.errors import UnreadableImageError
from cxrlens.evaluation.proportions import clopper_pearson_interval
from cxrlens.inputs.preprocessing import Preprocessing, Resize
from cxrlens.inputs.readers import Pixels, Radiograph, doubts, read, refusals
from cxrlens.inspection.distance_fitting import FeatureTable, fitted_distance
from cxrlens.inspection.quality_model import as_radiograph, load
from cxrlens.models.distance import TrainingDistance

PHANTOMS = 100
MADE = 20  # pictures of each kind that is drawn here
SIDE = 512
AT_LEAST = (SIDE, SIDE)  # rows and columns that are decoded where no model asks for others

Ways: TypeAlias = dict[str, Callable[[Pixels], Pixels]]
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
    parser.add_argument("--model", type=Path, help="its distance judges as well")
    parser.add_argument(
        "--fitted-to", type=Path, help="data set with folders train and dev; its distance judges as well"
    )
    parser.add_argument("--resize", choices=("stretch", "letterbox"), default="stretch")
    options = parser.parse_args()
    judge = _judge(*_known(options.model, options.fitted_to, options.resize))
    good = {folder.name: list(_images(folder)) for folder in options.good}
    chests = [image for images in good.values() for image in images if image is not None]
    good["phantoms"] = list(_phantoms())
    wrong = {folder.name: list(_images(folder)) for folder in options.wrong} | _pydicom() | _drawn()
    wrong |= _changed(chests, SPOILT)
    _print({"good radiographs": good, "wrong inputs": wrong}, judge)
    more = {"other views of good radiographs": OTHER_VIEWS, "further wrong inputs": FURTHER}
    _print({title: _changed(chests, ways) for title, ways in more.items()}, judge)


def _print(titles: dict[str, dict[str, list[Radiograph | None]]], judge: Judge) -> None:
    rows = []
    for title, kinds in titles.items():
        tallies = {}
        for name, images in kinds.items():
            tallies[name] = _tally(images, judge)
            print(*tallies[name].row(name), sep="\t", file=sys.stderr, flush=True)  # noqa: T201
        rows += [tally.row(name) for name, tally in tallies.items()]
        rows.append(sum(tallies.values(), Tally()).row(f"**all {title}**"))
    print(table(["kind", "images", "unreadable", "refused", "in doubt", "share refused"], rows))  # noqa: T201


def _known(model: Path | None, data: Path | None, resize: Resize) -> tuple[Preprocessing, TrainingDistance | None]:
    """How images are shown to a network, and its distance from the training images."""
    if model is not None:
        card = load(model, device="cpu").card
        return card.preprocessing, card.distance
    preprocessing = Preprocessing(height=SIDE // 2, width=SIDE // 2, resize=resize)
    if data is None:
        return preprocessing, None
    seen = {split: table_of(_images(data / split), preprocessing) for split in ("train", "dev")}
    return preprocessing, fitted_distance(seen["train"], seen["dev"], data.name)


def table_of(images: Iterable[Radiograph | None], preprocessing: Preprocessing) -> FeatureTable:
    return FeatureTable(preprocessing, (prepared(image, preprocessing) for image in images if image is not None))


def prepared(image: Radiograph, preprocessing: Preprocessing) -> Pixels:
    """What a network is shown of it."""
    pixels: Pixels = preprocessing.resized(image.pixels, (image.height, image.width))[0]
    return pixels


def _judge(preprocessing: Preprocessing, distance: TrainingDistance | None) -> Judge:
    def judge(image: Radiograph) -> tuple[bool, bool]:
        remarks = [*image.remarks]
        if distance is not None:
            said = distance.refusal(distance.of(preprocessing.shown(prepared(image, preprocessing))))
            remarks += [said] if said else []
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


SPOILT: Ways = {
    "turned by 90 degrees": lambda pixels: np.rot90(pixels),
    "turned by 180 degrees": lambda pixels: np.rot90(pixels, 2),
    "inverted": lambda pixels: 1 - pixels,
    "a quarter of both sides": lambda pixels: _cut(pixels, bottom=3 / 4, right=3 / 4),
    "nearly black": lambda pixels: np.clip(pixels - 0.95, 0, 1),
    "nearly white": lambda pixels: np.clip(pixels + 0.95, 0, 1),
}
"""What is counted in the sums."""

FURTHER: Ways = {
    "turned by 90 degrees clockwise": lambda pixels: np.rot90(pixels, -1),
    "mirrored and turned by 90 degrees": lambda pixels: np.rot90(pixels[:, ::-1]),
    "upside down, left as it was": lambda pixels: pixels[::-1],
    "a quarter, top right": lambda pixels: _cut(pixels, bottom=3 / 4, left=3 / 4),
    "a quarter, bottom left": lambda pixels: _cut(pixels, top=3 / 4, right=3 / 4),
    "a quarter, bottom right": lambda pixels: _cut(pixels, top=3 / 4, left=3 / 4),
    "a third, top left": lambda pixels: _cut(pixels, bottom=2 / 3, right=2 / 3),
    "a third, right of the middle": lambda pixels: _cut(pixels, top=0.35, bottom=0.35, left=0.55, right=0.15),
    "half of both sides, top left": lambda pixels: _cut(pixels, bottom=1 / 2, right=1 / 2),
    "left half": lambda pixels: _cut(pixels, right=1 / 2),
    "upper half": lambda pixels: _cut(pixels, bottom=1 / 2),
    "lower half": lambda pixels: _cut(pixels, top=1 / 2),
}

OTHER_VIEWS: Ways = {
    "mirrored": lambda pixels: pixels[:, ::-1],
    "tilted by 5 degrees": lambda pixels: _tilted(pixels, 5),
    "tilted by 10 degrees": lambda pixels: _tilted(pixels, -10),
    "5 % cut off each side": lambda pixels: _cut(pixels, *[0.05] * 4),
    "10 % cut off each side": lambda pixels: _cut(pixels, *[0.1] * 4),
    "lowest 15 % cut off": lambda pixels: _cut(pixels, bottom=0.15),
    "gamma 0.7": lambda pixels: pixels**0.7,
    "gamma 1.4": lambda pixels: pixels**1.4,
    "black bars of 10 % at the sides": lambda pixels: np.pad(pixels, ((0, 0), (pixels.shape[1] // 10,) * 2)),
}


def _cut(pixels: Pixels, top: float = 0, bottom: float = 0, left: float = 0, right: float = 0) -> Pixels:
    """Without these shares of its sides."""
    height, width = pixels.shape
    return pixels[round(top * height) : round((1 - bottom) * height), round(left * width) : round((1 - right) * width)]


def _tilted(pixels: Pixels, degrees: float) -> Pixels:
    return np.clip(rotate(pixels, degrees, reshape=False, order=1), 0, 1)


def _changed(chests: list[Radiograph], ways: Ways) -> dict[str, list[Radiograph | None]]:
    """The good images in each of these ways."""
    return {name: [_of(way(image.pixels)) for image in chests] for name, way in ways.items()}


if __name__ == "__main__":
    main()
