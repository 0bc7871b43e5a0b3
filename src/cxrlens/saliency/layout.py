"""The layout of a layer's output: [N, C, h, w], [N, h, w, C] as transformers with windows give it, or tokens [N, L, C].

A shape alone does not say it. The module that ran last before the output does: a linear layer or a layer norm works on
the last dimension, which holds the channels then, a convolution on the second. A module behind them may have moved the
channels, so that their number and the input's height and width are looked at too. Where these leave two possibilities,
rows and columns are followed through the operations of a pass (`settle_layouts`), as for the places of cells.

Tokens are the cells of a map row after row, behind some that stand for no place (a class token, registers). How many
those are, a network says as timm's do (``num_prefix_tokens``); the map's height and width are those of the convolution
that cut the image into patches. Tokens that fit no such map, or several, are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torchvision.models import VisionTransformer

from cxrlens.errors import UsageError
from cxrlens.saliency.cells.tracing import traced_dimensions


@dataclass(frozen=True)
class Tokens:
    """The layout of tokens [N, L, C].

    Attributes:
        prefix: the number of tokens of no place, which come first.
        height: rows of the map that the others are.
        width: its columns.
    """

    prefix: int
    height: int
    width: int


Layout: TypeAlias = Literal["first", "last"] | Tokens
"""The place of the channels among (N, ...)."""

_Size: TypeAlias = tuple[int, int]

_known: WeakKeyDictionary[nn.Module, dict[_Size, Layout]] = WeakKeyDictionary()  # by layer and size of the images


class AmbiguousLayoutError(UsageError):
    """A map may have its channels in two places, as far as shapes tell.

    Attributes:
        layer: its name.
    """

    def __init__(self, layer: str, text: str) -> None:
        super().__init__(text)
        self.layer = layer


class LayoutTrial:
    """The leaves that ran in a forward pass, from which the layout of layers is told.

    Args:
        network: whose layers they are.
        count: of the images.
        size: (height, width) of the network's input.
    """

    def __init__(self, network: nn.Module, count: int, size: _Size) -> None:
        self._count = count
        self._size = size
        self._prefixes = {0, *_prefixes(network)}
        self._before: tuple[Literal["first", "last"], int] | None = None  # the channels' place and number in the last
        self._maps: dict[_Size, None] = {}  # heights and widths of telling outputs that may show the input

    def watched(self, network: nn.Module, layers: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
        """The modules to be watched by `see`: none where the layout of all layers is known."""
        if all(self._size in _known.get(module, {}) for module in layers.values()):
            return {}
        return {name: module for name, module in network.named_modules() if not list(module.children())}

    def see(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """Note a leaf that has run."""
        if not isinstance(output, Tensor) or output.ndim != 4:
            return
        if isinstance(module, nn.Linear | nn.LayerNorm):
            # Layer norms of a class of their own may work on the second dimension.
            channels = module.out_features if isinstance(module, nn.Linear) else int(module.normalized_shape[-1])
            is_first = type(module) not in (nn.Linear, nn.LayerNorm) and output.shape[3] != channels
            self._before = ("first" if is_first else "last"), channels
            self._note(output.shape[0], *(output.shape[2:] if is_first else output.shape[1:3]))
        elif isinstance(module, nn.modules.conv._ConvNd | nn.BatchNorm2d | nn.GroupNorm | nn.InstanceNorm2d):
            self._before = "first", output.shape[1]
            self._note(output.shape[0], output.shape[2], output.shape[3])

    def layout(self, name: str, module: nn.Module, output: Tensor) -> Layout:
        """The layout of a layer's output of three or four dimensions, which has just been made.

        Raises:
            UsageError: when it cannot be known.
        """
        known = _known.setdefault(module, {})
        if self._size not in known or not _fits(output, known[self._size]):
            found = self._tokens(name, output) if output.ndim == 3 else self._map(output)
            if found is None:  # a size that tells nothing; the layer itself has been seen at another
                found = next((each for each in known.values() if not isinstance(each, Tokens)), None)
            if found is None:
                raise AmbiguousLayoutError(
                    name,
                    f"layer '{name}' gives {list(output.shape)}, of which it cannot be known whether it is a map "
                    "[N, C, h, w] or [N, h, w, C]; name another layer, or explain images of another size",
                )
            known[self._size] = found
        return known[self._size]

    def _note(self, count: int, height: int, width: int) -> None:
        if count == self._count and height * width > 1 and self.is_likely(height, width):
            self._maps[height, width] = None

    def _map(self, output: Tensor) -> Literal["first", "last"] | None:
        _, second, third, last = output.shape
        as_first, as_last = self.is_likely(third, last), self.is_likely(second, third)
        place, channels = self._before or ("first", second)
        if place == "first":
            return "last" if as_last and not as_first and channels == last and channels != second else "first"
        is_first, is_last = second == channels and as_first, last == channels and as_last
        return None if is_first == is_last else "first" if is_first else "last"

    def _tokens(self, name: str, output: Tensor) -> Tokens:
        count, length, channels = output.shape
        found = [
            Tokens(length - height * width, height, width)
            for height, width in self._maps
            if length - height * width in self._prefixes
        ]
        if count == self._count and length != channels and len(found) == 1:
            return found[0]
        raise UsageError(
            f"layer '{name}' gives no map [N, C, h, w] but {list(output.shape)}, which are no tokens [N, L, C] of "
            "patches whose places in the image are known; name another layer, explain images of another size, or let "
            "the network say by an attribute num_prefix_tokens how many of its tokens stand for no place"
        )

    def is_likely(self, height: int, width: int) -> bool:
        """True where a map of that size may show the input: no larger, and of its aspect, up to a rounded pixel."""
        tall, wide = self._size
        return height <= tall and width <= wide and abs(height * wide - width * tall) <= 1.5 * max(tall, wide)


def _prefixes(network: nn.Module) -> Iterator[int]:
    """How many tokens of no place the network, or a part of it, says to have."""
    for module in network.modules():
        if isinstance(module, VisionTransformer):
            yield 1
        said = module.__dict__.get("num_prefix_tokens")
        if isinstance(said, int):
            yield said


def settle_layouts(network: nn.Module, image: Tensor, names: Iterable[str]) -> bool:
    """Find out the layout of layers whose shapes do not tell it, by following rows and columns through the operations.

    It costs a pass through the network.

    Args:
        network: in evaluation mode.
        image: [1, C, H, W], on the network's device; its values do not count.
        names: of the layers.

    Returns:
        True where all of them are known now.
    """
    size = (image.shape[2], image.shape[3])
    modules = {name: network.get_submodule(name) for name in names}
    found = traced_dimensions(network, image, modules)
    for name, module in modules.items():
        dimensions = found[name]
        if dimensions in ((2, 3), (1, 2)):
            _known.setdefault(module, {})[size] = "first" if dimensions == (2, 3) else "last"
    return all(size in _known.get(module, {}) for module in modules.values())


def _fits(output: Tensor, layout: Layout) -> bool:
    """False of a layout that the layer had when it ran before, on something else."""
    if isinstance(layout, Tokens):
        return output.ndim == 3 and output.shape[1] == layout.prefix + layout.height * layout.width
    return output.ndim == 4


def known_layout(layer: nn.Module, size: _Size) -> Layout:
    """The layout of a layer that has been captured, for images of a (height, width).

    It is [N, C, h, w] also where its closed form needed no look at it.
    """
    return _known.get(layer, {}).get(size, "first")


def channels_first(values: Tensor, layout: Layout) -> Tensor:
    """[N, C, h, w] of any layout."""
    if isinstance(layout, Tokens):
        patches = values[:, layout.prefix :].transpose(1, 2)
        return patches.unflatten(2, (layout.height, layout.width))  # type: ignore[no-untyped-call]
    return values if layout == "first" else values.permute(0, 3, 1, 2)
