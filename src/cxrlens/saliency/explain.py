"""Explain a batch of images: one capture, many methods and layer choices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from cxrlens.errors import UsageError
from cxrlens.models.registry import stages_of
from cxrlens.saliency.capture import Captured, Target, capture
from cxrlens.saliency.fusion import combine, is_flat, scale, upsample
from cxrlens.saliency.fusion import smooth as smoothed
from cxrlens.saliency.methods import find_method

LAYER_CHOICES = ("last", "combined")


@dataclass(frozen=True, order=True)
class Row:
    """One line of a results table: a method at a choice of layers."""

    method: str
    layers: str

    def __str__(self) -> str:
        return f"{self.method} {self.layers}"


class SaliencyMaps(dict[str, Tensor]):
    """Maps by method id, each float32 [N, H, W] in [0, 1], with what else the pass has found.

    Attributes:
        logits: float32 [N, classes].
        flat: per method, bool [N]: the map was constant or not finite and is all zero.
        layers: the module names that were explained.
    """

    def __init__(
        self, maps: Mapping[str, Tensor], *, logits: Tensor, flat: Mapping[str, Tensor], layers: Sequence[str]
    ) -> None:
        super().__init__(maps)
        self.logits = logits
        self.flat = dict(flat)
        self.layers = tuple(layers)


@dataclass(frozen=True)
class RowMaps:
    """The result of `explain_rows`: maps float32 [N, H, W] and flat flags bool [N] per row, and the logits."""

    maps: dict[Row, Tensor]
    flat: dict[Row, Tensor]
    logits: Tensor


def explain(
    network: nn.Module,
    images: Tensor,
    *,
    methods: str | Sequence[str],
    layers: str | Sequence[str] = "last",
    target: Target = "affected",
    smooth: float | None = None,
) -> SaliencyMaps:
    """Saliency maps of a batch of images.

    Args:
        network: any torch network in evaluation mode that gives logits.
        images: [N, C, H, W], preprocessed as the network was trained, on its device.
        methods: method ids, see docs/methods.md.
        layers: "last" or "combined" for torchvision ResNets and EfficientNets; else module names, the maps of
            several being combined by their product.
        target: "affected" (class 1), "predicted", a class index, or one index per image [N].
        smooth: sigma in pixels of a Gaussian over the full-size map; 1 is the paper's 11 x 11 kernel.

    Returns:
        A dictionary of method id -> float32 [N, H, W], each map scaled to [0, 1] by its own range. A flat map is
        all zero and flagged in the result's ``flat``.

    Raises:
        UsageError: on an unknown method, layer or target, a sigma that is not positive, a network in training
            mode, or inside `torch.inference_mode`.
    """
    ids = [methods] if isinstance(methods, str) else list(methods)
    names = resolve_layers(network, layers)
    for id_ in ids:
        find_method(id_)
    logits, captured = capture(network, images, names, target)
    size = (images.shape[-2], images.shape[-1])
    raw = {id_: _map_of(id_, [captured[name] for name in names], size) for id_ in ids}
    return SaliencyMaps(
        {id_: _finished(map_, smooth) for id_, map_ in raw.items()},
        logits=logits,
        flat={id_: is_flat(map_) for id_, map_ in raw.items()},
        layers=names,
    )


def explain_rows(
    network: nn.Module,
    images: Tensor,
    rows: Iterable[Row],
    *,
    target: Target = "affected",
    smooth: float | None = None,
) -> RowMaps:
    """As `explain`, for several (method, layers) rows from one forward and one backward pass."""
    wanted = list(rows)
    names = {choice: resolve_layers(network, choice) for choice in dict.fromkeys(row.layers for row in wanted)}
    every = list(dict.fromkeys(name for chosen in names.values() for name in chosen))
    logits, captured = capture(network, images, every, target)
    size = (images.shape[-2], images.shape[-1])
    raw = {row: _map_of(row.method, [captured[name] for name in names[row.layers]], size) for row in wanted}
    return RowMaps(
        {row: _finished(map_, smooth) for row, map_ in raw.items()},
        {row: is_flat(map_) for row, map_ in raw.items()},
        logits,
    )


def default_rows(methods: Iterable[str], layers: str) -> list[Row]:
    """The rows of the paper for the methods: each at the choice of layers ("last", "combined" or "both").

    With "both", a method that the paper does not combine (Grad-CAM) is given at the last layer alone.
    """
    rows: list[Row] = []
    for id_ in methods:
        combines = find_method(id_).combines
        choices = LAYER_CHOICES if layers == "both" and combines else ("last",) if layers == "both" else (layers,)
        rows += [Row(id_, choice) for choice in choices]
    return rows


def resolve_layers(network: nn.Module, layers: str | Sequence[str]) -> list[str]:
    """The module names that a choice of layers stands for.

    Raises:
        UsageError: when the stages of this network are not known, or no layer is named.
    """
    if not isinstance(layers, str):
        if not layers:
            raise UsageError("no layer is named; give module names, 'last' or 'combined'")
        return list(dict.fromkeys(layers))
    if layers not in LAYER_CHOICES:
        return [layers]
    stages = stages_of(network)
    if stages is None:
        raise UsageError(
            f"'{layers}' is known for torchvision's ResNets and EfficientNets only; "
            f"for a {type(network).__name__} give module names as layers"
        )
    return [stages.last] if layers == "last" else list(stages.combined)


def _map_of(id_: str, pairs: Sequence[Captured], size: tuple[int, int]) -> Tensor:
    function = find_method(id_).function
    layer_maps = [function(pair.activation, pair.gradient) for pair in pairs]
    return upsample(layer_maps[0], size) if len(layer_maps) == 1 else combine(layer_maps, size)


def _finished(raw: Tensor, smooth: float | None) -> Tensor:
    scaled = scale(raw)
    return scaled if smooth is None else scale(smoothed(scaled, smooth))
