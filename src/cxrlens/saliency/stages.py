"""The layers of a network that are explained as "last" and as "combined": as declared, or found by a pass through it.

A layer may be explained whose output is a map of more than one cell (see `cxrlens.saliency.layout`) that the logits
depend on; parts of a block that is one count by it. *Last* is the last of these that runs: of networks that pool, the
one in front of the pooling; of a vision transformer that reads its class token, the norm in front of the last
attention, as what its last block makes of the patches goes nowhere. *Combined* are the last ones of each stride from 4
on; of a network of one stride, the blocks after a quarter, a half and three quarters of the depth, and the last layer.

Whether the logits depend on a layer is seen from a gradient, on a copy with random weights: those of a network may be
zero, as they are where a training begins.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from cxrlens.errors import UsageError
from cxrlens.models.registry import Stages, stages_of
from cxrlens.saliency.capture import check_network
from cxrlens.saliency.cells.measuring import draw_weights
from cxrlens.saliency.hooks import forward_hooks
from cxrlens.saliency.layout import AmbiguousLayoutError, LayoutTrial, channels_first, settle_layouts
from cxrlens.saliency.target import as_logits

Shape: TypeAlias = tuple[int, int, int]
"""(channels, height, width) of an image."""

DEFAULT_SHAPE: Shape = (3, 224, 224)

_LEAST_STRIDE = 4
_SHARES = (1 / 4, 1 / 2, 3 / 4)  # of the blocks of a network of one stride

_NO_LAYERS = (nn.Identity, nn.modules.dropout._DropoutNd, nn.Linear)
"""What passes its input on, and what works on each token by itself, which are parts of whatever holds them."""

_found: WeakKeyDictionary[nn.Module, dict[Shape, Stages]] = WeakKeyDictionary()


def find_stages(network: nn.Module, shape: Shape = DEFAULT_SHAPE) -> Stages:
    """The stages of a network for images of a shape; one that declares none is run once for each shape.

    Args:
        network: in evaluation mode.

    Raises:
        UsageError: when no layer can be found.
    """
    declared = stages_of(network)
    if declared is not None:
        return declared
    known = _found.setdefault(network, {})
    if shape not in known:
        check_network(network, explained=True)
        known[shape] = _stages(network, shape)
    return known[shape]


def map_sizes(network: nn.Module, shape: Shape, layers: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Rows and columns of the maps of layers, for images of a shape.

    Args:
        network: in evaluation mode, on any device, the meta device too.
    """
    sizes: dict[str, tuple[int, int]] = {}
    modules = {name: network.get_submodule(name) for name in layers}
    image = torch.zeros(1, *shape, device=next(network.parameters()).device)
    trial = LayoutTrial(network, 1, shape[1:])
    leaves = trial.watched(network, modules)

    def see(name: str, inputs: tuple[Any, ...], output: Any) -> None:
        if name in leaves:
            trial.see(leaves[name], inputs, output)
        if name in modules:
            height, width = channels_first(output, trial.layout(name, modules[name], output)).shape[2:]
            sizes[name] = (height, width)

    with torch.no_grad(), forward_hooks({**leaves, **modules}, see):
        network(image)
    return sizes


class _Maps:
    """The maps that a pass through a network makes.

    Attributes:
        sizes: rows and columns of each layer's, in the order in which they ran.
        reached: the layers that the logits depend on.
        ambiguous: the layers whose layout cannot be told from shapes.
        unplaced: shapes of outputs, by layer, that may be tokens, whose places are not known, and which the logits
            depend on.
    """

    def __init__(self, network: nn.Module, pixels: Tensor) -> None:
        self.sizes: dict[str, tuple[int, int]] = {}
        self.reached: set[str] = set()
        self.ambiguous: set[str] = set()
        self.unplaced: dict[str, list[int]] = {}
        self.order: dict[str, int] = {}
        self._modules = {name: module for name, module in network.named_modules() if name}
        self._repeated: set[str] = set()
        self._count = pixels.shape[0]
        self._trial = LayoutTrial(network, pixels.shape[0], (pixels.shape[2], pixels.shape[3]))
        with torch.autocast(pixels.device.type, enabled=False), torch.enable_grad():
            with forward_hooks(self._modules, self._see):
                logits = as_logits(network(pixels))
            signs = torch.tensor([(-1.0) ** place * (place + 1) for place in range(logits.shape[1])])
            torch.autograd.grad((logits.float() * signs.to(logits.device)).sum(), pixels)
        for name in self._repeated:
            self.sizes.pop(name, None)

    def _see(self, name: str, inputs: tuple[Any, ...], output: Any) -> None:
        module = self._modules[name]
        if not list(module.children()):
            self._trial.see(module, inputs, output)
        if not isinstance(output, Tensor) or output.ndim not in (3, 4) or not output.requires_grad:
            return
        self.order[name] = len(self.order)
        try:
            layout = self._trial.layout(name, module, output)
        except AmbiguousLayoutError:
            self.ambiguous.add(name)
            return
        except UsageError:
            if output.ndim == 3 and output.shape[0] == self._count and output.shape[1] > 1:
                self._note(output, lambda gradient: gradient, lambda: self.unplaced.update({name: list(output.shape)}))
            return
        if name in self.sizes:
            self._repeated.add(name)
        height, width = channels_first(output, layout).shape[2:]
        if height * width > 1 and self._trial.is_likely(height, width):
            self.sizes[name] = (height, width)
            self._note(output, lambda gradient: channels_first(gradient, layout), lambda: self.reached.add(name))

    def _note(self, output: Tensor, part: Callable[[Tensor], Tensor], do: Callable[[], None]) -> None:
        """Do something once the gradient of a part of an output turns out not to be 0 everywhere."""

        def look(gradient: Tensor) -> None:
            if bool((part(gradient) != 0).any()):
                do()

        output.register_hook(look)  # type: ignore[no-untyped-call]


