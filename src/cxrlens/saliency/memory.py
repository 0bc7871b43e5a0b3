"""A batch that is too large for the device's memory is explained in halves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

import torch
from torch import Tensor

from cxrlens.errors import UsageError
from cxrlens.saliency.target import Target

log = logging.getLogger(__name__)

_SIGNS = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")

Results: TypeAlias = tuple[list[Tensor], list[Tensor], Tensor]  # maps, flat flags, logits; the batch comes first
_Pass = TypeVar("_Pass")


class Halved(Generic[_Pass]):
    """A batch, or its halves where memory runs out, and theirs; what was cut once stays cut."""

    def __init__(self, begin: Callable[[Tensor, Target], _Pass], images: Tensor, target: Target) -> None:
        """A batch of which nothing is computed yet.

        Args:
            begin: the passes through the network that all results are made of, kept from the first result on.
            images: [N, C, H, W].
            target: as of `cxrlens.explain`.
        """
        self._begin, self._images, self._target = begin, images, target
        self._pass: _Pass | None = None
        self._halves: list[Halved[_Pass]] = []

    def results(self, finish: Callable[[_Pass], Results]) -> Results:
        """What ``finish`` makes of the passes, of all images.

        Raises:
            UsageError: when a single image is too large.
        """
        if not self._halves:
            try:
                if self._pass is None:
                    self._pass = self._begin(self._images, self._target)
                return finish(self._pass)
            except RuntimeError as error:  # torch.OutOfMemoryError is one
                if not is_out_of_memory(error):
                    raise
                failed = str(error).splitlines()[0]
            # Outside the except block, so that the failed pass is not kept alive by its traceback.
            self._pass = None
            self._cut(failed)
        first, second = (half.results(finish) for half in self._halves)
        maps = [torch.cat(pair) for pair in zip(first[0], second[0], strict=True)]
        flat = [torch.cat(pair) for pair in zip(first[1], second[1], strict=True)]
        return maps, flat, torch.cat([first[2], second[2]])

    def _cut(self, failed: str) -> None:
        images, target = self._images, self._target
        count = images.shape[0]
        if count < 2:
            raise UsageError(
                f"one image of {images.shape[-2]} x {images.shape[-1]} px does not fit into the memory of "
                f"{images.device} ({failed}); use smaller images, fewer layers, or `device=cpu`"
            )
        if images.device.type == "cuda":
            torch.cuda.empty_cache()
        half = count // 2
        log.warning("out of memory with %d images at once; going on with %d", count, half)
        per_image = isinstance(target, Tensor) and target.ndim == 1
        self._halves = [
            Halved(self._begin, images[chosen], target[chosen] if per_image else target)  # type: ignore[index]
            for chosen in (slice(None, half), slice(half, None))
        ]


def is_out_of_memory(error: Exception) -> bool:
    """True of an error of too little memory; the CPU's allocator and CUDA's libraries raise a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in _SIGNS)
