"""The places of a layer's cells, read off the operations of a forward pass.

Every tensor on the way from the input carries, for each of its dimensions, the places of its entries along the height
or the width of the input. A convolution or a pooling window moves them by what its kernel, stride, padding and dilation
say (its window's middle is the place of its output), a sum joins tensors of the same places, and what works on each
entry by itself leaves them alone. This is the arithmetic of receptive fields (Araujo et al., Distill 2019), on the
operations that really run, so that it holds for functions as for modules. Where an operation is not known to
keep places, or two ways to a layer disagree, the places beyond it are not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from cxrlens.saliency.cells.grid import CellAxis, CellGrid
from cxrlens.saliency.hooks import forward_hooks

aten = torch.ops.aten


@dataclass(frozen=True)
class _Axis:
    """The places of a dimension's entries along the input's height (0) or width (1)."""

    side: int
    cells: CellAxis


@dataclass(frozen=True)
class _Merged:
    """A dimension that several were flattened into: their sizes and places."""

    parts: tuple[tuple[int, _Place], ...]


@dataclass(frozen=True)
class _Behind:
    """A dimension whose entries have places behind some that have none, such as tokens behind a class token."""

    count: int
    place: _Place


@dataclass(frozen=True)
class _Part:
    """One of the two dimensions that one was parted into, as windows are: the number of a part, or the place within it.

    Attributes:
        whole: the places of the entries before.
        sizes: how many parts there are, and how many entries each has.
        index: 0 for the part's number, 1 for the place within it.
    """

    whole: _Place
    sizes: tuple[int, int]
    index: int


@dataclass(frozen=True)
class _Rolled:
    """A dimension whose entries were moved on in a circle of ``size``, as shifted windows do, and may be moved back.

    There may be others behind these, of no place, which padding has put there.
    """

    place: _Place
    by: int
    size: int


@dataclass(frozen=True)
class _Unknown:
    """The entries of a dimension have places, which are not known."""


# None: of no place, as channels, constants and global averages.
_Place: TypeAlias = _Axis | _Merged | _Behind | _Part | _Rolled | _Unknown | None
_Places: TypeAlias = tuple[_Place, ...]
_UNKNOWN = _Unknown()
_HIDDEN = (_Unknown, _Part, _Rolled)  # of dimensions that are no rows or columns as they are


def traced_grids(network: nn.Module, image: Tensor, layers: Mapping[str, nn.Module]) -> dict[str, CellGrid | None]:
    """The grid of each layer's cells for images of one size; None where it cannot be read.

    Args:
        network: in evaluation mode.
        image: [1, C, H, W], on the network's device; its values do not count.
        layers: modules of the network by name, each giving a map of four dimensions.
    """
    return {name: _grid_of(places) for name, places in _traced(network, image, layers).items()}


def traced_dimensions(
    network: nn.Module, image: Tensor, layers: Mapping[str, nn.Module]
) -> dict[str, tuple[int, ...] | None]:
    """The dimensions of each layer's output that are its rows and its columns; None where they cannot be read.

    Args:
        network: likewise, as all else.
    """
    found: dict[str, tuple[int, ...] | None] = {}
    for name, places in _traced(network, image, layers).items():
        sides = [(dimension, place.side) for dimension, place in enumerate(places) if isinstance(place, _Axis)]
        is_read = not any(isinstance(place, _HIDDEN) for place in places) and [side for _, side in sides] == [0, 1]
        found[name] = tuple(dimension for dimension, _ in sides) if is_read else None
    return found


def _traced(network: nn.Module, image: Tensor, layers: Mapping[str, nn.Module]) -> dict[str, _Places]:
    """The places of the entries of each layer's output; none of a layer that does not run, or gives no tensor."""
    found: dict[str, _Places] = dict.fromkeys(layers, ())
    tracer = _Tracer(image)

    def see(name: str, _inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor):
            found[name] = tracer.places_of(output)

    with forward_hooks(layers, see), torch.no_grad(), tracer:
        network(image)
    return found


