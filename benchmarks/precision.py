"""What precisions do to decisions, peaks and FROC: ``python -m benchmarks.precision DATA MODEL [MODEL ...]``.

The models are seeds of one recipe. Prints a Markdown table; the reference is torch in float32.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from benchmarks.page import table
from cxrlens.devices import has_bfloat16
from cxrlens.evaluation.froc import Prediction, froc, map_peaks
from cxrlens.export.int8 import write_branch
from cxrlens.export.int8_quality import Int8Quality
from cxrlens.export.onnx import export_onnx
from cxrlens.export.training_images import TrainingImages
from cxrlens.inputs.annotations.ground_truth import annotated_objects
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.dataset.layouts import Item
from cxrlens.inputs.readers import read
from cxrlens.inspection.inspector import Inspector
from cxrlens.inspection.onnx_inspector import load_onnx
from cxrlens.inspection.quality_model import DEFAULT_LAYERS, DEFAULT_METHOD, load
from cxrlens.inspection.torch_inspector import TorchInspector
from cxrlens.models.location import model_path
from cxrlens.processor import cpu_multiplies_int8
from cxrlens.saliency.explain import Row
from cxrlens.saliency.resizing import DEFAULT_RESIZE
from cxrlens.study.experiments.froc import MOST_POINTS

SHARE = 0.025  # of the longer side, within which peaks agree, and only the highest point of a map counts
BATCH = 8


@dataclass(frozen=True)
class Found:
    """Of all images: log-odds of the probability, the decision, the peak (row, column) and the points of the FROC.

    Attributes:
        tolerance: in pixels, within which peaks agree.
    """

    tolerance: float
    log_odds: np.ndarray
    decisions: np.ndarray
    peaks: np.ndarray
    points: list[list[Prediction]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="+", type=Path)
    options = parser.parse_args()
    items = list(Dataset(options.data).scored_split().items)
    found: dict[str, list[Found]] = {}
    for model in options.models:
        for name, inspector in _inspectors(model, options.data):
            print(f"{model.name}: {name}", file=sys.stderr, flush=True)  # noqa: T201
            found.setdefault(name, []).append(_inspected(inspector, items))
    print(_shown(found, items))  # noqa: T201


def _inspectors(model: Path, data: Path) -> Iterator[tuple[str, Inspector]]:
    precisions = ("f32", "bf16") if has_bfloat16(torch.device("cpu")) else ("f32",)
    row = Row(DEFAULT_METHOD, DEFAULT_LAYERS)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        source = model_path(model)
        export_onnx(load(source, device="cpu"), [row.method], row.layers, DEFAULT_RESIZE, source, file)
        for precision in precisions:
            yield f"torch {precision}", TorchInspector(load(source, device="cpu", precision=precision), row)
        yield "onnxruntime", load_onnx(file)
        for precision in precisions:
            yield f"OpenVINO {precision}", load_onnx(file, runtime="openvino", precision=precision)
        if cpu_multiplies_int8():
            images = TrainingImages.of(data)
            write_branch(file, images)  # also where `export` refuses it
            quality = Int8Quality.of(file, images)
            print(f"{model.name}: int8 {'' if quality.holds else 'is refused: '}{quality}", file=sys.stderr)  # noqa: T201
            yield "onnxruntime int8", load_onnx(file, precision="int8")
            yield "OpenVINO int8", load_onnx(file, runtime="openvino", precision="int8")


def _inspected(inspector: Inspector, items: list[Item]) -> Found:
    preprocessing = inspector.card.preprocessing
    radius = max(1, round(SHARE * max(preprocessing.height, preprocessing.width)))
    results = []
    for start in range(0, len(items), BATCH):
        images = [read(item.path, at_least=preprocessing.decoded_at_least) for item in items[start : start + BATCH]]
        stored = [(image.height, image.width) for image in images]
        grey = np.stack([preprocessing.resized(image.pixels, size) for image, size in zip(images, stored, strict=True)])
        results += inspector.inspect(grey, stored)
    points, peaks = [], []
    for result in results:
        assert result.map is not None
        values = result.map.values
        (tops,) = map_peaks(torch.from_numpy(values)[None], radius=radius, most=MOST_POINTS, floor=0.0)
        places = [(*result.geometry.backward_point(float(x), float(y)), value) for y, x, value in tops]
        points.append([Prediction(x, y, value * result.probability) for x, y, value in places])
        peaks.append(np.unravel_index(values.argmax(), values.shape))
    probabilities = np.array([result.probability for result in results])
    return Found(
        SHARE * max(preprocessing.height, preprocessing.width),
        np.log(probabilities / (1 - probabilities)),
        np.array([result.decision == "affected" for result in results]),
        np.array(peaks),
        points,
    )


def _shown(found: dict[str, list[Found]], items: list[Item]) -> str:
    labels = [item.label for item in items]
    annotations = [annotated_objects(item) for item in items]
    affected = np.array(labels) == 1
    reference = next(iter(found.values()))
    rows = []
    for name, seeds in found.items():
        changes, decisions, near, areas, scores = [], 0, [], [], []
        for own, right in zip(seeds, reference, strict=True):
            changes.append(np.abs(own.log_odds - right.log_odds))
            decisions += int((own.decisions != right.decisions).sum())
            distances = np.hypot(*(own.peaks - right.peaks).T)
            near.append(distances[affected] <= own.tolerance)
            areas.append(roc_auc_score(labels, own.log_odds))
            scores.append(froc(own.points, annotations).mean)
        change = np.concatenate(changes)
        rows.append(
            [
                name,
                f"{np.median(change):.2g}",
                f"{change.max():.2g}",
                f"{decisions} of {change.size}",
                f"{np.mean(areas):.4f}",
                f"{np.concatenate(near).mean():.3f}",
                f"{np.mean(scores):.3f}",
            ]
        )
    head = ["", "log-odds change by, median", "most", "decisions that change", "AUC", "peaks within 2.5 %", "FROC"]
    return table(head, rows)


if __name__ == "__main__":
    main()
