"""Whether an exported graph gives what torch gives, but for rounding."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cxrlens.errors import CxrlensError, UsageError
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.models.onnx_file import read_onnx
from cxrlens.saliency.explain import Row, RowMaps, explain_rows
from cxrlens.saliency.fusion import Fusion
from cxrlens.saliency.joint_graph.map_graph import MapGraph

TOLERANCE = 1e-4
"""How far probabilities may be from torch's, and maps on average over their pixels."""

_MOST = 1e-2
"""How far a pixel of a map may be where no kink of a network lies in between.

A map is scaled by its own range. That of a network which tells images from each other by little may be some ten
thousandth of its values, whose last digits are then seen.
"""

CHANGE = 1e-5
"""By what share of its value a pixel changes, at random, where it is asked how far rounding may move a map.

An activation within rounding of 0 counts for a ReLU in one program and not in the other, and moves the map around it;
and each map is scaled by its own range, which may be small. Rounding on the way through the network does no more to its
activations than such a change of the pixels.
"""

_CHANGED = 3  # times
_MORE = 3.0  # times as far as the changed pixels move a map
_IMAGES = 3


@dataclass(frozen=True)
class Parity:
    """The largest difference between onnxruntime and torch that was found on random images.

    Attributes:
        images: number of them.
        probability: of the probability; ``map`` of the maps, whose range is [0, 1].
        map_mean: of a map, on average over its pixels.
        changed: of torch's own maps, on average over their pixels, when all pixels of the image change by `CHANGE`; 0
            for maps that no backward pass through layers takes part in.
        exact: of the maps on average, between the graph and autograd, both by torch of a network in double precision.
    """

    images: int
    probability: float
    map: float
    map_mean: float
    changed: float
    exact: float


@dataclass(frozen=True)
class Exactness:
    """The largest difference of maps between a graph and autograd: of a map on ``average``, and ``most`` of a pixel."""

    average: float
    most: float


@dataclass(frozen=True)
class Expected:
    """What torch gives for random images.

    Attributes:
        model: in torch.
        rows: of the maps.
        fusion: of the maps.
        grey: the images [N, 1, h, w].
        found: logits, maps and flat flags of them.
    """

    model: QualityModel
    rows: tuple[Row, ...]
    fusion: Fusion
    grey: Tensor
    found: RowMaps

    @classmethod
    def of(cls, model: QualityModel, rows: list[Row], fusion: Fusion, source: Path) -> Self:
        """What a model gives.

        Raises:
            UsageError: when it gives no numbers, or a map that is always constant.
        """
        grey = torch.cat([random_images(model, seed=2), random_images(model, seed=3)])
        found = model.explain_rows(grey, rows, fusion=fusion)
        if not found.logits.isfinite().all():
            raise UsageError(
                f"{source.name}: gives no number for random images, so nothing was written; look at it with "
                "'cxrlens doctor --model'"
            )
        constant = [row for row in rows if bool(found.flat[row].all())]
        if constant:
            raise UsageError(
                f"{source.name}: the map of '{constant[0].method}' at the layers '{constant[0].layers}' is constant "
                "for every image, so nothing was written; choose another method or other layers"
            )
        return cls(model, tuple(rows), fusion, grey, found)


def random_images(model: QualityModel, seed: int) -> Tensor:
    """Grey images [N, 1, h, w] in [0, 1]: a coarse pattern with fine noise."""
    random = torch.Generator().manual_seed(seed)
    size = (model.preprocessing.height, model.preprocessing.width)
    coarse = torch.rand(_IMAGES, 1, 5, 4, generator=random)
    fine = torch.rand(_IMAGES, 1, *size, generator=random)
    return nn.functional.interpolate(coarse, size, mode="bilinear") * 0.8 + fine * 0.2


