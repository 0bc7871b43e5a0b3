"""Parts of ONNX graphs: what some outputs need, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from cxrlens.models.onnx_parts import part_of

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

VALUES = np.array([[-1.0, 2.0]], np.float32)


def graph_of(nodes: list[object], outputs: tuple[str, ...], constants: dict[str, float]) -> bytes:
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "graph",
        [onnx.helper.make_tensor_value_info("x", kind, ["N", 2])],
        [onnx.helper.make_tensor_value_info(name, kind, None) for name in outputs],
        [onnx.numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()],
    )
    return bytes(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)]).SerializeToString())


@pytest.fixture
def forked() -> bytes:
    """relu(x) leads to y = exp(relu(x) + 1), and by other ways to z = 3 relu(x) and to what nobody takes."""
    make = onnx.helper.make_node
    nodes = [
        make("Relu", ["x"], ["a"]),
        make("Mul", ["a", "three"], ["z"]),
        make("Neg", ["z"], ["unused"]),
        make("Add", ["a", "one"], ["b"]),
        make("Exp", ["b"], ["y"]),
    ]
    return graph_of(nodes, ("y", "z"), {"one": 1.0, "three": 3.0})


@pytest.mark.parametrize(
    ("outputs", "operations", "constants"),
    [({"y"}, ["Relu", "Add", "Exp"], ["one"]), ({"z"}, ["Relu", "Mul"], ["three"])],
)
def test_a_part_is_what_its_outputs_need(
    forked: bytes, outputs: set[str], operations: list[str], constants: list[str]
) -> None:
    part = part_of(forked, outputs)
    assert part is not None
    graph = onnx.load_from_string(part).graph
    assert [node.op_type for node in graph.node] == operations
    assert [each.name for each in graph.initializer] == constants
    (found,) = onnxruntime.InferenceSession(part).run(list(outputs), {"x": VALUES})
    right = {"y": [[np.exp(1.0), np.exp(3.0)]], "z": [[0.0, 6.0]]}
    np.testing.assert_allclose(found, right[outputs.pop()], rtol=1e-6)


def test_a_part_that_is_nearly_all_is_none() -> None:
    nodes = [
        onnx.helper.make_node("Neg", ["x" if not place else f"a{place}"], [f"a{place + 1}"]) for place in range(20)
    ]
    whole = graph_of(nodes, ("a19", "a20"), {})
    assert part_of(whole, {"a20"}) is None
    assert part_of(whole, {"a19"}) is None


def test_a_graph_with_branches_is_left_whole() -> None:
    make = onnx.helper.make_node
    value = onnx.helper.make_tensor_value_info("c", onnx.TensorProto.FLOAT, None)
    branch = onnx.helper.make_graph([make("Neg", ["a"], ["c"])], "branch", [], [value])  # takes "a" of the graph around
    other = onnx.helper.make_graph([make("Exp", ["a"], ["c"])], "other", [], [value])
    condition = onnx.helper.make_tensor("true", onnx.TensorProto.BOOL, [], [True])
    nodes = [
        make("Relu", ["x"], ["a"]),
        make("Exp", ["x"], ["z"]),
        make("Constant", [], ["condition"], value=condition),
        make("If", ["condition"], ["y"], then_branch=branch, else_branch=other),
    ]
    assert part_of(graph_of(nodes, ("y", "z"), {}), {"y"}) is None
