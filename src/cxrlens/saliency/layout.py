"""The layout of a layer's output: [N, C, h, w], or [N, h, w, C] as transformers with windows give it.

A shape alone does not say it. The module that ran last before the output does: a linear layer or a layer norm works on
the last dimension, which holds the channels then, a convolution on the second. A module behind them may have moved the
channels, so that their number and the input's height and width are looked at too.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from cxrlens.errors import UsageError

Layout: TypeAlias = Literal["first", "last"]
"""The place of the channels among (N, ...)."""

_known: WeakKeyDictionary[nn.Module, Layout] = WeakKeyDictionary()  # by layer


class LayoutTrial:
    """The leaves that ran in a forward pass, from which the layout of layers is told.

    Args:
        size: (height, width) of the network's input.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._before: tuple[Layout, int] | None = None  # the channels' place and number in the last telling output

    @staticmethod
    def watched(network: nn.Module, layers: dict[str, nn.Module]) -> dict[str, nn.Module]:
        """The modules to be watched by `see`: none where the layout of all layers is known."""
        if all(module in _known for module in layers.values()):
            return {}
        return {name: module for name, module in network.named_modules() if not list(module.children())}

    def see(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """Note a leaf that has run."""
        if not isinstance(output, Tensor) or output.ndim != 4:
            return
        if type(module) in (nn.Linear, nn.LayerNorm):
            self._before = "last", output.shape[3]
        elif isinstance(module, nn.modules.conv._ConvNd | nn.BatchNorm2d | nn.GroupNorm | nn.InstanceNorm2d):
            self._before = "first", output.shape[1]

    def layout(self, name: str, module: nn.Module, output: Tensor) -> Layout:
        """The layout of a layer's output of four dimensions, which has just been made.

        Raises:
            UsageError: when it cannot be known.
        """
        if module not in _known:
            _known[module] = self._judged(name, output)
        return _known[module]

    def _judged(self, name: str, output: Tensor) -> Layout:
        _, second, third, last = output.shape
        as_first, as_last = self._is_likely(third, last), self._is_likely(second, third)
        place, channels = self._before or ("first", second)
        if place == "first":
            return "last" if as_last and not as_first and channels == last and channels != second else "first"
        is_first, is_last = second == channels and as_first, last == channels and as_last
        if is_first == is_last:
            raise UsageError(
                f"layer '{name}' gives {list(output.shape)}, of which it cannot be known whether it is a map "
                "[N, C, h, w] or [N, h, w, C]; name another layer, or explain images of another size"
            )
        return "first" if is_first else "last"

    def _is_likely(self, height: int, width: int) -> bool:
        """True where a map of that size may show the input: no larger, and of its aspect, up to a rounded pixel."""
        tall, wide = self._size
        return height <= tall and width <= wide and abs(height * wide - width * tall) <= 1.5 * max(tall, wide)


def known_layout(layer: nn.Module) -> Layout:
    """The layout of a layer that has been captured: [N, C, h, w] also where its closed form needed no look at it."""
    return _known.get(layer, "first")


def channels_first(values: Tensor, layout: Layout) -> Tensor:
    """[N, C, h, w] of either layout."""
    return values if layout == "first" else values.permute(0, 3, 1, 2)