def _grid_of(places: _Places) -> CellGrid | None:
    """Of an output whose rows come before its columns, or of tokens row after row; of any other, None."""
    parts = [part for place in places for part in _parted(place)]
    axes = [place for place in parts if isinstance(place, _Axis)]
    if any(isinstance(place, _HIDDEN) for place in parts) or [axis.side for axis in axes] != [0, 1]:
        return None
    return CellGrid(axes[0].cells, axes[1].cells)


def _parted(place: _Place) -> Iterator[_Place]:
    """The places of what a dimension was flattened from, from the outermost to the innermost."""
    if isinstance(place, _Behind):
        yield from _parted(place.place)
    elif isinstance(place, _Merged):
        for _, part in place.parts:
            yield from _parted(part)
    else:
        yield place


class _Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the places of every tensor that is made from the input while it is active.

    Args:
        image: [1, C, H, W], the input.
    """

    def __init__(self, image: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._places = WeakIdKeyDictionary()
        self._mixed: dict[int, Any] = {}  # storages that other places were written into, kept: a number is used again
        whole = CellAxis(Fraction(1), Fraction(0))
        self._places[image] = (None, None, _Axis(0, whole), _Axis(1, whole))

    def places_of(self, value: Any) -> _Places:
        """Of a tensor's dimensions; none of anything else."""
        if not isinstance(value, Tensor):
            return ()
        if value.layout is torch.strided and value.untyped_storage()._cdata in self._mixed:
            return (_UNKNOWN,) * value.ndim
        known: _Places = self._places.get(value, (None,) * value.ndim)  # type: ignore[no-untyped-call]
        return known

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        before = [self.places_of(each) for each in _tensors((args, kwargs or {}))]  # in-place operations change shapes
        sizes = [tuple(each.shape) for each in _tensors((args, kwargs or {}))]
        result = operation(*args, **(kwargs or {}))
        outputs = list(_tensors(result))
        if outputs and any(place is not None for places in before for place in places):
            call = _Call(operation, args, kwargs or {}, before, sizes, [tuple(each.shape) for each in outputs])
            for output, places in zip(outputs, call.places(), strict=True):
                self._places[output] = tuple(
                    None if size == 1 and isinstance(place, _Unknown) else place
                    for place, size in zip(places, output.shape, strict=True)
                )
            if operation._schema.is_mutable and self.places_of(outputs[0]) != before[0]:
                self._note_mixture(outputs[0])
        return result

    def _note_mixture(self, written: Tensor) -> None:
        """Of a tensor that is a part of another, and was given entries of other places than its own."""
        storage = written.untyped_storage()
        if written.numel() * written.element_size() < storage.nbytes():
            self._mixed[storage._cdata] = storage


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


@dataclass(frozen=True)
class _Call:
    """An operation that ran.

    Attributes:
        operation: overload of ``torch.ops.aten``.
        inputs: the places of each tensor among its arguments.
        sizes: their shapes.
        shapes: of its outputs.
    """

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: list[_Places]
    sizes: list[tuple[int, ...]]
    shapes: list[tuple[int, ...]]

    def places(self) -> list[_Places]:
        """Of each output."""
        rule = _RULES.get(getattr(self.operation, "overloadpacket", None))
        if rule is None and torch.Tag.pointwise in getattr(self.operation, "tags", ()):
            rule = _joined
        found = None if rule is None else rule(self)
        if found is None:
            return [tuple(_UNKNOWN for _ in shape) for shape in self.shapes]
        return [found if len(found) == len(shape) else (None,) * len(shape) for shape in self.shapes]

    def argument(self, index: int, name: str, default: Any) -> Any:
        """An argument by its place or its name."""
        return self.args[index] if len(self.args) > index else self.kwargs.get(name, default)

    def dimension(self, index: int, name: str = "dim") -> int:
        """An argument that counts dimensions of the first tensor, 0 or more."""
        return int(self.argument(index, name, 0)) % max(len(self.inputs[0]), 1)


_Rule: TypeAlias = Callable[[_Call], _Places | None]  # None: not known


def _joined(call: _Call) -> _Places:
    """Entry by entry, the inputs' dimensions counted from the last one as broadcasting does."""
    return _join(call.inputs, call.sizes, len(call.shapes[0]))


