"""The model of a server, whatever runs it: the maps that it offers, and who makes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cxrlens.errors import UsageError
from cxrlens.inspection.inspector import Inspector
from cxrlens.inspection.model_facts import ModelIdentity
from cxrlens.inspection.onnx_inspector import OnnxInspector
from cxrlens.inspection.quality_model import DEFAULT_LAYERS, DEFAULT_METHOD, QualityModel
from cxrlens.inspection.torch_inspector import TorchInspector
from cxrlens.models.card import ModelCard
from cxrlens.saliency.explain import LAYER_CHOICES, Row, make_row
from cxrlens.saliency.fusion import DEFAULT_FUSION, Fusion
from cxrlens.saliency.methods import SaliencyMethod, find_method, usable_methods
from cxrlens.saliency.resizing import MapResize


@dataclass(frozen=True)
class ExplanationRequest:
    """The explanation that an image is to get; only images of the same request share a pass."""

    row: Row
    fusion: Fusion = DEFAULT_FUSION


@dataclass(frozen=True)
class OfferedMethod:
    """A method whose maps a server makes, and at which layers; none where it reads the input alone."""

    method: SaliencyMethod
    layers: tuple[str, ...]


@dataclass(frozen=True)
class OfferedMaps:
    """The maps of a server.

    Attributes:
        methods: to choose from.
        default: the row of a request that names none.
        fusion: resize and flip of all maps.
    """

    methods: tuple[OfferedMethod, ...]
    default: Row
    fusion: Fusion


class ServedModel(Protocol):
    """A model that answers requests.

    Attributes:
        runtime: what runs it: torch, onnx or openvino.
        precision: in which it multiplies.
        device: where it runs.
        same_batches: an image's numbers hang on the size of its batch in their last digits, beyond that of a batch
            of one.
    """

    @property
    def runtime(self) -> str: ...

    @property
    def precision(self) -> str: ...

    @property
    def device(self) -> str: ...

    @property
    def same_batches(self) -> bool: ...

    @property
    def card(self) -> ModelCard: ...

    @property
    def identity(self) -> ModelIdentity: ...

    def maps(self, fusion: Fusion, *, slow_methods: bool) -> OfferedMaps:
        """What it offers.

        Args:
            fusion: resize and flip, of a model that has none of its own.
            slow_methods: offer methods too that ask the network many times for one map.
        """
        ...

    def check(self, request: ExplanationRequest) -> None:
        """Find out before any work whether it can be answered.

        Raises:
            UsageError: when it cannot.
        """
        ...

    def inspector(self, request: ExplanationRequest) -> Inspector:
        """Who answers requests of this kind."""
        ...


class TorchServedModel:
    """A model file, run by torch: any method at any layer."""

    runtime = "torch"

    def __init__(self, model: QualityModel) -> None:
        self._model = model
        self.precision: str = model.precision
        self.device = str(model.device)
        self.same_batches = model.device.type != "cpu"

    @property
    def card(self) -> ModelCard:
        return self._model.card

    @property
    def identity(self) -> ModelIdentity:
        return self._model.identity

    def maps(self, fusion: Fusion, *, slow_methods: bool) -> OfferedMaps:
        """See `ServedModel`. A method that asks the network many times holds up everybody else."""
        offered = (method for method in usable_methods() if slow_methods or method.reads != "network")
        methods = tuple(OfferedMethod(each, LAYER_CHOICES if each.has_layers else ()) for each in offered)
        return OfferedMaps(methods, make_row(DEFAULT_METHOD, DEFAULT_LAYERS), fusion)

    def check(self, request: ExplanationRequest) -> None:
        """See `ServedModel`."""
        self._model.check_rows([request.row], request.fusion)

    def inspector(self, request: ExplanationRequest) -> Inspector:
        """See `ServedModel`."""
        return TorchInspector(self._model, request.row, request.fusion)


class ExportedServedModel:
    """An exported model: the maps of its graph, and no others."""

    def __init__(self, inspector: OnnxInspector) -> None:
        info = inspector.model.info
        self._inspector = inspector
        self._rows = tuple(Row(method, info.layers) for method in info.methods)
        self._resize = info.grid, info.interpolation
        self.runtime = inspector.name
        self.precision = inspector.precision
        self.device = inspector.model.device
        self.same_batches = self.device != "cpu"

    @property
    def card(self) -> ModelCard:
        return self._inspector.card

    @property
    def identity(self) -> ModelIdentity:
        return self._inspector.identity

    def maps(self, fusion: Fusion, *, slow_methods: bool) -> OfferedMaps:
        """See `ServedModel`."""
        methods = tuple(OfferedMethod(find_method(row.method), (row.layers,)) for row in self._rows)
        return OfferedMaps(methods, self._rows[0], Fusion(resize=MapResize(*self._resize)))

    def check(self, request: ExplanationRequest) -> None:
        """See `ServedModel`."""
        if request.row not in self._rows or request.fusion.smooth is not None:
            methods = " and ".join(row.method for row in self._rows)
            raise UsageError(
                f"this server runs an exported model, which gives maps of {methods} at the layers "
                f"'{self._rows[0].layers}' alone, not smoothed; leave method, layers and smooth out"
            )

    def inspector(self, request: ExplanationRequest) -> Inspector:
        """See `ServedModel`."""
        return OnnxInspector(self._inspector.model, self._inspector.identity, method=request.row.method)


def served(model: QualityModel | OnnxInspector) -> ServedModel:
    """A loaded model as a server takes it."""
    return TorchServedModel(model) if isinstance(model, QualityModel) else ExportedServedModel(model)
