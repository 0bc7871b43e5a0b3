"""The built-in phantom: synthetic chest radiographs with and without foreign objects, as a data set.

It shows the whole tool at work where no patient data is at hand. It is no substitute for radiographs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxrlens.dataset.phantom.anatomy import draw_anatomy, random_view
from cxrlens.dataset.phantom.drawing import FloatImage
from cxrlens.dataset.phantom.exposure import Technique, expose, random_beam, random_technique
from cxrlens.dataset.phantom.objects import Placed, place_objects
from cxrlens.errors import UsageError
from cxrlens.files import write_csv
from cxrlens.inputs.annotations.shapes import Shape
from cxrlens.inputs.annotations.table import write_annotations
from cxrlens.outputs import starts_with
from cxrlens.process import isolated_children

_Content: TypeAlias = tuple[tuple[Shape, ...], tuple[str, ...]]  # outlines and names of objects

_MIN_SIZE = 64
_JPEG_QUALITY = 95
_README = """\
Synthetic phantom, not patients.

These pictures were computed by cxrlens; no person was X-rayed for them. They follow the folder layout of
the Object-CXR data set: "affected" pictures show foreign objects on the lungs, "normal" ones do not.
train.csv and dev.csv: the outline of every object (0 rectangle, 1 ellipse,
2 polygon; pixels, origin top left).
objects.csv: what the objects are.

They serve to try the tool out and to test it. A score on them says nothing about radiographs.
"""


OWN_FILES: dict[str, Callable[[Path], bool] | None] = {
    r"(train|dev)/(affected|normal)/\d{5}\.jpg": starts_with(b"\xff\xd8"),
    r"(train|dev)\.csv": starts_with(b"image_name,annotation"),
    r"objects\.csv": starts_with(b"image_name,split,class,objects"),
    r"README\.txt": starts_with(_README.encode()[:40]),
}
"""Patterns of the files of a data set of phantoms, and checks of what they hold."""


@dataclass(frozen=True)
class Phantom:
    """A synthetic chest radiograph: uint8 [H, W], dense is bright, with its objects' outlines and names.

    A normal one has neither.
    """

    image: npt.NDArray[np.uint8]
    shapes: tuple[Shape, ...]
    objects: tuple[str, ...]


@dataclass(frozen=True)
class Scene:
    """A phantom before exposure: attenuation of patient and beam, and of the objects, float32 [H, W] each."""

    patient: FloatImage
    placed: Placed
    reference: float  # median attenuation of the lungs without objects
    technique: Technique


@dataclass(frozen=True)
class _Item:
    """One file of the data set that is to be written."""

    name: str
    split: str
    affected: bool
    entropy: tuple[int, ...]
    size: int

    @property
    def class_name(self) -> str:
        return "affected" if self.affected else "normal"


def make_phantom(seed: int, *, affected: bool, size: int = 256) -> Phantom:
    """Compute one synthetic chest radiograph.

    Patient, pose, exposure and noise depend on the seed only: with ``affected`` changed, only the pixels that
    the objects shadow differ.

    Args:
        seed: 0 or more.
        affected: with 1 to 4 foreign objects, or with none.
        size: longer side in pixels, at least 64.

    Raises:
        UsageError: when the seed or the size is out of range.
    """
    _check_numbers(seed=seed, size=size)
    return _phantom((seed,), affected=affected, size=size)


def write_phantom_dataset(
    out: Path,
    *,
    train: int = 320,
    dev: int = 100,
    size: int = 256,
    seed: int = 0,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a data set of phantoms, half of them affected, in the folder layout of Object-CXR.

    Writes ``train/affected/*.jpg``, ``train/normal/*.jpg``, the same for dev, ``train.csv``, ``dev.csv``,
    ``objects.csv`` and ``README.txt``. The same seed gives the same bytes, for any number of workers. The
    folder appears under its name only when it is complete.

    Args:
        out: a folder that does not exist yet, or an empty one.
        train, dev: how many images; even and at least 2.
        size: longer side in pixels, at least 64.
        seed: 0 or more.
        workers: processes that compute images.
        progress: called with (images done, images in all) after each image.

    Raises:
        UsageError: when ``out`` is in use or a number is out of range.
    """
    _check_numbers(seed=seed, size=size)
    if min(train, dev) < 2 or train % 2 or dev % 2:
        raise UsageError(f"train and dev should be even and at least 2, not {train} and {dev}")
    if workers < 1:
        raise UsageError(f"workers should be at least 1, not {workers}")
    items = [*_plan("train", train, first=1, seed=seed, size=size)]
    items += _plan("dev", dev, first=train + 1, seed=seed, size=size)
    with _new_folder(out) as folder, _mapping(workers) as mapped:
        paths = [folder / item.split / item.class_name / item.name for item in items]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        contents = []
        for content in mapped(_write_image, paths, items):
            contents.append(content)
            if progress is not None:
                progress(len(contents), len(items))
        _write_tables(folder, items, contents)
        (folder / "README.txt").write_text(_README, encoding="utf-8", newline="\n")