def _stages(network: nn.Module, shape: Shape) -> Stages:
    try:
        double = copy.deepcopy(network).eval().requires_grad_(False)
        stream = torch.Generator().manual_seed(0)
        draw_weights(double, stream)
        weights: list[Tensor] = [each for each in network.parameters() if each.is_floating_point()] or [torch.empty(0)]
        types = {each.dtype for each in weights}
        pixels = torch.randn((1, *shape), generator=stream)
        pixels = pixels.to(weights[0].device, types.pop() if len(types) == 1 else torch.float32).requires_grad_()
        maps = _Maps(double, pixels)
        if maps.ambiguous:
            settle_layouts(double, pixels.detach(), maps.ambiguous)
            maps = _Maps(double, pixels)
    except (RuntimeError, TypeError, ValueError, NotImplementedError, AssertionError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"the layers of this {type(network).__name__} cannot be found by a pass through it ({reason}); name the "
            "ones to be explained: `layers=NAME`, several joined by +"
        ) from error
    names = _whole(double, [name for name in maps.sizes if name in maps.reached])
    if not names:
        raise UsageError(
            f"no layer of this {type(network).__name__} gives a map that its logits depend on, as far as can be told; "
            "name the ones to be explained: `layers=NAME`, several joined by +"
        )
    behind = [name for name in maps.unplaced if maps.order[name] > maps.order[names[-1]]]
    if behind:
        raise UsageError(
            f"the last layers of this {type(network).__name__} give tokens whose places in the image are not known "
            f"('{behind[-1]}': {maps.unplaced[behind[-1]]}); name the ones to be explained: `layers=NAME`, several "
            f"joined by +, such as {names[-1]}"
        )
    return Stages(names[-1], _combined(double, names, maps.sizes, shape[1]))


def _whole(network: nn.Module, names: list[str]) -> list[str]:
    """The layers that are no parts of blocks that are layers themselves, and that do something by themselves.

    A block is any module but a row of others (`nn.Sequential`): the parts of a row are layers as those of no block are,
    and the last of them stands for it.
    """
    modules = dict(network.named_modules())
    rows = {name for name, module in modules.items() if type(module).forward is nn.Sequential.forward}
    blocks = {name for name in names if name not in rows}
    whole = [
        name
        for name in names
        if not isinstance(modules[name], _NO_LAYERS) and not any(above in blocks for above in _above(name))
    ]
    parted = {above for name in whole for above in _above(name) if above in rows}
    return [name for name in whole if name not in parted]


def _above(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _combined(network: nn.Module, names: list[str], sizes: dict[str, tuple[int, int]], height: int) -> tuple[str, ...]:
    """The layers that are combined, of all that are maps, in the order in which they ran."""
    last_of = {sizes[name]: name for name in names}
    if len(last_of) == 1:
        blocks = _blocks(network, names)
        chosen = [blocks[math.ceil(len(blocks) * share) - 1] for share in _SHARES] if blocks else []
        return tuple(dict.fromkeys((*chosen, names[-1])))
    coarse = [name for size, name in last_of.items() if height / size[0] > _LEAST_STRIDE - 0.5]
    return tuple(dict.fromkeys((*(coarse or last_of.values()), names[-1])))


def _blocks(network: nn.Module, names: list[str]) -> list[str]:
    """The longest row of modules of one kind, one behind the other."""
    rows: dict[str, list[str]] = {}
    for name in names:
        rows.setdefault(name.rpartition(".")[0], []).append(name)
    alike = [row for row in rows.values() if len({type(network.get_submodule(name)) for name in row}) == 1]
    longest = max(alike, key=len, default=[])
    return longest if len(longest) > 1 else []
