"""A recorded graph without what is not needed, made twice, or made of constants alone."""

from __future__ import annotations

import math
import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import Argument, map_aggregate

aten = torch.ops.aten

_SAME = (aten.alias.default, aten.detach.default, aten.clone.default, aten.lift_fresh_copy.default)


def tidy(module: fx.GraphModule) -> fx.GraphModule:
    """Tidy a graph of functional operations, in which no copy is needed for its own sake.

    Copies go, what is made of constants alone becomes a constant where that is a vector, equal operations become one,
    and what nothing depends on goes. Larger constants are left to be computed, so that weights are stored once.

    Returns:
        The module itself, whose constants are buffers of its own that share memory with the weights.
    """
    graph = module.graph
    seen: dict[Any, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target in _SAME:
            node.replace_all_uses_with(node.args[0])
            continue
        if node.op == "call_function" and _is_written_over(node):
            node.replace_all_uses_with(node.args[1])
            continue
        if node.op == "call_function" and _is_constant_vector(node):
            node = _computed(module, node)
        key = _key(module, node)
        if key is None:
            continue
        if key in seen:
            node.replace_all_uses_with(seen[key])
        else:
            seen[key] = node
    graph.eliminate_dead_code()
    return _with_buffers(module)


def to_single(module: fx.GraphModule) -> None:
    """Make a graph that was recorded in double precision one in single precision, in place.

    Constants are rounded, so that what was folded in double precision is rounded once.
    """
    for node in list(module.graph.nodes):
        node.args = map_aggregate(node.args, _single)
        node.kwargs = map_aggregate(node.kwargs, _single)
        if _is_cast_to_its_own(node):
            node.replace_all_uses_with(node.args[0])
    module.graph.eliminate_dead_code()
    module.float()
    module.recompile()


def constant(module: nn.Module, node: Any) -> Tensor | None:
    """The value of a node that reads a constant; None of any other, and of what is no node."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    value: Any = module
    for part in str(node.target).split("."):
        value = getattr(value, part)
    return value if isinstance(value, Tensor) else None


def store(module: fx.GraphModule, value: Tensor) -> fx.Node:
    """A node that reads a new constant, at the graph's insertion point."""
    name = f"constant_{len(list(module.buffers()))}"
    while hasattr(module, name):
        name += "_"
    module.register_buffer(name, value)
    return module.graph.get_attr(name)


def _single(value: Any) -> Any:
    """What stands for an argument; of a number that is too large, as for a mask, the largest there is."""
    if value is torch.float64:
        return torch.float32
    if isinstance(value, float) and math.isfinite(value):
        largest = torch.finfo(torch.float32).max
        return min(max(value, -largest), largest)
    return value


def _is_cast_to_its_own(node: fx.Node) -> bool:
    """True of a cast between the precisions that have become one."""
    if node.target is not aten._to_copy.default or dict(node.kwargs) != {"dtype": torch.float32}:
        return False
    source = node.args[0].meta.get("val") if isinstance(node.args[0], fx.Node) else None
    return isinstance(source, Tensor) and source.dtype in (torch.float32, torch.float64)


def _is_written_over(node: fx.Node) -> bool:
    """True of a tensor that takes all its values, as they are, from another one."""
    if node.target is not aten.copy.default or not isinstance(node.args[1], fx.Node):
        return False
    whole, source = node.meta.get("val"), node.args[1].meta.get("val")
    if not isinstance(whole, Tensor) or not isinstance(source, Tensor):
        return False
    return whole.shape == source.shape and whole.dtype == source.dtype


def _is_constant_vector(node: fx.Node) -> bool:
    value = node.meta.get("val")
    if not isinstance(value, Tensor) or any(isinstance(size, torch.SymInt) for size in value.shape):
        return False
    is_vector = value.numel() == max(value.shape, default=1)
    return is_vector and bool(node.all_input_nodes) and all(each.op == "get_attr" for each in node.all_input_nodes)


def _computed(module: fx.GraphModule, node: fx.Node) -> fx.Node:
    def value_of(argument: fx.Node) -> Any:
        return constant(module, argument)

    operation: Any = node.target
    arguments, options = fx.map_arg((node.args, node.kwargs), value_of)
    with torch.no_grad(), module.graph.inserting_before(node):
        stored = store(module, operation(*arguments, **options).clone())
    stored.meta.update(node.meta)
    node.replace_all_uses_with(stored)
    module.graph.erase_node(node)
    return stored


def _key(module: nn.Module, node: fx.Node) -> Any:
    """Equal for nodes that give the same; None of a node that stands for itself."""
    if node.op == "get_attr":
        value = constant(module, node)
        if value is None:
            return None
        if value.numel() == max(value.shape, default=1) and value.dtype.is_floating_point:
            return "vector", tuple(value.shape), value.dtype, value.detach().cpu().double().numpy().tobytes()
        return "constant", value.data_ptr(), tuple(value.shape), value.stride(), value.dtype
    if node.op != "call_function":
        return None
    is_function = node.target is operator.getitem or isinstance(node.target, torch._ops.OpOverload)
    if not is_function or torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
        return None
    return node.target, _hashable(node.args), _hashable(node.kwargs)


def _hashable(value: Argument) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_hashable, value))
    if isinstance(value, dict):
        return tuple((name, _hashable(each)) for name, each in value.items())
    return value if isinstance(value, fx.Node) else (type(value), value)


def _with_buffers(module: fx.GraphModule) -> fx.GraphModule:
    """The same graph over a module that holds the constants it reads and nothing else."""
    bare = nn.Module()
    names: dict[str, str] = {}
    for node in module.graph.nodes:
        value = constant(module, node)
        if value is None:
            continue
        target = str(node.target)
        if target not in names:
            names[target] = f"constant_{len(names)}"
            bare.register_buffer(names[target], value.detach())
        node.target = names[target]
    return fx.GraphModule(bare, module.graph)