def _join(inputs: Sequence[_Places], sizes: Sequence[tuple[int, ...]], count: int) -> _Places:
    found: list[_Place] = [None] * count
    for places, size in zip(inputs, sizes, strict=True):
        for back in range(1, len(places) + 1):
            if back <= count and places[-back] is not None and size[-back] > 0:
                found[-back] = _agreed(found[-back], places[-back])
    return tuple(found)


def _agreed(one: _Place, other: _Place) -> _Place:
    """The place of a sum: a part of no place (a constant, a global average) moves nothing."""
    if one is None or one == other:
        return other
    return one if other is None else _UNKNOWN


def _first(call: _Call) -> _Places:
    """Those of the first tensor."""
    return call.inputs[0]


def _window(places: _Places, steps: Sequence[tuple[Fraction | int, Fraction]]) -> _Places:
    """The last dimensions seen by windows: of each the stride, and the middle of the first window, in entries."""
    found = list(places)
    for back, (step, middle) in enumerate(reversed(steps), 1):
        place = found[-back]
        if isinstance(place, _Axis):
            found[-back] = _Axis(place.side, place.cells.moved(middle).strided(step))
        elif place is not None:
            found[-back] = _UNKNOWN
    return tuple(found)


def _each(value: Any, count: int, default: int) -> list[int]:
    """A setting of windows, a number for all dimensions or one for each."""
    values = [default] if value is None else list(value) if isinstance(value, list | tuple) else [value]
    return [int(each) for each in (values or [default])] * (count if len(values) <= 1 else 1)


def _convolution(call: _Call) -> _Places | None:
    _, weight, _, stride, padding, dilation, transposed = call.args[:7]
    if call.inputs[0][1] is not None or any(call.inputs[1]):
        return None
    count = weight.ndim - 2
    settings = zip(
        weight.shape[2:], _each(stride, count, 1), _each(padding, count, 0), _each(dilation, count, 1), strict=True
    )
    steps = [(Fraction(step), Fraction(wide * (taps - 1), 2) - pad) for taps, step, pad, wide in settings]
    if transposed:  # the same windows the other way: an input entry is spread over the outputs around its place
        steps = [(1 / step, -middle / step) for step, middle in steps]
    return (call.inputs[0][0], None, *_window(call.inputs[0], steps)[2:])


def _pooling(call: _Call) -> _Places:
    is_max = "max" in str(call.operation)
    taps = _each(call.args[1], 2, 1)
    stride = _each(call.argument(2, "stride", None) or taps, 2, 1)
    padding = _each(call.argument(3, "padding", 0), 2, 0)
    dilation = _each(call.argument(4, "dilation", 1), 2, 1) if is_max else [1, 1]
    settings = zip(taps, stride, padding, dilation, strict=True)
    return _window(call.inputs[0], [(step, Fraction(wide * (size - 1), 2) - pad) for size, step, pad, wide in settings])


def _adaptive_pooling(call: _Call) -> _Places | None:
    """By a whole factor, down or up (then each entry stands several times)."""
    steps = []
    for before, after in zip(call.sizes[0][-2:], call.shapes[0][-2:], strict=True):
        step = Fraction(before, after)
        if 1 not in (step.numerator, step.denominator):
            return None
        steps.append((step, (step - 1) / 2))
    places = list(_window(call.inputs[0], steps))
    for dimension in (-2, -1):
        if call.shapes[0][dimension] == 1:
            places[dimension] = None
    return tuple(places)


def _reduction(call: _Call) -> _Places:
    """A mean, a sum, a norm or an extreme over dimensions, which are of no place after it."""
    count = len(call.inputs[0])
    given = call.argument(2 if "norm" in str(call.operation) else 1, "dim", None)
    dims = range(count) if given is None or given == [] else [given] if isinstance(given, int) else given
    gone = {dim % count for dim in dims}
    kept = len(call.shapes[0]) == count
    places = [None if dim in gone else place for dim, place in enumerate(call.inputs[0]) if kept or dim not in gone]
    return _settled(places)


