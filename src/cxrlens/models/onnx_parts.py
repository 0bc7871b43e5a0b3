"""The part of an ONNX graph that some of its outputs need."""

from __future__ import annotations

from collections.abc import Set
from importlib.util import find_spec

_LITTLE = 0.1
"""The share of operations that it does not pay to leave out."""


def can_cut() -> bool:
    """Whether the package onnx, which `part_of` needs, is installed; it is not imported for that."""
    try:
        return find_spec("onnx") is not None
    except ImportError:  # somebody forbids it
        return False


def part_of(content: bytes, outputs: Set[str]) -> bytes | None:
    """The graph of a file without what these outputs do not need.

    Args:
        content: of the file.
        outputs: names of some of its outputs.

    Returns:
        A file without metadata; None where little can be left out, or parts have parts of their own (loops, branches).
    """
    import onnx

    model = onnx.load_from_string(content)
    graph = model.graph
    needed, nodes = set(outputs), []
    for node in reversed(graph.node):  # in the order of running, as the format asks for
        if any(
            attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for attribute in node.attribute
        ):
            return None
        if not needed.isdisjoint(node.output):
            nodes.append(node)
            needed.update(node.input)
    if len(nodes) > (1 - _LITTLE) * len(graph.node):
        return None
    part = onnx.helper.make_graph(
        nodes[::-1],
        graph.name,
        graph.input,
        [each for each in graph.output if each.name in outputs],
        [each for each in graph.initializer if each.name in needed],
    )
    whole = onnx.helper.make_model(
        part, opset_imports=model.opset_import, functions=model.functions, ir_version=model.ir_version
    )
    return bytes(whole.SerializeToString())
