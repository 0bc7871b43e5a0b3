"""The branch of an exported graph that multiplies 8-bit integers: post-training quantisation by onnxruntime.

Weights of a convolution are symmetric integers in [-127, 127] with a scale for each output channel; activations are in
[0, 255], with a scale and a zero point for each tensor. The last linear layer stays in float32.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx.checker
import onnx.compose
import onnx.helper
import onnx.utils
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from cxrlens.errors import CxrlensError
from cxrlens.export.int8_quality import MOST_AUC_LOST, MOST_CHANGED, MOST_LOG_ODDS, Int8Quality
from cxrlens.export.training_images import SEED, TrainingImages
from cxrlens.models.onnx_file import INFO_KEY, INPUT, INT8_PREFIX, Int8Branch, OnnxInfo, read_onnx

_OPERATIONS = ["Conv", "Relu", "MaxPool"]
"""What multiplies integers, and what hands them on. Sums of residual blocks are as fast in float32, and exact."""


def add_int8(file: Path, images: TrainingImages) -> tuple[OnnxInfo, Int8Quality]:
    """Add the branch to a file that `export_onnx` wrote, in place.

    Returns:
        How the file was made, and what 8-bit integers change.

    Raises:
        UsageError: when images cannot be read, or this processor does not multiply 8-bit integers as it should.
        CxrlensError: when they do not decide as float32 does; the file is of no use then.
    """
    info = write_branch(file, images)
    quality = Int8Quality.of(file, images)
    if not quality.holds:
        raise CxrlensError(
            f"{info.source}: does not decide in 8-bit integers as in float32 (on training images, {quality}; at most "
            f"{MOST_CHANGED:.0%} may change, {MOST_LOG_ODDS:g} in the median, and {MOST_AUC_LOST:g} of AUC be lost); "
            "nothing was written; leave --int8 out"
        )
    return info, quality


def write_branch(file: Path, images: TrainingImages) -> OnnxInfo:
    """Add the branch as it comes, see `add_int8`."""
    exported = read_onnx(file)
    grey = [batch.grey.numpy() for batch in images.batches(images.calibrating, exported.card.preprocessing)]
    made = Int8Branch(data=images.data.resolve().name, images=sum(map(len, grey)), seed=SEED)
    info = exported.info.model_copy(update={"int8": made})
    whole = onnx.load(file)
    plain = onnx.utils.Extractor(whole).extract_model([INPUT], ["logits"])
    file.write_bytes(_joined(whole, quantised(plain, grey), info))
    return info


def quantised(plain: onnx.ModelProto, batches: Iterable[npt.NDArray[np.float32]]) -> onnx.ModelProto:
    """A graph from `INPUT` to logits whose convolutions multiply 8-bit integers.

    Args:
        plain: the same in float32.
        batches: grey images [N, 1, h, w]; the range of an activation is that which it takes for them.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared, made = Path(folder) / "prepared.onnx", Path(folder) / "made.onnx"
        quant_pre_process(plain, prepared, skip_optimization=True, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            made,
            _Images(batches),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=_OPERATIONS,
        )
        return onnx.load(made)


class _Images(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Hands batches to the calibration, one a call."""

    def __init__(self, batches: Iterable[npt.NDArray[np.float32]]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        grey = next(self._batches, None)
        return None if grey is None else {INPUT: grey}


def _joined(whole: onnx.ModelProto, branch: onnx.ModelProto, info: OnnxInfo) -> bytes:
    """The content of a file that holds both."""
    named = onnx.compose.add_prefix(branch, INT8_PREFIX).graph
    for node in named.node:
        node.input[:] = [INPUT if name == INT8_PREFIX + INPUT else name for name in node.input]
    model = onnx.ModelProto()
    model.CopyFrom(whole)
    model.graph.node.extend(named.node)
    model.graph.initializer.extend(named.initializer)
    model.graph.output.extend(named.output)
    metadata = {prop.key: prop.value for prop in whole.metadata_props}
    onnx.helper.set_model_props(model, {**metadata, INFO_KEY: info.to_metadata()})
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
