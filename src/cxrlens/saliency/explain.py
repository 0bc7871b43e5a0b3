"""Explain a batch of images: one capture, many methods and layer choices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias, TypeVar

from torch import Tensor, nn

from cxrlens.errors import UsageError
from cxrlens.saliency.capture import INPUT, Captured, capture
from cxrlens.saliency.cells.grid import CellGrid
from cxrlens.saliency.cells.known import cell_grids
from cxrlens.saliency.fusion import DEFAULT_FUSION, Fusion, finished, fused, scale
from cxrlens.saliency.guided import GuidedRule
from cxrlens.saliency.memory import Halved, Results
from cxrlens.saliency.methods import SaliencyMethod, find_method
from cxrlens.saliency.probe import NetworkProbe
from cxrlens.saliency.recorded_resize import INPUT_LAYERS, RecordedResize
from cxrlens.saliency.resizing import MapResize
from cxrlens.saliency.stages import DEFAULT_SHAPE, Shape, find_stages
from cxrlens.saliency.target import Target, target_classes, target_scores

_Key = TypeVar("_Key")
# scaled maps and flat flags by key, the logits, and the places of the layers' cells
_Found: TypeAlias = tuple[dict[_Key, Tensor], dict[_Key, Tensor], Tensor, dict[str, CellGrid | None]]

LAYER_CHOICES = ("last", "combined")
_JOINT = "+"  # between the names of several layers in a row


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


class SaliencyMaps(dict[str, Tensor]):
    """Maps by method id, each float32 [N, H, W] in [0, 1], with what else the pass has found.

    Attributes:
        logits: float32 [N, classes].
        flat: per method, bool [N]: the map was constant or not finite, or the explained logit was not finite, and the
            map is all zero.
        layers: the module names that were explained.
        cells: the places of each layer's cells in the input; None where these cannot be known, and the map was
            resized by pixel areas whatever ``grid`` says. Empty where ``grid`` is "areas".
        resizes: per method, the resize as it was done.
        fusion: how they were resized, combined and smoothed.
    """

    def __init__(
        self,
        maps: Mapping[str, Tensor],
        *,
        logits: Tensor,
        flat: Mapping[str, Tensor],
        layers: Sequence[str],
        cells: Mapping[str, CellGrid | None],
        resizes: Mapping[str, RecordedResize],
        fusion: Fusion,
    ) -> None:
        super().__init__(maps)
        self.logits = logits
        self.flat = dict(flat)
        self.layers = tuple(layers)
        self.cells = dict(cells)
        self.resizes = dict(resizes)
        self.fusion = fusion


@dataclass(frozen=True)
class RowMaps:
    """The result of `explain_rows`: maps float32 [N, H, W] and flat flags bool [N] per row, and the logits.

    Attributes:
        cells: of all layers, see `SaliencyMaps`.
        resizes: per row, as it was done.
    """

    maps: dict[Row, Tensor]
    flat: dict[Row, Tensor]
    logits: Tensor
    cells: dict[str, CellGrid | None]
    resizes: dict[Row, RecordedResize]


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
    grid: str = DEFAULT_FUSION.resize.grid,
    interpolation: str = DEFAULT_FUSION.resize.interpolation,
    flip: bool = False,
    seed: int = 0,
) -> SaliencyMaps:
    """Saliency maps of a batch of images.

    Args:
        network: any torch network in evaluation mode that gives logits.
        images: [N, C, H, W], preprocessed as the network was trained, on its device. A batch too large for the
            device's memory is halved until it fits.
        methods: method ids, see docs/methods.md; ``captum:NAME`` for any attribution class of captum.
        layers: "last" or "combined", which are found by a pass through the network where they are not known (see
            `cxrlens.saliency.stages`); or a module name, or several names in a list, whose maps are combined. Methods
            that read the input alone take no notice of it.
        target: "affected" (class 1), "predicted", a class index, or one index per image [N].
        smooth: sigma in pixels of a Gaussian over the full-size map; 1 is the paper's 11 x 11 kernel.
        combination: how the maps of several layers become one: "product" (the paper's), "geometric", "mean", "max".
        layer_weights: one weight per layer for "geometric" and "mean"; by default all layers count alike.
        grid: "centres" puts each cell of a layer on the pixel it is centred on, "areas" spreads the cells evenly over
            the image, as the published maps do; see docs/methods.md, "Where a cell lies".
        interpolation: "bicubic", "bspline" (smoother) or "bilinear" (the paper's).
        flip: average with the map of the mirrored image.
        seed: of the methods that draw random numbers.

    Returns:
        A dictionary of method id -> float32 [N, H, W], each map scaled to [0, 1] by its own range. A flat map is
        all zero and flagged in the result's ``flat``.

    Raises:
        UsageError: on an unknown method, layer, target, combination, grid or interpolation, a sigma that is not
            positive, images that are no such tensor, a network in training mode, or inside `torch.inference_mode`.
    """
    _check_images(images)
    ids = [methods] if isinstance(methods, str) else list(methods)
    wanted = {id_: find_method(id_) for id_ in ids}
    needs_layers = any(method.has_layers for method in wanted.values())
    named = needs_layers or layers not in LAYER_CHOICES
    names = resolve_layers(network, layers, shape_of(images)) if named else []
    weights = None if layer_weights is None else tuple(layer_weights)
    fusion = Fusion(combination, weights, smooth, MapResize(grid, interpolation), flip)
    requests = {id_: _Request(method, tuple(names) if method.has_layers else ()) for id_, method in wanted.items()}
    ((maps, flat, logits, cells),) = _explain(network, images, [(fusion, requests)], target, seed)
    resizes = _resizes(requests, cells, fusion)
    return SaliencyMaps(maps, logits=logits, flat=flat, layers=names, cells=cells, resizes=resizes, fusion=fusion)


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
    (found,) = explain_rows_in_turn(network, images, [(fusion, list(rows))], target=target, seed=seed)
    return found


def explain_rows_in_turn(
    network: nn.Module,
    images: Tensor,
    wanted: Sequence[tuple[Fusion, Sequence[Row]]],
    *,
    target: Target = "affected",
    seed: int = 0,
) -> Iterator[RowMaps]:
    """As `explain_rows`, for several fusions and the rows of each, all from the same passes.

    One result after another, each made when it is asked for, so that the full-size maps of one fusion are in memory.
    All fusions that flip share one more pass, of the mirrored images. A method that asks the network many times asks
    it anew for each fusion.
    """
    names: dict[str, tuple[str, ...]] = {}
    requests: list[tuple[Fusion, dict[Row, _Request]]] = []
    for fusion, rows in wanted:
        own = {}
        for row in rows:
            method = find_method(row.method)
            if method.has_layers and row.layers not in names:
                names[row.layers] = tuple(resolve_layers(network, row.layers, shape_of(images)))
            own[row] = _Request(method, names[row.layers] if method.has_layers else ())
        requests.append((fusion, own))
    for (fusion, own), (maps, flat, logits, cells) in zip(
        requests, _explain(network, images, requests, target, seed), strict=True
    ):
        yield RowMaps(maps, flat, logits, cells, _resizes(own, cells, fusion))


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


def resolve_layers(network: nn.Module, layers: str | Sequence[str], shape: Shape = DEFAULT_SHAPE) -> list[str]:
    """The module names that a choice of layers stands for: each of "last", "combined" and module names, or several.

    Args:
        shape: of the images that are explained, by which the stages of networks are found that declare none.

    Raises:
        UsageError: when the stages of this network cannot be found, or no layer is named.
    """
    names = [part for text in ([layers] if isinstance(layers, str) else layers) for part in text.split(_JOINT)]
    if not names:
        raise UsageError("no layer is named; give module names, 'last' or 'combined'")
    return list(dict.fromkeys(name for part in names for name in _modules(network, part, shape)))


def _check_images(images: object) -> None:
    remedy = "images are a tensor [N, C, H, W] of floats, preprocessed as the network was trained"
    if not isinstance(images, Tensor):
        raise UsageError(f"{remedy}, not of the type {type(images).__name__}; torch.from_numpy makes one of an array")
    if images.ndim != 4:
        one = "; images[None] is a batch of one" if images.ndim == 3 else ""
        raise UsageError(f"{remedy}, not of the shape {list(images.shape)}{one}")
    if not images.is_floating_point():
        raise UsageError(f"{remedy}, not of {str(images.dtype).removeprefix('torch.')}")


def shape_of(images: Tensor) -> Shape:
    """(channels, height, width) of each of a batch of images."""
    return images.shape[1], images.shape[2], images.shape[3]


def _modules(network: nn.Module, name: str, shape: Shape) -> list[str]:
    if name not in LAYER_CHOICES:
        return [name]
    stages = find_stages(network, shape)
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


def _with_parts(requests: Iterable[_Request]) -> list[_Request]:
    return list(dict.fromkeys(each for request in requests for each in (*request.parts, request)))


class _Passes:
    """What the passes through the network give for the requests, before it is known how layers become full-size maps.

    Attributes:
        logits: float32 [N, classes].
        classes: int64 [N], the explained ones.
        at_layers: the maps [N, h, w] of a request at each of its layers.
        at_input: the maps [N, H, W] of a request that reads the input's gradient.
    """

    def __init__(
        self, network: nn.Module, images: Tensor, requests: Iterable[_Request], target: Target, seed: int
    ) -> None:
        self.network, self.images, self.seed = network, images, seed
        every = _with_parts(requests)
        of_layers = [each for each in every if each.method.reads == "layer"]
        names = dict.fromkeys(name for each in of_layers for name in each.layers)
        if any(each.method.reads == "input" for each in every):
            names[INPUT] = None
        self.logits, captured = capture(network, images, list(names), target)
        self.classes = target_classes(self.logits, target)
        self.at_layers = {each: [each.method.function(captured[name]) for name in each.layers] for each in of_layers}
        self.at_input: dict[_Request, Tensor] = {}
        guided: Captured | None = None
        for each in every:
            if each.method.reads == "input":
                self.at_input[each] = each.method.function(captured[INPUT])
            elif each.method.reads == "guided":
                guided = self._guided() if guided is None else guided
                self.at_input[each] = each.method.function(guided)

    def cells(self, requests: Iterable[_Request], fusion: Fusion) -> dict[str, CellGrid | None]:
        """The places of the cells of the requests' layers; none where the fusion spreads them evenly."""
        if fusion.resize.grid != "centres":
            return {}
        layers = [name for each in _with_parts(requests) for name in each.layers]
        return cell_grids(self.network, self.images, layers)

    def finished(self, requests: Sequence[_Request], fusion: Fusion) -> list[tuple[Tensor, Tensor]]:
        """The maps [N, H, W] of each request, scaled and smoothed, and which are flat."""
        full = self._full(requests, fusion)
        # A gradient may well be finite where the logit it belongs to is not, and then means nothing.
        sound = target_scores(self.logits, self.classes).isfinite()
        return [finished(full[request], sound, fusion.smooth) for request in requests]

    def _full(self, requests: Sequence[_Request], fusion: Fusion) -> dict[_Request, Tensor]:
        """The full-size maps [N, H, W] of the requests and their parts as their methods gave them."""
        every = _with_parts(requests)
        cells = self.cells(requests, fusion)
        raw = {each: self.at_input[each] for each in every if each in self.at_input}
        of_layers = [each for each in every if each in self.at_layers]
        size = (self.images.shape[-2], self.images.shape[-1])
        for layers in dict.fromkeys(each.layers for each in of_layers):
            maps = {each: self.at_layers[each] for each in of_layers if each.layers == layers}
            raw |= fused(maps, [cells.get(name) for name in layers], size, fusion)
        for each in every:
            if each.method.reads == "network":
                own = tuple(cells.get(name) for name in each.layers)
                probe = NetworkProbe(
                    self.network, self.images, self.classes, each.layers, own, fusion.resize, self.seed
                )
                raw[each] = each.method.function(probe)
        for each in every:
            if each.method.reads == "maps":
                raw[each] = each.method.function(*(raw[part] for part in each.parts))
        return raw

    def _guided(self) -> Captured:
        with GuidedRule() as rule:
            _, captured = capture(self.network, self.images, [INPUT], self.classes)
        if not rule.found:
            raise UsageError(
                f"guided backprop needs activation functions like ReLU or SiLU; this {type(self.network).__name__} "
                "has none that can be seen; choose another method"
            )
        return captured[INPUT]


class _Explained:
    """The passes of a batch, and those of its mirror images once a fusion asks for them."""

    def __init__(
        self, network: nn.Module, images: Tensor, requests: Sequence[_Request], target: Target, seed: int
    ) -> None:
        self._requests = requests
        self.own = _Passes(network, images, requests, target, seed)

    @cached_property
    def mirrored(self) -> _Passes:
        own = self.own
        return _Passes(own.network, own.images.flip(-1), self._requests, own.classes, own.seed)

    def results(self, requests: Sequence[_Request], fusion: Fusion) -> Results:
        """Scaled maps and flat flags of the requests, and the logits."""
        found = self.own.finished(requests, fusion)
        if fusion.flip:
            mirrored = self.mirrored.finished(requests, fusion)
            found = [_averaged(one, other) for one, other in zip(found, mirrored, strict=True)]
        return [map_ for map_, _ in found], [flat for _, flat in found], self.own.logits


def _explain(
    network: nn.Module,
    images: Tensor,
    wanted: Sequence[tuple[Fusion, Mapping[_Key, _Request]]],
    target: Target,
    seed: int,
) -> Iterator[_Found[_Key]]:
    """The requests of each fusion in turn, by key."""
    for fusion, requests in wanted:
        fusion.check(len(part.layers) for part in _with_parts(requests.values()))
    every = list(dict.fromkeys(request for _, requests in wanted for request in requests.values()))
    batch = Halved(lambda images, target: _Explained(network, images, every, target, seed), images, target)
    for fusion, requests in wanted:
        yield _fused(batch, fusion, requests)


def _fused(batch: Halved[_Explained], fusion: Fusion, requests: Mapping[_Key, _Request]) -> _Found[_Key]:
    own = list(requests.values())
    cells: dict[str, CellGrid | None] = {}

    def finish(explained: _Explained) -> Results:
        cells.update(explained.own.cells(own, fusion))
        return explained.results(own, fusion)

    maps, flat, logits = batch.results(finish)
    return dict(zip(requests, maps, strict=True)), dict(zip(requests, flat, strict=True)), logits, cells


def _resizes(
    requests: Mapping[_Key, _Request], cells: Mapping[str, CellGrid | None], fusion: Fusion
) -> dict[_Key, RecordedResize]:
    """The resize of each map, as it was done."""
    return {key: fusion.recorded([cells.get(name) for name in each.layers]) for key, each in requests.items()}


def _averaged(own: tuple[Tensor, Tensor], mirrored: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The mean of finished maps and those of the mirrored images; one that is flat has no say."""
    scaled, flat = scale(own[0] + mirrored[0].flip(-1))
    return scaled, flat | (own[1] & mirrored[1])
