"""Write a model as an ONNX file, which is compared with torch before it is put in place."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import cxrlens
from cxrlens.environment import timestamp
from cxrlens.errors import CxrlensError, UsageError
from cxrlens.export.graph import ExportedGraph
from cxrlens.files import replacing
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.models.card import CARD_KEY
from cxrlens.models.onnx_file import INFO_KEY, INPUT, LAYERS, OUTPUTS, OnnxInfo, read_onnx
from cxrlens.saliency.capture import capture
from cxrlens.saliency.explain import Row, resolve_layers
from cxrlens.saliency.methods import METHODS, find_method
from cxrlens.saliency.pooled_head import pooled_head
from cxrlens.saliency.target import as_logits

TOLERANCE = 1e-4
"""How far probabilities and maps of the file may be from torch's."""

OPSET = 18
_IMAGES = 3

METHOD_IDS = tuple(method.id for method in METHODS.values() if method.reads == "layer" and method.id != "normgrad_bias")
"""Methods whose map at the last layer follows from activations alone; normgrad_bias is constant there."""


@dataclass(frozen=True)
class Parity:
    """The largest difference between onnxruntime and torch that was found on random images.

    Attributes:
        images: number of them.
        probability: of the probability; ``map`` of the maps, whose range is [0, 1].
    """

    images: int
    probability: float
    map: float


def export_onnx(model: QualityModel, method: str, source: Path, out: Path) -> tuple[OnnxInfo, Parity]:
    """Write the model's graph to ``out``.

    Args:
        model: on the CPU.
        method: one of `METHOD_IDS`.
        source: the model file, which the graph names.

    Returns:
        How it was made, and how it agrees with torch.

    Raises:
        UsageError: when the method or the network's head has no closed form, or a package is missing.
        CxrlensError: when onnxruntime does not give what torch gives; nothing is written then.
    """
    if method not in METHOD_IDS:
        find_method(method)  # near matches of an unknown one
        raise UsageError(
            f"'{method}' cannot be exported, because its map needs more than one forward pass or is constant at the "
            f"last layer; choose one of {', '.join(METHOD_IDS)}"
        )
    layer, linear = _head(model, source)
    content = source.read_bytes()
    info = OnnxInfo(
        method=method,
        layer=layer,
        source=source.name,
        source_sha256=hashlib.sha256(content).hexdigest(),
        cxrlens_version=cxrlens.__version__,
        created=timestamp(),
    )
    graph = ExportedGraph(model.network, model.card, find_method(method), layer, linear)
    metadata = {CARD_KEY: model.card.to_metadata(), INFO_KEY: info.model_dump_json()}
    with replacing(out) as partial:
        partial.write_bytes(_to_bytes(graph.eval(), _random_images(model, seed=1), metadata))
        parity = _compare(model, info, partial)
    return info, parity


def _head(model: QualityModel, source: Path) -> tuple[str, nn.Linear]:
    """The last layer, and the linear layer behind its pooling."""
    (layer,) = resolve_layers(model.network, LAYERS)
    images = model.preprocessing.normalized(_random_images(model, seed=0))
    for _ in range(2):  # the first finds out, the second knows
        capture(model.network, images, [layer], "affected")
    linear = pooled_head(model.network, layer)
    if linear is None:
        raise UsageError(
            f"{source}: behind its last layer there is more than average pooling and a linear layer, so that maps "
            "need a backward pass, which an ONNX graph has not; use the model file itself"
        )
    return layer, linear


def _random_images(model: QualityModel, seed: int) -> torch.Tensor:
    """Grey images [N, 1, h, w] in [0, 1]: a coarse pattern with fine noise."""
    random = torch.Generator().manual_seed(seed)
    size = (model.preprocessing.height, model.preprocessing.width)
    coarse = torch.rand(_IMAGES, 1, 5, 4, generator=random)
    fine = torch.rand(_IMAGES, 1, *size, generator=random)
    return nn.functional.interpolate(coarse, size, mode="bilinear") * 0.8 + fine * 0.2


def _to_bytes(graph: nn.Module, images: torch.Tensor, metadata: dict[str, str]) -> bytes:
    """The ONNX file's content, checked."""
    onnx = _packages()
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            graph,
            (images,),
            dynamo=True,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
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


def _compare(model: QualityModel, info: OnnxInfo, file: Path) -> Parity:
    """Run the file on random images; the batch has another size than the one it was traced with."""
    grey = torch.cat([_random_images(model, seed=2), _random_images(model, seed=3)])
    row = Row(info.method, info.layers)
    expected = model.explain_rows(grey, [row])
    if not expected.logits.isfinite().all():
        raise UsageError(
            f"{info.source}: gives no number for random images, so nothing was written; look at it with "
            "'cxrlens doctor --model'"
        )
    found = read_onnx(file).run(grey.numpy())
    assert found.maps is not None
    assert found.flat is not None
    probability = float(np.abs(found.probability - model.probability_of(expected.logits).numpy()).max())
    map_ = float(np.abs(found.maps - expected.maps[row].numpy()).max())
    is_same = probability <= TOLERANCE and map_ <= TOLERANCE
    is_same &= bool(np.array_equal(found.flat, expected.flat[row].numpy()))
    # Where noise is surely normal, the probability alone would show no fault of the head or the calibration.
    is_same &= bool(np.allclose(found.logits, as_logits(expected.logits).numpy(), rtol=TOLERANCE, atol=TOLERANCE))
    own = model.probability_of(torch.from_numpy(found.logits)).numpy()
    is_same &= bool(np.allclose(found.probability, own, rtol=TOLERANCE, atol=1e-30))
    if not is_same:
        raise CxrlensError(
            f"{model.card.architecture}: what onnxruntime gives for the exported graph differs from torch (probability "
            f"by {probability:.2g}, map by {map_:.2g}); nothing was written; please report this"
        )
    return Parity(len(grey), probability, map_)
