"""A batch that is too large for the device's memory is explained in halves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from cxrlens.errors import UsageError
from cxrlens.saliency.target import Target

log = logging.getLogger(__name__)

_SIGNS = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")

_Results: TypeAlias = tuple[list[Tensor], list[Tensor], Tensor]  # maps, flat flags, logits; the batch comes first


def halving(explain: Callable[[Tensor, Target], _Results], images: Tensor, target: Target) -> _Results:
    """Explain a batch, or its halves where memory runs out, and theirs.

    Raises:
        UsageError: when a single image is too large.
    """
    try:
        return explain(images, target)
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if not is_out_of_memory(error):
            raise
        failed = str(error).splitlines()[0]
    # Outside the except block, so that the failed pass is not kept alive by its traceback.
    count = images.shape[0]
    if count < 2:
        raise UsageError(
            f"one image of {images.shape[-2]} x {images.shape[-1]} px does not fit into the memory of {images.device} "
            f"({failed}); use smaller images, fewer layers, or `device=cpu`"
        )
    if images.device.type == "cuda":
        torch.cuda.empty_cache()
    half = count // 2
    log.warning("out of memory with %d images at once; going on with %d", count, half)
    per_image = isinstance(target, Tensor) and target.ndim == 1
    first, second = (
        halving(explain, images[chosen], target[chosen] if per_image else target)  # type: ignore[index]
        for chosen in (slice(None, half), slice(half, None))
    )
    maps = [torch.cat(pair) for pair in zip(first[0], second[0], strict=True)]
    flat = [torch.cat(pair) for pair in zip(first[1], second[1], strict=True)]
    return maps, flat, torch.cat([first[2], second[2]])


def is_out_of_memory(error: Exception) -> bool:
    """True of an error of too little memory; the CPU's allocator and CUDA's libraries raise a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in _SIGNS)
