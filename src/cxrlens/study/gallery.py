"""Images with their maps beside them: where the maps of the first trained network do best, worst and differ most."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from cxrlens.evaluation.pointing_game import distance_to_objects
from cxrlens.inputs.annotations.ground_truth import annotated_objects, object_mask
from cxrlens.inputs.dataset.layouts import Item
from cxrlens.inputs.decoding import BatchReader
from cxrlens.inspection.quality_model import affected_probability, input_maps
from cxrlens.inspection.result import ImageResult
from cxrlens.report.overlays import MapPanel, overlay_figure
from cxrlens.report.row_titles import row_title
from cxrlens.saliency.explain import Row
from cxrlens.study.page import Gallery, GalleryEntry, save_overlay
from cxrlens.study.results import Results
from cxrlens.study.subjects import Subject, explained, explained_classes

_IMAGES = 3  # of each kind
_ROWS = 5


def draw_gallery(folder: Path, results: Results, device: str) -> Gallery:
    """Best, worst and most disputed images of the first trained network, written into the folder."""
    if not results.trained:
        return Gallery()
    group = results.trained[0]
    rows = _chosen_rows(results)
    hits = results.hits(group, results.rows(group))[:, 0]
    distances = np.minimum(results.scores(group, results.rows(group), "distance")[:, 0], 1e6)
    agreed = hits.mean(axis=0)
    by_score = np.lexsort((distances.mean(axis=0), -agreed))
    count = min(_IMAGES, results.n // 2)
    best, worst = list(by_score[:count]), list(by_score[::-1][:count])
    taken = {*best, *worst}
    disputed = [place for place in np.argsort(np.abs(agreed - 0.5), kind="stable") if place not in taken][:count]
    chosen = {"best": best, "worst": worst, "disputed": disputed}
    items = [results.data.annotated[results.indices[place]] for places in chosen.values() for place in places]
    drawn = _overlays(folder, results, group.subjects[0], rows, items, device)
    entries: dict[str, list[GalleryEntry]] = {}
    for name, places in chosen.items():
        entries[name] = [drawn[results.data.annotated[results.indices[place]].path] for place in places]
    return Gallery(**entries)


def _chosen_rows(results: Results) -> list[Row]:
    """Grad-CAM, and the best rows of other methods."""
    group = results.trained[0]
    rows = results.rows(group)
    means = results.hits(group, rows).mean(axis=(1, 2))
    chosen = [row for row in rows if row.method == "grad_cam"][:1]
    for place in np.argsort(-means, kind="stable"):
        if rows[place].method not in {row.method for row in chosen} and len(chosen) < _ROWS:
            chosen.append(rows[place])
    return chosen


def _overlays(
    folder: Path, results: Results, subject: Subject, rows: list[Row], items: list[Item], device: str
) -> dict[Path, GalleryEntry]:
    model = subject.load(device, results.plan.precision)
    limit = results.plan.tolerance * max(subject.preprocessing.height, subject.preprocessing.width)
    found = {}
    for number, batch in enumerate(BatchReader(items, subject.preprocessing, batch_size=1, keep_pixels=True)):
        (item,), (image,) = batch.items, batch.images
        maps = explained(results.plan, model, batch.grey, rows, explained_classes(results.plan, batch.items))
        result = ImageResult.of(
            float(affected_probability(maps.logits)[0]),
            model.card,
            model.identity,
            (image.height, image.width),
            input_maps(maps, 0),
            tie_seed=results.plan.seed,
        )
        distances = distance_to_objects(object_mask(item, image.height, image.width, subject.preprocessing))
        panels = []
        for row, map_ in zip(rows, result.explanations, strict=True):
            distance = math.inf if map_.peak is None else float(distances[map_.peak])
            hit = distance < limit
            note = "flat map" if map_.flat else f"{'hit' if hit else 'miss'}, {distance:.1f} px"
            panels.append(MapPanel(row_title(row), map_.values, map_.peak, note, hit))
        assert image.pixels is not None
        figure = overlay_figure(
            image.pixels.numpy(),
            panels,
            shapes=annotated_objects(item),
            title=item.name,
            extent=result.geometry.extent(),
        )
        path = save_overlay(figure, folder / f"{number:02d}")
        caption = f"{subject.title}: probability of affected {result.probability:.3f}"
        found[item.path] = GalleryEntry(item.name, caption, path)
    return found
