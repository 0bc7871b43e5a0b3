"""Explain a batch of images: one capture, many methods and layer choices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

from cxrlens.errors import UsageError
from cxrlens.models.registry import stages_of
from cxrlens.saliency.capture import INPUT, Captured, capture
from cxrlens.saliency.fusion import combine, layer_shares, scale, upsample
from cxrlens.saliency.gaussian import check_sigma
from cxrlens.saliency.gaussian import smooth as smoothed
from cxrlens.saliency.guided import GuidedRule
from cxrlens.saliency.memory import halving
from cxrlens.saliency.methods import SaliencyMethod, find_method
from cxrlens.saliency.probe import NetworkProbe
from cxrlens.saliency.target import Target, target_classes, target_scores

_Key = TypeVar("_Key")

LAYER_CHOICES = ("last", "combined")
_JOINT = "+"  # between the names of several layers in a row
INPUT_LAYERS = "input"  # what a row's layers are called where the method reads none


@dataclass(frozen=True, order=True)
class Row:
    """One line of a results table: a method at a choice of layers.

    Attributes:
        layers: "last", "combined" or a module name; several are joined by "+", see `make_row`.
    """

    method: str
    layers: str

    @property
    def is_combined(self) -> bool:
        """True where the map is joined from several layers."""
        return self.layers == "combined" or _JOINT in self.layers

    def __str__(self) -> str:
        return f"{self.method} {self.layers}"


@dataclass(frozen=True)
class Fusion:
    """The way in which the maps of several layers become one, and its smoothing; recorded with the maps.

    Attributes:
        combination: "product" (the paper's), "geometric", "mean" or "max", see `cxrlens.saliency.fusion.combine`.
        weights: one per layer, for "geometric" and "mean"; None weighs all alike.
        smooth: sigma in pixels of a Gaussian over the full-size map; None for none.
    """

    combination: str = "product"
    weights: tuple[float, ...] | None = None
    smooth: float | None = None

    def check(self, layer_counts: Iterable[int]) -> None:
        """Find out before any work whether maps of so many layers each can be joined in this way.

        Raises:
            UsageError: on an unknown combination, weights that do not fit, or a sigma that is not positive.
        """
        if self.smooth is not None:
            check_sigma(self.smooth)
        several = {count for count in layer_counts if count > 1}
        layer_shares(self.combination, None, 1)
        if self.weights is not None and not several:
            raise UsageError("layer weights are given, but no map is combined of several layers; leave them out")
        for count in several:
            layer_shares(self.combination, self.weights, count)


DEFAULT_FUSION = Fusion()


class SaliencyMaps(dict[str, Tensor]):
    """Maps by method id, each float32 [N, H, W] in [0, 1], with what else the pass has found.

    Attributes:
        logits: float32 [N, classes].
        flat: per method, bool [N]: the map was constant or not finite, or the explained logit was not finite, and the
            map is all zero.
        layers: the module names that were explained.
        fusion: how they were combined and smoothed.
    """

    def __init__(
        self,
        maps: Mapping[str, Tensor],
        *,
        logits: Tensor,
        flat: Mapping[str, Tensor],
        layers: Sequence[str],
        fusion: Fusion,
    ) -> None:
        super().__init__(maps)
        self.logits = logits
        self.flat = dict(flat)
        self.layers = tuple(layers)
        self.fusion = fusion


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
    combination: str = "product",
    layer_weights: Sequence[float] | None = None,
    seed: int = 0,
) -> SaliencyMaps:
    """Saliency maps of a batch of images.

    Args:
        network: any torch network in evaluation mode that gives logits.
        images: [N, C, H, W], preprocessed as the network was trained, on its device. A batch too large for the
            device's memory is halved until it fits.
        methods: method ids, see docs/methods.md; ``captum:NAME`` for any attribution class of captum.
        layers: "last" or "combined" for torchvision ResNets and EfficientNets; else a module name, or several names
            in a list, whose maps are combined. Methods that read the input alone take no notice of it.
        target: "affected" (class 1), "predicted", a class index, or one index per image [N].
        smooth: sigma in pixels of a Gaussian over the full-size map; 1 is the paper's 11 x 11 kernel.
        combination: how the maps of several layers become one: "product" (the paper's), "geometric", "mean", "max".
        layer_weights: one weight per layer for "geometric" and "mean"; by default all layers count alike.
        seed: of the methods that draw random numbers.

    Returns:
        A dictionary of method id -> float32 [N, H, W], each map scaled to [0, 1] by its own range. A flat map is
        all zero and flagged in the result's ``flat``.

    Raises:
        UsageError: on an unknown method, layer, target or combination, a sigma that is not positive, a network in
            training mode, or inside `torch.inference_mode`.
    """
    ids = [methods] if isinstance(methods, str) else list(methods)
    wanted = {id_: find_method(id_) for id_ in ids}
    needs_layers = any(method.has_layers for method in wanted.values())
    names = resolve_layers(network, layers) if needs_layers or layers not in LAYER_CHOICES else []
    fusion = Fusion(combination, None if layer_weights is None else tuple(layer_weights), smooth)
    requests = {id_: _Request(method, tuple(names) if method.has_layers else ()) for id_, method in wanted.items()}
    maps, flat, logits = _explain(network, images, requests, target, fusion, seed)
    return SaliencyMaps(maps, logits=logits, flat=flat, layers=names, fusion=fusion)


def explain_rows(
    network: nn.Module,
    images: Tensor,
    rows: Iterable[Row],
    *,
    target: Target = "affected",
    fusion: Fusion = DEFAULT_FUSION,
    seed: int = 0,
) -> RowMaps:
    """As `explain`, for several (method, layers) rows from one forward and one backward pass."""
    requests = {}
    names: dict[str, tuple[str, ...]] = {}
    for row in rows:
        method = find_method(row.method)
        if method.has_layers and row.layers not in names:
            names[row.layers] = tuple(resolve_layers(network, row.layers))
        requests[row] = _Request(method, names[row.layers] if method.has_layers else ())
    maps, flat, logits = _explain(network, images, requests, target, fusion, seed)
    return RowMaps(maps, flat, logits)


def make_row(id_: str, layers: str | Sequence[str]) -> Row:
    """The row of a method at a choice of layers, as `explain` takes it; of one that reads no layer, "input"."""
    if not find_method(id_).has_layers:
        return Row(id_, INPUT_LAYERS)
    return Row(id_, layers if isinstance(layers, str) else _JOINT.join(layers))


def default_rows(methods: Iterable[str], layers: str) -> list[Row]:
    """The rows of the paper for the methods: each at the choice of layers ("last", "combined" or "both").

    With "both", a method that the paper does not combine (Grad-CAM) is given at the last layer alone.
    """
    rows: list[Row] = []
    for id_ in methods:
        combines = find_method(id_).combines
        choices = LAYER_CHOICES if layers == "both" and combines else ("last",) if layers == "both" else (layers,)
        rows += [make_row(id_, choice) for choice in choices]
    return rows


def resolve_layers(network: nn.Module, layers: str | Sequence[str]) -> list[str]:
    """The module names that a choice of layers stands for: each of "last", "combined" and module names, or several.

    Raises:
        UsageError: when the stages of this network are not known, or no layer is named.
    """
    names = [part for text in ([layers] if isinstance(layers, str) else layers) for part in text.split(_JOINT)]
    if not names:
        raise UsageError("no layer is named; give module names, 'last' or 'combined'")
    return list(dict.fromkeys(name for part in names for name in _modules(network, part)))


def _modules(network: nn.Module, name: str) -> list[str]:
    if name not in LAYER_CHOICES:
        return [name]
    stages = stages_of(network)
    if stages is None:
        raise UsageError(
            f"'{name}' is known for torchvision's ResNets and EfficientNets only; "
            f"for a {type(network).__name__} give module names as layers"
        )
    return [stages.last] if name == "last" else list(stages.combined)


@dataclass(frozen=True)
class _Request:
    """A method at module names; none where it reads no layer."""

    method: SaliencyMethod
    layers: tuple[str, ...]

    @property
    def parts(self) -> tuple[_Request, ...]:
        """The requests whose maps its own is joined from."""
        methods = [find_method(id_) for id_ in self.method.of]
        return tuple(_Request(method, self.layers if method.has_layers else ()) for method in methods)


@dataclass
class _Maps:
    """Full-size maps [N, H, W] as their methods gave them, each computed once."""

    network: nn.Module
    images: Tensor
    target: Target
    fusion: Fusion
    seed: int
    raw: dict[_Request, Tensor] = field(default_factory=dict)

    def compute(self, requests: Iterable[_Request]) -> Tensor:
        """Fill ``raw`` for the requests and their parts; returns the logits."""
        every = list(dict.fromkeys(each for request in requests for each in (*request.parts, request)))
        of_layers = [each for each in every if each.method.reads == "layer"]
        names = dict.fromkeys(name for each in of_layers for name in each.layers)
        if any(each.method.reads == "input" for each in every):
            names[INPUT] = None
        logits, captured = capture(self.network, self.images, list(names), self.target)
        classes = target_classes(logits, self.target)
        for layers in dict.fromkeys(each.layers for each in of_layers):
            self._fuse([each for each in of_layers if each.layers == layers], [captured[name] for name in layers])
        guided: Captured | None = None
        for each in every:
            function = each.method.function
            if each.method.reads == "input":
                self.raw[each] = function(captured[INPUT])
            elif each.method.reads == "guided":
                guided = self._guided(classes) if guided is None else guided
                self.raw[each] = function(guided)
            elif each.method.reads == "network":
                self.raw[each] = function(NetworkProbe(self.network, self.images, classes, each.layers, self.seed))
        for each in every:
            if each.method.reads == "maps":
                self.raw[each] = each.method.function(*(self.raw[part] for part in each.parts))
        return logits

    def _fuse(self, requests: Sequence[_Request], pairs: Sequence[Captured]) -> None:
        """The full-size maps of several methods at the same layers, resampled and combined all at once."""
        count = self.images.shape[0]
        size = (self.images.shape[-2], self.images.shape[-1])
        layer_maps = [torch.cat([each.method.function(pair) for each in requests]) for pair in pairs]
        if len(layer_maps) == 1:
            full = upsample(layer_maps[0], size)
        else:
            full = combine(layer_maps, size, self.fusion.combination, self.fusion.weights)
        self.raw.update(zip(requests, torch.split(full, count), strict=True))

    def _guided(self, classes: Tensor) -> Captured:
        with GuidedRule() as rule:
            _, captured = capture(self.network, self.images, [INPUT], classes)
        if not rule.found:
            raise UsageError(
                f"guided backprop needs activation functions like ReLU or SiLU; this {type(self.network).__name__} "
                "has none that can be seen; choose another method"
            )
        return captured[INPUT]


def _explain(
    network: nn.Module,
    images: Tensor,
    requests: Mapping[_Key, _Request],
    target: Target,
    fusion: Fusion,
    seed: int,
) -> tuple[dict[_Key, Tensor], dict[_Key, Tensor], Tensor]:
    """Scaled maps and flat flags by key, and the logits."""
    fusion.check(len(part.layers) for request in requests.values() for part in (request, *request.parts))

    def part(images: Tensor, target: Target) -> tuple[list[Tensor], list[Tensor], Tensor]:
        maps = _Maps(network, images, target, fusion, seed)
        logits = maps.compute(requests.values())
        # A gradient may well be finite where the logit it belongs to is not, and then means nothing.
        sound = target_scores(logits, target_classes(logits, target)).isfinite()
        finished = [_finished(maps.raw[request], sound, fusion.smooth) for request in requests.values()]
        return [map_ for map_, _ in finished], [flat for _, flat in finished], logits

    maps, flat, logits = halving(part, images, target)
    return dict(zip(requests, maps, strict=True)), dict(zip(requests, flat, strict=True)), logits


def _finished(raw: Tensor, sound: Tensor, smooth: float | None) -> tuple[Tensor, Tensor]:
    """Maps [N, H, W] scaled and smoothed, and which are flat; those of images that are not sound [N] are."""
    scaled, flat = scale(raw if bool(sound.all()) else raw.masked_fill(~sound[:, None, None], torch.nan))
    if smooth is None:
        return scaled, flat
    smooth_scaled, smooth_flat = scale(smoothed(scaled, smooth))
    return smooth_scaled, flat | smooth_flat
