"""What a worker of a cluster does in a screening: it reads a block of files, sees them, and makes their records."""

from __future__ import annotations

import multiprocessing
import platform
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxrlens.errors import UsageError
from cxrlens.inputs.reading import Readers
from cxrlens.inspection.inspector import Inspector, MapChoice
from cxrlens.inspection.model_facts import ModelIdentity
from cxrlens.models.card import ModelCard
from cxrlens.saliency.recorded_resize import RecordedResize
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.local_engine import inspect_read
from cxrlens.screening.reading import ImageToRead, ReadImage, Reading, read_images
from cxrlens.screening.recording import Drawing, DrawnResult, ResultToRecord

Contents = npt.NDArray[np.uint64]
"""The first eight bytes of the digests of contents, in rising order."""


@dataclass(frozen=True, eq=False)
class SeenImage(ReadImage):
    """An image that was read elsewhere.

    Attributes:
        drawn: its result; None of one that is unreadable, or probably known.
        is_probably_known: its content seems to be screened already, so that the network was spared.
        missing_on: name of the computer that does not find the file; "" where it was found.
    """

    drawn: DrawnResult | None = None
    is_probably_known: bool = False
    missing_on: str = ""

    @property
    def is_read(self) -> bool:
        return self.drawn is not None or self.is_probably_known

    @classmethod
    def of(cls, image: ReadImage, drawn: DrawnResult | None) -> SeenImage:
        """Of an image that was read here, without what its result was made of."""
        kept = replace(image, grey=None, preview=b"", remarks=())
        missing = not image.key and not image.task.origin.exists()
        return cls(
            **vars(kept),
            drawn=drawn,
            is_probably_known=drawn is None and image.is_read,
            missing_on=platform.node() if missing else "",
        )


@dataclass(frozen=True)
class ModelAtWork:
    """What results depend on, and all workers have alike; see `RecordedModel` for its members."""

    name: str
    precision: str
    card: ModelCard
    identity: ModelIdentity
    method: str
    layers: str
    resize: RecordedResize

    @classmethod
    def of(cls, inspector: Inspector) -> ModelAtWork:
        """Of a model that was loaded."""
        return cls(
            inspector.name,
            inspector.precision,
            inspector.card,
            ModelIdentity(inspector.identity.name),
            inspector.method,
            inspector.layers,
            inspector.resize,
        )


@dataclass(frozen=True)
class MakeScreener:
    """Makes the function of a worker; picklable, and holds the model's file, which a worker need not find.

    Attributes:
        open_model: gives the inspector of a model file.
        file_name: of the model; ``content`` of the file.
        folders: of the images, which a worker has to find.
        folder: of the results, which it need not.
        readers: processes of a worker that read and draw.
        maps: see `LocalEngine`; likewise ``keep_tags``, ``assess_any``.
    """

    open_model: Callable[[Path], Inspector]
    file_name: str
    content: bytes
    folders: tuple[Path, ...]
    folder: ScreenedFolder
    readers: int
    maps: MapChoice
    keep_tags: tuple[str, ...]
    assess_any: bool

    def __call__(self) -> Screener:
        """Load the model.

        Raises:
            UsageError: when this computer does not find the images, or cannot run the model.
        """
        for folder in self.folders:
            if not folder.is_dir():
                raise UsageError(
                    f"does not find {folder}; the images must lie where all computers of the cluster find them under "
                    "the same path, such as a shared folder"
                )
        with tempfile.TemporaryDirectory(prefix="cxrlens-") as place:
            file = Path(place) / self.file_name
            file.write_bytes(self.content)
            return Screener(self, self.open_model(file))


class Screener:
    """Screens blocks of files; two threads may call it: one reads the next block while the other's is computed."""

    def __init__(self, made_by: MakeScreener, inspector: Inspector) -> None:
        self.facts = ModelAtWork.of(inspector)
        self._inspector = inspector
        self._maps = made_by.maps
        self._assess_any = made_by.assess_any
        self._drawing = Drawing(made_by.folder)
        # A process that is forked from one with threads, as Ray's are, may hang.
        context = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
        reading = Reading(inspector.card.preprocessing, made_by.keep_tags)
        self._readers = Readers(reading, self._drawing, workers=made_by.readers, context=context)
        self._one_at_a_time = threading.Lock()

    def __call__(self, block: Sequence[ImageToRead], shared: Contents) -> list[SeenImage]:
        """The images of a block, with their results.

        Args:
            shared: contents that are screened already: their images are read, but not seen.
        """
        images = list(read_images(self._readers, block, ahead=len(block)))
        again = [image for image in images if image.is_read and image.task.again and image.key == image.task.key]
        fresh = {image.key: image for image in images if image.is_read and image not in again}
        fresh = {key: image for key, image in fresh.items() if not is_among(key, shared)}
        with self._one_at_a_time:
            seen = self._seen(list(fresh.values()), self._maps)
            for image in again:
                seen += self._seen([image], "all")
        drawn = {each.record.key: each for each in self._readers.done(self._drawing, seen)}
        pictures = {image.key: image.preview for image in (*fresh.values(), *again)}
        found = {key: replace(each, picture=pictures[key]) for key, each in drawn.items()}
        return [SeenImage.of(image, found.pop(image.key, None)) for image in images]

    def _seen(self, images: list[ReadImage], maps: MapChoice) -> list[ResultToRecord]:
        if not images:
            return []
        results = inspect_read(self._inspector, images, maps=maps, assess_any=self._assess_any)
        bare = [replace(image, preview=b"") for image in images]  # which the processes that draw need not have
        return [ResultToRecord.of(image, result) for image, result in zip(bare, results, strict=True)]


def contents_of(keys: Iterable[str]) -> Contents:
    """The contents of these digests."""
    return np.sort(np.fromiter((int(key[:16], 16) for key in keys), dtype=np.uint64))


def is_among(key: str, contents: Contents) -> bool:
    """True where the content of a digest is among them; hardly ever of one that is not."""
    wanted = np.uint64(int(key[:16], 16))
    place = int(np.searchsorted(contents, wanted))
    return place < len(contents) and bool(contents[place] == wanted)