def compose(entropy: Sequence[int], *, affected: bool, size: int) -> tuple[Scene, np.random.Generator]:
    """The scene of one phantom, and the stream from which its quantum noise is to be drawn."""
    anatomy_stream, object_stream, noise_stream = np.random.default_rng(entropy).spawn(3)
    view = random_view(anatomy_stream, size=size)
    anatomy = draw_anatomy(anatomy_stream, view)
    beam = random_beam(anatomy_stream, view, anatomy.lungs)
    technique = random_technique(anatomy_stream, view)
    patient = anatomy.attenuation + beam.attenuation
    if affected:
        placed = place_objects(object_stream, anatomy.lungs & beam.open, scale=view.scale)
    else:
        placed = Placed(np.zeros_like(patient), (), ())
    reference = float(np.median(anatomy.attenuation[anatomy.lungs]))
    return Scene(patient, placed, reference, technique), noise_stream


def _phantom(entropy: Sequence[int], *, affected: bool, size: int) -> Phantom:
    scene, stream = compose(entropy, affected=affected, size=size)
    image = expose(
        stream, scene.patient, scene.placed.attenuation, reference=scene.reference, technique=scene.technique
    )
    return Phantom(image, scene.placed.shapes, scene.placed.names)


def _check_numbers(*, seed: int, size: int) -> None:
    if seed < 0:
        raise UsageError(f"the seed should be 0 or more, not {seed}")
    if size < _MIN_SIZE:
        raise UsageError(f"the size should be at least {_MIN_SIZE} pixels, not {size}")


def _plan(split: str, count: int, *, first: int, seed: int, size: int) -> Iterator[_Item]:
    """The files of one split, the classes in random order."""
    stream = ("train", "dev").index(split)
    order = np.random.default_rng([seed, stream]).permutation(count)
    for index, place in enumerate(order):
        yield _Item(f"{first + index:05d}.jpg", split, bool(place < count // 2), (seed, stream, index), size)


def _write_image(path: Path, item: _Item) -> _Content:
    phantom = _phantom(item.entropy, affected=item.affected, size=item.size)
    Image.fromarray(phantom.image).save(path, quality=_JPEG_QUALITY)
    return phantom.shapes, phantom.objects


def _write_tables(folder: Path, items: Sequence[_Item], contents: Sequence[_Content]) -> None:
    pairs = list(zip(items, contents, strict=True))
    for split in ("train", "dev"):
        rows = [(item.name, shapes) for item, (shapes, _) in pairs if item.split == split]
        write_annotations(folder / f"{split}.csv", rows)
    columns = ("image_name", "split", "class", "objects")
    listed = [(item.name, item.split, item.class_name, ";".join(names)) for item, (_, names) in pairs]
    write_csv(folder / "objects.csv", columns, (dict(zip(columns, row, strict=True)) for row in listed))


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that is renamed to ``out`` at the end, or removed after an error."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is in use already; name a folder that does not exist yet")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: cannot be made ({error.strerror or error}); choose another place") from error
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as holder:
        folder = Path(holder) / out.name
        folder.mkdir()
        yield folder
        if out.exists():
            out.rmdir()
        folder.rename(out)


@contextmanager
def _mapping(workers: int) -> Iterator[Callable[..., Iterable[_Content]]]:
    """A ``map`` that keeps the order and spreads its calls over processes, which end with the block."""
    if workers == 1:
        yield map
        return
    with isolated_children():
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
        try:
            yield pool.map
        finally:
            pool.shutdown(cancel_futures=True)
