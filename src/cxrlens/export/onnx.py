"""Write a model as an ONNX file, which is compared with torch before it is put in place."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn

import cxrlens
from cxrlens.environment import timestamp
from cxrlens.errors import UsageError
from cxrlens.export.graph import ExportedGraph
from cxrlens.export.parity import Expected, Parity, compare, exactness, random_images
from cxrlens.files import replacing
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.models.card import CARD_KEY
from cxrlens.models.onnx_file import INFO_KEY, INPUT, OnnxInfo
from cxrlens.saliency.explain import Row
from cxrlens.saliency.fusion import Fusion
from cxrlens.saliency.joint_graph.map_graph import MapGraph
from cxrlens.saliency.methods import METHODS, find_method
from cxrlens.saliency.resizing import MapResize

log = logging.getLogger(__name__)

OPSET = 18

METHOD_IDS = tuple(method.id for method in METHODS.values() if method.is_own and method.reads == "layer")
"""Methods whose maps follow from the activations and gradients of layers."""


def export_onnx(
    model: QualityModel, methods: Sequence[str], layers: str, resize: MapResize, source: Path, out: Path
) -> tuple[OnnxInfo, Parity]:
    """Write the model's graph to ``out``.

    Args:
        model: on the CPU.
        methods: of `METHOD_IDS`, at least one.
        layers: of the maps, as `cxrlens.explain` takes them.
        resize: of the maps.
        source: the model file, which the graph names.

    Returns:
        How it was made, and how it agrees with torch.

    Raises:
        UsageError: when a graph cannot give the maps of a method or of the network, a map is always constant, the
            layers or the resize are unknown, or a package is missing.
        CxrlensError: when onnxruntime does not give what torch gives; nothing is written then.
    """
    _packages()
    rows = _rows(methods, layers)
    fusion = Fusion(resize=resize)
    log.info("1 of 4: maps of random images by torch, to compare with")
    expected = Expected.of(model, rows, fusion, source)
    example = model.preprocessing.normalized(random_images(model, seed=0)).double()
    log.info("2 of 4: tracing the network and the passes that make its maps")
    network = deepcopy(model.network).double()
    graph = MapGraph(network, example, rows, fusion=fusion)
    exact = exactness(expected, network, graph)  # of the very graph that is written, before it is rounded
    del network
    graph.to_single()
    modules = graph.layers[rows[0]]
    done = fusion.recorded([graph.cells.get(name) for name in modules])
    info = OnnxInfo(
        methods=tuple(row.method for row in rows),
        layers=layers,
        modules=modules,
        grid=done.grid,
        interpolation=done.interpolation,
        source=source.name,
        source_sha256=hashlib.sha256(source.read_bytes()).hexdigest(),
        cxrlens_version=cxrlens.__version__,
        created=timestamp(),
    )
    metadata = {CARD_KEY: model.card.to_metadata(), INFO_KEY: info.to_metadata()}
    log.info("3 of 4: making the ONNX graph, which takes longest")
    with replacing(out) as partial:
        exported = ExportedGraph(graph, model.card).eval()
        partial.write_bytes(to_bytes(exported, random_images(model, seed=1), info.outputs, metadata))
        log.info("4 of 4: comparing what it gives with torch")
        parity = compare(expected, partial, exact)
    return info, parity


def _rows(methods: Sequence[str], layers: str) -> list[Row]:
    for id_ in methods:
        if id_ in METHOD_IDS:
            continue
        reason = (
            "because its map does not follow from activations and gradients of layers alone"
            if find_method(id_).is_own
            else "as files hold methods of cxrlens itself only"
        )
        raise UsageError(f"'{id_}' cannot be exported, {reason}; choose one of {', '.join(METHOD_IDS)}")
    return [Row(id_, layers) for id_ in dict.fromkeys(methods)]


def to_bytes(graph: nn.Module, images: torch.Tensor, outputs: Sequence[str], metadata: dict[str, str]) -> bytes:
    """The ONNX file's content, checked."""
    onnx = _packages()
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            graph,
            (images,),
            dynamo=True,
            input_names=[INPUT],
            output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("N")},),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    for part in (*_parts(proto.graph), proto):  # traces with the paths of this machine
        del part.metadata_props[:]
    onnx.helper.set_model_props(proto, metadata)
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString())


def _parts(graph: Any) -> Iterator[Any]:
    yield graph
    for each in (graph.node, graph.input, graph.output, graph.value_info, graph.initializer):
        yield from each


def _packages() -> Any:
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError as error:
        raise UsageError(
            f"the export to ONNX needs the package {error.name}; install it with: pip install 'cxrlens[onnx]'"
        ) from error
    return onnx


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks, which are not for users."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