def compare(expected: Expected, file: Path, exact: Exactness) -> Parity:
    """Run a file on the images, whose number is not that which it was traced with, and on one of them alone.

    Args:
        exact: of the graph that became the file.

    Raises:
        CxrlensError: when it does not give what torch gives.
    """
    exported = read_onnx(file)
    grey = expected.grey.numpy()
    own = exported.own_probability(grey)
    probability = float(np.abs(own - expected.model.probability_of(expected.found.logits).numpy()).max())
    # Where noise is surely normal, the probability alone would show no fault of the head or the calibration.
    of_logits = expected.model.probability_of(torch.from_numpy(exported.run(grey, maps=False).logits)).numpy()
    is_same = bool(np.allclose(own, of_logits, rtol=TOLERANCE, atol=1e-30))
    apart = {}
    for method, row in zip(exported.info.methods, expected.rows, strict=True):
        for part in (slice(None), slice(1)):
            found = exported.run(grey[part], method=method)
            assert found.maps is not None
            assert found.flat is not None
            is_same &= bool(np.array_equal(found.flat, expected.found.flat[row][part].numpy()))
            is_same &= _are_same_logits(found.logits, expected.found.logits[part].numpy())
            apart[row, part.stop] = np.abs(found.maps - expected.found.maps[row][part].numpy())
    needs_backward = exported.info.layers != "last"
    changed = {row: each if needs_backward else 0 * each for row, each in _changed(expected).items()}
    parity = Parity(
        images=len(grey),
        probability=probability,
        map=max(float(each.max()) for each in apart.values()),
        map_mean=max(float(each.mean((1, 2)).max()) for each in apart.values()),
        changed=max(float(each.max()) for each in changed.values()),
        exact=exact.average,
    )
    is_near = all(is_rounding(each.mean((1, 2)), changed[row]) for (row, _), each in apart.items())
    is_near &= exact.average <= TOLERANCE and max(exact.most, 0 if needs_backward else parity.map) <= _MOST
    if not (is_same and is_near and probability <= TOLERANCE):
        raise CxrlensError(
            f"{expected.model.card.architecture}: what onnxruntime gives for the exported graph differs from torch "
            f"(probability by {probability:.2g}, map by {parity.map:.2g}, {parity.map_mean:.2g} on average; by "
            f"{exact.average:.2g} in double precision; pixels changed by {CHANGE:g} move torch's own by "
            f"{parity.changed:.2g} on average); nothing was written; please report this"
        )
    return parity


def is_rounding(apart: npt.NDArray[np.floating], changed: npt.NDArray[np.floating]) -> bool:
    """Whether maps differ by no more than rounding may move them: most by little, and none by much.

    Args:
        apart: of each image, how far the maps are apart, on average over the pixels.
        changed: of each image that was tried, how far changed pixels move torch's own.
    """
    usual, most = max(TOLERANCE, float(np.median(changed))), max(TOLERANCE, _MORE * float(changed.max()))
    return bool(np.median(apart) <= usual and apart.max() <= most) if len(apart) > 1 else bool(apart.max() <= most)


def _are_same_logits(found: npt.NDArray[np.floating], expected: npt.NDArray[np.floating]) -> bool:
    """Both are sums of the same features, so that rounding of a small one follows the largest."""
    tolerance = TOLERANCE * (1 + np.abs(expected).max(1, keepdims=True))
    return bool((np.abs(found - expected) <= tolerance).all())


def _changed(expected: Expected) -> dict[Row, npt.NDArray[np.floating]]:
    """Of each image, how far its maps move on average when all its pixels change a little; the farthest of some."""
    random = torch.Generator().manual_seed(4)
    moved: dict[Row, list[Tensor]] = {row: [] for row in expected.rows}
    for _ in range(_CHANGED):
        factor = 1 + CHANGE * torch.randn(expected.grey.shape, generator=random)
        found = expected.model.explain_rows(expected.grey * factor, expected.rows, fusion=expected.fusion)
        for row, each in moved.items():
            each.append((found.maps[row] - expected.found.maps[row]).abs().mean((1, 2)))
    return {row: torch.stack(each).amax(0).numpy() for row, each in moved.items()}


def exactness(expected: Expected, network: nn.Module, graph: MapGraph) -> Exactness:
    """How far the maps of a graph are from those of autograd, of the network in double precision.

    Activations and gradients are rounded to float32 by both.
    """
    images = expected.model.preprocessing.normalized(expected.grey[:_IMAGES]).double()
    right = explain_rows(network, images, expected.rows, fusion=expected.fusion)
    with torch.no_grad():
        _, maps, _ = graph(images)
    apart = [(own - right.maps[row]).abs() for row, own in zip(expected.rows, maps, strict=True)]
    return Exactness(max(float(each.mean((1, 2)).max()) for each in apart), max(float(each.max()) for each in apart))
