"""Any attribution class of captum as a method: ``captum:NAME``.

What an attribution class cannot do without is filled in: windows of an eighth of the side for occlusion, a grid of
8 x 8 squares as features for perturbation methods, 0 of the normalised input as the baseline.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cxrlens.errors import UsageError
from cxrlens.saliency.capture import capture
from cxrlens.saliency.layout import known_layout
from cxrlens.saliency.memory import is_out_of_memory
from cxrlens.saliency.methods.registry import SaliencyMethod
from cxrlens.saliency.norms import norm1
from cxrlens.saliency.probe import NetworkProbe
from cxrlens.saliency.target import as_logits

PREFIX = "captum:"
_SQUARES = 8  # per side
_random_streams = Lock()  # the global ones, which captum draws from


def captum_method(id_: str) -> SaliencyMethod:
    """The method of an attribution class.

    Raises:
        UsageError: when captum is not installed, has no such class (near matches are listed), or the class needs
            more than a network, a layer and images.
    """
    name = id_.removeprefix(PREFIX)
    kind = _find(name)

    def function(probe: NetworkProbe) -> Tensor:
        return _attribute(kind, probe)

    return SaliencyMethod(
        id=id_,
        title=f"{name} (captum)",
        formula=f"channel sum of magnitudes of captum's {name}",
        source="captum",
        cost="captum's",
        reads="network",
        function=function,
        has_layers="layer" in inspect.signature(kind).parameters,
    )


def _find(name: str) -> type[Any]:
    try:
        from captum import attr
    except ImportError as error:
        raise UsageError(f"'{PREFIX}{name}' needs captum; install it with: pip install captum") from error
    known = _fit_classes(attr)
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    meant = f"near matches: {', '.join(near)}" if near else f"known: {', '.join(sorted(known))}"
    raise UsageError(f"captum has no attribution class '{name}' that explains an image with a network; {meant}")


@cache
def _fit_classes(attr: ModuleType) -> Mapping[str, type[Any]]:
    """The classes of ``captum.attr`` that can take part, by name; inspecting them all takes a while."""
    return {
        key: value
        for key, value in vars(attr).items()
        if inspect.isclass(value) and issubclass(value, attr.Attribution) and _is_fit(value)
    }


def _is_fit(kind: type[Any]) -> bool:
    """True of a class that is built from a network, and a layer at most, and gives attributions of images."""
    needed = [p.name for p in inspect.signature(kind).parameters.values() if p.default is p.empty]
    if not needed or needed[0] not in ("forward_func", "model") or needed[1:] not in ([], ["layer"]):
        return False
    attribute = getattr(kind, "attribute", None)
    if not inspect.isfunction(attribute):
        return False
    asked = inspect.signature(attribute).parameters
    return "neuron_selector" not in asked and "inputs" in asked


def _attribute(kind: type[Any], probe: NetworkProbe) -> Tensor:
    from captum.attr import LayerAttribution

    network = _Logits(probe.network)
    network.training = False  # not eval(), which would reach into the user's network
    layered = "layer" in inspect.signature(kind).parameters
    if layered and len(probe.layers) != 1:
        raise UsageError(f"captum's {kind.__name__} explains one layer at a time; give `layers=last` or a module name")
    if layered:
        _refuse_other_layouts(kind, probe)
    attribution = kind(network, probe.network.get_submodule(probe.layers[0])) if layered else kind(network)
    images = probe.images.detach().clone()
    options = _options(kind, images, probe.classes)
    with _seeded(probe.seed), torch.enable_grad():
        try:
            values = attribution.attribute(images, **options)
        except (AssertionError, AttributeError, TypeError, ValueError, RuntimeError, NotImplementedError) as error:
            if is_out_of_memory(error):
                raise
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UsageError(f"captum's {kind.__name__} cannot explain this network: {reason}") from error
    if not isinstance(values, Tensor) or values.ndim != 4:
        raise UsageError(f"captum's {kind.__name__} gives no map [N, C, h, w] here; name a convolutional layer")
    values = values.detach().float()
    # A layer's map of one channel has a sign that counts: evidence against the class is no evidence for it.
    signed = issubclass(kind, LayerAttribution) and values.shape[1] == 1
    return probe.at_input_size(values[:, 0] if signed else norm1(values))


def _refuse_other_layouts(kind: type[Any], probe: NetworkProbe) -> None:
    """captum takes the second dimension for the channels, whatever it is."""
    (layer,) = probe.layers
    capture(probe.network, probe.images[:1], [layer], probe.classes[:1])
    size = (probe.images.shape[2], probe.images.shape[3])
    if known_layout(probe.network.get_submodule(layer), size) != "first":
        raise UsageError(
            f"captum's {kind.__name__} takes maps [N, C, h, w] only, and layer '{layer}' has its channels at the end; "
            "choose a method that is not captum's, or another layer"
        )


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the random streams that captum draws from, for one thread at a time, and put them back whatever happens."""
    with _random_streams, torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        state = np.random.get_state()  # noqa: NPY002
        try:
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002


def _options(kind: type[Any], images: Tensor, classes: Tensor) -> Mapping[str, Any]:
    """Arguments of ``attribute`` beyond images."""
    parameters = inspect.signature(kind.attribute).parameters
    _, channels, height, width = images.shape
    options: dict[str, Any] = {"target": classes.tolist()} if "target" in parameters else {}
    if "sliding_window_shapes" in parameters:
        window = (channels, max(height // _SQUARES, 1), max(width // _SQUARES, 1))
        options["sliding_window_shapes"] = window
        options["strides"] = (channels, max(window[1] // 2, 1), max(window[2] // 2, 1))
    elif "feature_mask" in parameters:
        rows = torch.arange(height, device=images.device) * _SQUARES // height
        columns = torch.arange(width, device=images.device) * _SQUARES // width
        options["feature_mask"] = (rows[:, None] * _SQUARES + columns)[None, None].repeat(1, channels, 1, 1)
    if "baselines" in parameters and parameters["baselines"].default is inspect.Parameter.empty:
        options["baselines"] = torch.zeros_like(images[:1]).repeat(2, 1, 1, 1)
    return options


class _Logits(nn.Module):
    """The network with its output as logits [N, classes], see `as_logits`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return as_logits(self.network(images))