def _resampling(call: _Call) -> _Places | None:
    """Nearest (by a whole factor, up or down), bilinear or bicubic, of the last two dimensions."""
    is_nearest = "nearest" in str(call.operation)
    corners = not is_nearest and bool(call.argument(2, "align_corners", False))
    factors = [call.argument(index - is_nearest, name, None) for index, name in ((3, "scales_h"), (4, "scales_w"))]
    places = list(call.inputs[0])
    for dimension in (-2, -1):
        before, after, place = call.sizes[0][dimension], call.shapes[0][dimension], places[dimension]
        step = Fraction(before, after)
        if factors[dimension]:  # the size is rounded, and the step is not
            step = (1 / Fraction(factors[dimension])).limit_denominator(1000)
        if is_nearest and 1 not in (step.numerator, step.denominator):
            return None
        if not isinstance(place, _Axis):
            places[dimension] = None if place is None else _UNKNOWN
            continue
        if corners:
            step, first = (Fraction(before - 1, after - 1) if after > 1 else Fraction(1)), Fraction(0)
        elif is_nearest and step > 1:
            first = Fraction(0)  # the first of those that become one
        else:
            first = (step - 1) / 2
        if step == 0:
            return None
        places[dimension] = _Axis(place.side, place.cells.moved(first).strided(step))
    return tuple(places)


