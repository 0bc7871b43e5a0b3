"""Logits and maps of images as one module of forward operations, which can be exported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, fx, nn

from cxrlens.errors import UsageError
from cxrlens.saliency.capture import INPUT, Captured
from cxrlens.saliency.cells.grid import CellGrid
from cxrlens.saliency.cells.known import cell_grids
from cxrlens.saliency.explain import Row, resolve_layers, shape_of
from cxrlens.saliency.fusion import DEFAULT_FUSION, Fusion, finished, fused
from cxrlens.saliency.joint_graph.tidying import to_single
from cxrlens.saliency.joint_graph.tracing import traced_joint
from cxrlens.saliency.methods import SaliencyMethod, find_method
from cxrlens.saliency.target import Target, target_classes, target_scores

READS = ("layer", "input")
"""What the methods of a graph may read: the activations and gradients of one pass."""


class JointGraph(nn.Module):
    """One forward and one partial backward pass by forward operations: what `capture` gives, without autograd.

    Args:
        network: in evaluation mode.
        shape: (channels, height, width) of an image.
        layers: as of `capture`.
        target: not one class per image.

    Raises:
        UsageError: see `traced_joint`.
    """

    def __init__(self, network: nn.Module, shape: tuple[int, int, int], layers: Sequence[str], target: Target) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.passes: fx.GraphModule = traced_joint(network, shape, self.layers, target)

    def forward(self, images: Tensor) -> tuple[Tensor, dict[str, Captured]]:
        """Images [N, channels, height, width] -> logits [N, classes], and the captured pair of each layer."""
        logits, pairs = self.passes(images)
        return logits, {name: Captured(*pair) for name, pair in zip(self.layers, pairs, strict=True)}


class MapGraph(nn.Module):
    """The maps of `explain_rows` by forward operations alone, for images of one size.

    Attributes:
        rows: in the order of the maps.
        cells: of the layers, see `cxrlens.saliency.explain.SaliencyMaps`.
        layers: of each row, the modules; none where the method reads none.
    """

    def __init__(
        self,
        network: nn.Module,
        images: Tensor,
        rows: Iterable[Row],
        *,
        target: Target = "affected",
        fusion: Fusion = DEFAULT_FUSION,
    ) -> None:
        """A graph of a network.

        Args:
            network: in evaluation mode.
            images: [N, channels, H, W], an example on the network's device, whose values do not count.
            rows: of methods that read a layer, or the input's gradient.
            target: not one class per image.
            fusion: without mirrored images.

        Raises:
            UsageError: when one pass does not give a row, `JointGraph` refuses the network, or the fusion is unfit.
        """
        super().__init__()
        self.rows = tuple(dict.fromkeys(rows))
        self._methods = {row: _method(row) for row in self.rows}
        if fusion.flip:
            raise UsageError("a graph gives no maps of mirrored images; leave the flip out")
        self.layers: Mapping[Row, tuple[str, ...]] = {
            row: tuple(resolve_layers(network, row.layers, shape_of(images))) if method.has_layers else ()
            for row, method in self._methods.items()
        }
        fusion.check(len(names) for names in self.layers.values())
        self._target, self._fusion = target, fusion
        captured = dict.fromkeys(name for row in self.rows for name in self.layers[row] or (INPUT,))
        channels, height, width = images.shape[1:]
        self.joint = JointGraph(network, (channels, height, width), list(captured), target)
        self._size = (height, width)
        own = [name for name in captured if name != INPUT]
        is_placed = fusion.resize.grid == "centres"
        self.cells: Mapping[str, CellGrid | None] = cell_grids(network, images, own) if is_placed else {}

    def to_single(self) -> None:
        """Make the graph of a network in double precision, in place, one that takes and computes float32."""
        to_single(self.joint.passes)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Images [N, channels, H, W] -> logits [N, classes], and of each row the maps [N, H, W] and flat flags [N]."""
        logits, captured = self.joint(images)
        sound = target_scores(logits, target_classes(logits, self._target)).isfinite()
        raw = {row: self._methods[row].function(captured[INPUT]) for row in self.rows if not self.layers[row]}
        for names in dict.fromkeys(filter(None, self.layers.values())):
            maps = {
                row: [self._methods[row].function(captured[name]) for name in names]
                for row in self.rows
                if self.layers[row] == names
            }
            raw |= fused(maps, [self.cells.get(name) for name in names], self._size, self._fusion)
        found = [finished(raw[row], sound, self._fusion.smooth) for row in self.rows]
        return logits, [maps for maps, _ in found], [flat for _, flat in found]


def _method(row: Row) -> SaliencyMethod:
    method = find_method(row.method)
    if method.reads not in READS:
        raise UsageError(
            f"the map of '{row.method}' takes more than one forward and one backward pass, which one graph cannot "
            "give; choose a method that reads activations and gradients"
        )
    return method
