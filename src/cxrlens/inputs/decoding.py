"""Images at a network's input size, decoded in processes and gathered in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from cxrlens.inputs.dataset.layouts import Item
from cxrlens.inputs.origin import Origin
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import Pixels, decode
from cxrlens.inputs.reading import Readers, Unreadable
from cxrlens.inputs.remarked import remarked

DecodedArrays: TypeAlias = tuple[Pixels, int, int, Pixels | None, tuple[str, ...]]
"""Grey levels [1, h, w], height and width of the stored image, that image where it is kept, and remarks."""


@dataclass(frozen=True)
class DecodedImage:
    """One image at the network's input size.

    Attributes:
        index: its place in the list of images.
        grey: float32 [1, h, w] in [0, 1], the same whether or not the stored image is kept.
        height: of the stored image; likewise ``width``.
        pixels: float32 [height, width], the stored image, where it was asked for.
        remarks: see `Radiograph.remarks`.
    """

    index: int
    grey: Tensor
    height: int
    width: int
    pixels: Tensor | None = None
    remarks: tuple[str, ...] = ()


def decode_images(
    origins: Sequence[Origin], preprocessing: Preprocessing, *, workers: int = 0, keep_pixels: bool = False
) -> Iterator[DecodedImage | Unreadable]:
    """All images in order, read by so many processes; 0 reads in this one."""
    with Readers(ImageDecoder(preprocessing, keep_pixels), workers=workers) as readers:
        yield from decode_by(readers, origins)


def decode_by(
    readers: Readers[Origin, DecodedArrays], origins: Sequence[Origin]
) -> Iterator[DecodedImage | Unreadable]:
    """All images in order, read by processes that apply an `ImageDecoder`."""
    for index, (_, arrays) in enumerate(readers.each(origins)):
        if isinstance(arrays, Unreadable):
            yield arrays
        else:
            grey, height, width, pixels, remarks = arrays
            kept = None if pixels is None else torch.from_numpy(pixels)
            yield DecodedImage(index, torch.from_numpy(grey), height, width, kept, remarks)


@dataclass(frozen=True)
class ImageDecoder:
    """Reads and resizes an image to arrays; tensors would share memory with a process that may have died."""

    preprocessing: Preprocessing
    keep_pixels: bool = False

    def __call__(self, origin: Origin) -> DecodedArrays:
        content, name = origin.read(), str(origin)
        image = decode(content, name, at_least=self.preprocessing.decoded_at_least)
        whole = image.pixels
        if self.keep_pixels and whole.shape != (image.height, image.width):
            whole = decode(content, name).pixels
        grey = self.preprocessing.resized(image.pixels, (image.height, image.width))
        return grey, image.height, image.width, whole if self.keep_pixels else None, image.remarks


@dataclass(frozen=True)
class Batch:
    """Readable images: their items, decoded forms, and grey tensors stacked to [N, 1, h, w]."""

    items: list[Item]
    images: list[DecodedImage]
    grey: Tensor


class BatchReader:
    """Streams items in order as batches.

    What cannot be read is collected in ``unreadable``, and what has remarks in ``remarked``, a line each.

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
        self.remarked: list[str] = []
        self._batch_size = batch_size
        self._preprocessing = preprocessing
        self._keep_pixels = keep_pixels
        self._workers = workers if len(self.items) > batch_size else 0

    def __iter__(self) -> Iterator[Batch]:
        self.unreadable.clear()
        self.remarked.clear()
        waiting: list[DecodedImage] = []
        origins = [item.origin for item in self.items]
        for image in decode_images(origins, self._preprocessing, workers=self._workers, keep_pixels=self._keep_pixels):
            if isinstance(image, Unreadable):
                self.unreadable.append(image.reason)
                continue
            if image.remarks:
                self.remarked.append(remarked(origins[image.index], image.remarks))
            waiting.append(image)
            if len(waiting) == self._batch_size:
                yield self._batch(waiting)
                waiting = []
        if waiting:
            yield self._batch(waiting)

    def _batch(self, images: list[DecodedImage]) -> Batch:
        grey = torch.stack([image.grey for image in images])
        return Batch([self.items[image.index] for image in images], images, grey)
