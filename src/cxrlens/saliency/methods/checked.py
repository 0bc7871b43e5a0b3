"""Map functions of other packages: whatever they do wrong becomes one sentence that names method and package."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeAlias

import torch
from torch import Tensor

from cxrlens import plugins
from cxrlens.saliency.capture import Captured
from cxrlens.saliency.memory import is_out_of_memory
from cxrlens.saliency.probe import NetworkProbe

MapFunction: TypeAlias = Callable[..., Tensor]


def checked(id_: str, function: MapFunction) -> MapFunction:
    """A method's function with its errors named, and its maps as `SaliencyMethod` has them: float32, on the device.

    Raises:
        PluginError: when the function raises something, or does not give one finite number for each place of each image
            that it was given finite numbers of. Too little memory is left to whoever halves batches.
    """

    @wraps(function)
    def call(*given: Any) -> Tensor:
        with plugins.blamed(plugins.METHODS, id_, passed=is_out_of_memory):
            found = function(*given)
        return _fit(id_, found, given)

    return call


def _fit(id_: str, found: object, given: tuple[Any, ...]) -> Tensor:
    images = _images(given[0])
    wanted = [images.shape[0], *images.shape[-2:]]
    if not isinstance(found, Tensor):
        raise _unfit(id_, f"gives {type(found).__name__}, which should be a torch tensor {wanted}")
    if found.is_complex():
        raise _unfit(id_, "gives complex numbers, which should be real ones")
    if list(found.shape) != wanted:
        raise _unfit(
            id_,
            f"gives a map of the shape {list(found.shape)}, which should be {wanted}: images, height and width of what "
            "it is given",
        )
    maps = found.detach().to(images.device, torch.float32)
    if torch.compiler.is_exporting() or bool(maps.isfinite().all()):
        return maps
    wrong = _sound(given) & ~_finite(maps)
    if bool(wrong.any()):
        raise _unfit(
            id_,
            f"gives values that are no finite numbers for {int(wrong.sum())} of {len(wrong)} images, though what it is "
            "given is finite; a map that says nothing should be constant",
        )
    return maps


def _images(given: Captured | NetworkProbe | Tensor) -> Tensor:
    """What has the number of images first, and the height and width of their map last."""
    if isinstance(given, Tensor):
        return given
    return given.activation if isinstance(given, Captured) else given.images


def _sound(given: tuple[Any, ...]) -> Tensor:
    """Of which images a method was given finite numbers, bool [N]."""
    (first, *_) = given
    if isinstance(first, NetworkProbe):
        return first.probabilities(first.images).isfinite()
    parts = [first.activation, first.gradient] if isinstance(first, Captured) else list(given)
    return torch.stack([_finite(part) for part in parts]).all(0)


def _finite(values: Tensor) -> Tensor:
    return values.isfinite().flatten(1).all(1)


def _unfit(id_: str, given: str) -> plugins.PluginError:
    return plugins.unfit(plugins.METHODS, id_, given)