def _padding(call: _Call) -> _Places:
    pads = call.args[1]
    steps = [(1, Fraction(-pads[2 * back])) for back in reversed(range(len(pads) // 2))]
    places = list(_window(call.inputs[0], steps))
    for back in range(len(pads) // 2):
        place = call.inputs[0][-1 - back]
        if isinstance(place, _Rolled) and pads[2 * back] == 0 <= pads[2 * back + 1]:
            places[-1 - back] = place  # its own entries are where they were
    return tuple(places)


def _concatenation(call: _Call) -> _Places:
    dim = call.dimension(1)
    joined = list(_join(call.inputs, call.sizes, len(call.shapes[0])))
    parts = [(places[dim], size[dim]) for places, size in zip(call.inputs, call.sizes, strict=True)]
    placed = [place for place, _ in parts if place is not None]
    if placed:
        is_behind = len(placed) == 1 and parts[-1][0] is not None and isinstance(placed[0], _Axis | _Merged)
        joined[dim] = _Behind(sum(size for _, size in parts[:-1]), placed[0]) if is_behind else _UNKNOWN
    elif any(isinstance(place, _Unknown) for place in joined):
        return _interleaved(call.inputs) or tuple(joined)
    return tuple(joined)


def _interleaved(inputs: Sequence[_Places]) -> _Places | None:
    """Of tensors that share out the entries of a grid, every n-th to each: a place lies in the middle of its n."""
    found: list[_Place] = []
    count = 1
    for places in zip(*inputs, strict=True):
        axes = [place for place in places if isinstance(place, _Axis)]
        if len(set(places)) == 1:
            found.append(places[0])
            continue
        if len(axes) < len(places) or len({(axis.side, axis.cells.stride) for axis in axes}) > 1:
            return None
        stride, offsets = axes[0].cells.stride, sorted({axis.cells.offset for axis in axes})
        if offsets != [offsets[0] + stride * place / len(offsets) for place in range(len(offsets))]:
            return None
        count *= len(offsets)
        found.append(_Axis(axes[0].side, CellAxis(stride, sum(offsets, Fraction(0)) / len(offsets))))
    return tuple(found) if count == len(inputs) == len(set(inputs)) else None


def _stacking(call: _Call) -> _Places:
    joined = list(_join(call.inputs, call.sizes, len(call.inputs[0])))
    joined.insert(int(call.argument(1, "dim", 0)) % (len(joined) + 1), None)
    return tuple(joined)


def _placeless(call: _Call) -> _Places:
    """A new tensor, of which the given one only says the kind."""
    return (None,) * len(call.shapes[0])


def _permutation(call: _Call) -> _Places:
    return tuple(call.inputs[0][dim] for dim in call.args[1])


def _transposition(call: _Call) -> _Places:
    places = list(call.inputs[0])
    one, other = (call.dimension(1), call.dimension(2)) if len(call.args) > 2 else (0, len(places) - 1)
    places[one], places[other] = places[other], places[one]
    return tuple(places)


def _selection(call: _Call) -> _Places:
    dim = call.dimension(1)
    return tuple(place for place_dim, place in enumerate(call.inputs[0]) if place_dim != dim)


def _slice(call: _Call) -> _Places:
    places, dim = list(call.inputs[0]), call.dimension(1)
    place, start = places[dim], int(call.argument(2, "start", 0) or 0)
    start = max(start + call.sizes[0][dim], 0) if start < 0 else start
    step = int(call.argument(4, "step", 1))
    if isinstance(place, _Axis):
        places[dim] = _Axis(place.side, place.cells.moved(start).strided(step))
    elif isinstance(place, _Behind) and start == place.count == call.sizes[0][dim] - call.shapes[0][dim]:
        places[dim] = place.place
    elif isinstance(place, _Rolled) and start == 0 and step == 1 and call.shapes[0][dim] >= place.size:
        pass  # what padding had put behind it
    elif place is not None and call.shapes[0][dim] != call.sizes[0][dim]:
        places[dim] = _UNKNOWN
    return tuple(places)


def _attention(call: _Call) -> _Places:
    """Of queries, keys and values [..., L, C]: each entry lies where its query does."""
    return (*call.inputs[0][:-1], call.inputs[2][-1])


def _parts(call: _Call) -> _Places | None:
    """Of equal kinds, when a dimension of no place is split."""
    return call.inputs[0] if call.inputs[0][call.dimension(2)] is None else None


def _product(call: _Call) -> _Places:
    """Of matrices: the rows keep their places, the columns those of the second, and what is summed over is gone."""
    first, second = call.inputs[-2:]
    return _settled((*first[:-1], second[-1]))


def _settled(places: Sequence[_Place]) -> _Places:
    """With places for parts whose entries were joined: each lies in the middle of these."""
    left = {place for each in places for place in _parted(each) if isinstance(place, _Part)}

    def settle(place: _Place) -> _Place:
        if isinstance(place, _Merged):
            return _Merged(tuple((size, settle(part)) for size, part in place.parts))
        if not isinstance(place, _Part) or _Part(place.whole, place.sizes, 1 - place.index) in left:
            return place
        if place.index == 1 or not isinstance(place.whole, _Axis):
            return _UNKNOWN
        entries = place.sizes[1]
        return _Axis(place.whole.side, place.whole.cells.moved(Fraction(entries - 1, 2)).strided(entries))

    return tuple(settle(place) for place in places)


def _roll(call: _Call) -> _Places | None:
    """Of single dimensions; what is moved back lies where it did."""
    shifts, dims = (_each(call.argument(place, name, []), 1, 0) for place, name in ((1, "shifts"), (2, "dims")))
    if not call.argument(2, "dims", []) or len(shifts) != len(dims):
        return None
    places = list(call.inputs[0])
    for shift, dim in zip(shifts, dims, strict=True):
        place, size = places[dim], call.sizes[0][dim]
        if isinstance(place, _Rolled) and place.size == size:
            shift, place = shift + place.by, place.place
        if isinstance(place, _Axis):
            places[dim] = _Rolled(place, shift % size, size) if shift % size else place
        elif place is not None:
            places[dim] = _UNKNOWN
    return tuple(places)


def _regrouping(call: _Call) -> _Places:
    """A view of another shape: what stays keeps its places, and what was flattened is found again when it is parted."""
    parts = [
        part
        for size, place in zip(call.sizes[0], call.inputs[0], strict=True)
        for part in (place.parts if isinstance(place, _Merged) else ((size, place),))
        if part[0] != 1 or part[1] is not None
    ]
    found: list[_Place] = []
    for size in call.shapes[0]:
        taken: list[tuple[int, _Place]] = []
        while parts and (prod(part for part, _ in taken) < size or (parts[0][0] == 1 and not taken)):
            need, (own, place) = size // prod(part for part, _ in taken), parts[0]
            if own <= need and need % own == 0:
                taken.append(parts.pop(0))
            elif place is None and own % need == 0:
                taken.append((need, None))
                parts[0] = (own // need, None)
            elif isinstance(place, _Axis | _Rolled) and own % need == 0:
                sizes = (need, own // need)
                taken.append((need, _Part(place, sizes, 0)))
                parts[0] = (own // need, _Part(place, sizes, 1))
            else:
                return tuple(_UNKNOWN for _ in call.shapes[0])
        taken = _together(taken)
        placed = [part for part in taken if part[1] is not None]
        found.append(None if not placed else taken[0][1] if len(taken) == 1 else _Merged(tuple(taken)))
    return tuple(found)


def _together(parts: Sequence[tuple[int, _Place]]) -> list[tuple[int, _Place]]:
    """Both parts of a dimension, side by side, are that dimension again."""
    found: list[tuple[int, _Place]] = []
    for size, place in parts:
        before = found[-1][1] if found else None
        if isinstance(place, _Part) and place.index == 1 and before == _Part(place.whole, place.sizes, 0):
            found[-1] = (prod(place.sizes), place.whole)
        else:
            found.append((size, place))
    return found


_RULES: Mapping[Any, _Rule] = {
    **dict.fromkeys((aten.convolution, aten._convolution), _convolution),
    **dict.fromkeys((aten.max_pool2d_with_indices, aten.max_pool2d, aten.avg_pool2d), _pooling),
    **dict.fromkeys((aten._adaptive_avg_pool2d, aten.adaptive_avg_pool2d, aten.adaptive_max_pool2d), _adaptive_pooling),
    **dict.fromkeys((aten.mean, aten.sum, aten.amax, aten.amin, aten.var, aten.linalg_vector_norm), _reduction),
    **dict.fromkeys((aten.upsample_nearest2d, aten.upsample_bilinear2d, aten.upsample_bicubic2d), _resampling),
    **dict.fromkeys((aten.constant_pad_nd, aten.reflection_pad2d, aten.replication_pad2d), _padding),
    aten.cat: _concatenation,
    aten.stack: _stacking,
    aten.roll: _roll,
    **dict.fromkeys((aten.new_zeros, aten.new_ones, aten.new_full, aten.new_empty), _placeless),
    aten.permute: _permutation,
    **dict.fromkeys((aten.transpose, aten.t), _transposition),
    **dict.fromkeys((aten.select, aten.unbind), _selection),
    aten.slice: _slice,
    **dict.fromkeys((aten.split, aten.split_with_sizes), _parts),
    **dict.fromkeys((aten.mm, aten.addmm, aten.bmm, aten.baddbmm), _product),
    **dict.fromkeys(
        (
            aten.scaled_dot_product_attention,
            aten._scaled_dot_product_attention_math,
            aten._scaled_dot_product_flash_attention_for_cpu,
            aten._scaled_dot_product_flash_attention,
            aten._scaled_dot_product_efficient_attention,
            aten._scaled_dot_product_cudnn_attention,
        ),
        _attention,
    ),
    aten._native_multi_head_attention: _first,
    **dict.fromkeys((aten.view, aten._unsafe_view, aten._reshape_alias, aten.squeeze, aten.unsqueeze), _regrouping),
    **dict.fromkeys(
        (aten.expand, aten.where, aten.masked_fill, aten.masked_fill_, aten.rsub, aten.copy_, aten._prelu_kernel),
        _joined,
    ),
    **dict.fromkeys(
        (
            aten.native_batch_norm,
            aten._native_batch_norm_legit,
            aten._native_batch_norm_legit_no_training,
            aten.cudnn_batch_norm,
            aten.native_layer_norm,
            aten._fused_rms_norm,
            aten.native_group_norm,
            aten._softmax,
            aten._safe_softmax,
            aten._log_softmax,
            aten.clone,
            aten._to_copy,
            aten.detach,
            aten.alias,
            aten.lift_fresh,
            aten.native_dropout,
            aten.hardswish,
            aten.hardswish_,
            aten.log_sigmoid_forward,
        ),
        _first,
    ),
}  # fmt: skip
