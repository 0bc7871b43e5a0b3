"""Reading many images in loader processes, unreadable ones as entries with a reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.dataset.layouts import Item
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import decode, read_content
from cxrlens.inputs.workers import in_order


@dataclass(frozen=True)
class Decoded:
    """One image, or why there is none.

    Attributes:
        index: its place in the list of files.
        grey: float32 [1, h, w] in [0, 1] at the network's input size, the same whether or not the stored image is
            kept; None when unreadable.
        height: of the stored image; likewise ``width``.
        pixels: float32 [height, width], the stored image, where it was asked for.
        reason: one sentence naming the file, when it is unreadable.
    """

    index: int
    grey: Tensor | None = None
    height: int = 0
    width: int = 0
    pixels: Tensor | None = None
    reason: str | None = None


class DecodedImages:
    """Reads and resizes the image of an index."""

    def __init__(self, paths: Sequence[Path], preprocessing: Preprocessing, *, keep_pixels: bool = False) -> None:
        self.paths = list(paths)
        self.preprocessing = preprocessing
        self.keep_pixels = keep_pixels

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Decoded:
        name = str(self.paths[index])
        try:
            content = read_content(self.paths[index], name)
            image = decode(content, name, at_least=self.preprocessing.decoded_at_least)
            whole = image.pixels
            if self.keep_pixels and whole.shape != (image.height, image.width):
                whole = decode(content, name).pixels
            grey = torch.from_numpy(self.preprocessing.resized(image.pixels, (image.height, image.width)))
        except UnreadableImageError as error:
            return Decoded(index, reason=str(error))
        except MemoryError:
            return self.lost(index, "there is not enough memory to read it")
        return Decoded(index, grey, image.height, image.width, torch.from_numpy(whole) if self.keep_pixels else None)

    def lost(self, index: int, reason: str) -> Decoded:
        """What stands for an image that was not read."""
        return Decoded(index, reason=f"{self.paths[index]}: {reason}")

    def each(self, workers: int) -> Iterator[Decoded]:
        """All images in order, read by so many processes; 0 reads in this one."""
        return in_order(self.__getitem__, range(len(self)), workers=workers, lost=self.lost)


@dataclass(frozen=True)
class Batch:
    """Readable images: their items, decoded forms, and grey tensors stacked to [N, 1, h, w]."""

    items: list[Item]
    images: list[Decoded]
    grey: Tensor


class BatchReader:
    """Streams items in order as batches; what cannot be read is collected in ``unreadable``.

    Args:
        items: what to read.
        preprocessing: gives the input size.
        batch_size: images per batch; unreadable files make some batches smaller, and none is empty.
        workers: processes that read; 0 reads in this one. A small list is read in this one anyway.
        keep_pixels: also keep the stored image (for overlays).
    """

    def __init__(
        self,
        items: Sequence[Item],
        preprocessing: Preprocessing,
        *,
        batch_size: int = 16,
        workers: int = 0,
        keep_pixels: bool = False,
    ) -> None:
        self.items = list(items)
        self.unreadable: list[str] = []
        self._batch_size = batch_size
        self._images = DecodedImages([item.path for item in items], preprocessing, keep_pixels=keep_pixels)
        self._workers = workers if len(self.items) > batch_size else 0

    def __iter__(self) -> Iterator[Batch]:
        self.unreadable.clear()
        waiting: list[Decoded] = []
        for image in self._images.each(self._workers):
            if image.reason is not None:
                self.unreadable.append(image.reason)
                continue
            waiting.append(image)
            if len(waiting) == self._batch_size:
                yield self._batch(waiting)
                waiting = []
        if waiting:
            yield self._batch(waiting)

    def _batch(self, images: list[Decoded]) -> Batch:
        grey = torch.stack([image.grey for image in images if image.grey is not None])
        return Batch([self.items[image.index] for image in images], images, grey)
