"""Images of a game to look at: where most maps hit, where most miss, and where the methods differ most."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from matplotlib.figure import Figure

from cxrlens.inputs.annotations.ground_truth import masked_objects
from cxrlens.inputs.annotations.table import clip_to_image
from cxrlens.inputs.dataset.layouts import Item
from cxrlens.inputs.decoding import Batch, BatchReader, DecodedImage
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.result import ImageResult
from cxrlens.report.figures import figure_jpeg
from cxrlens.report.html import data_address
from cxrlens.report.overlays import MapPanel, overlay_figure
from cxrlens.report.row_titles import row_title
from cxrlens.saliency.explain import Row

IMAGES = 3  # of each kind
ROWS = 7  # maps beside an image

Records: TypeAlias = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class GameImage:
    """One image of the gallery.

    Attributes:
        title: the name of its file.
        caption: what the network and the maps make of it.
        address: of its picture, a ``data:`` address.
    """

    title: str
    caption: str
    address: str


@dataclass(frozen=True)
class GameGroup:
    """Images of one kind."""

    title: str
    text: str
    entries: Sequence[GameImage]


_GROUPS = {
    "hits": ("Hits", "Images on which most maps point at an object."),
    "misses": ("Misses", "Images on which most maps point beside the objects, the farthest first."),
    "disputed": ("Most disputed", "Images on which the methods differ most."),
}


def played_overlay(item: Item, decoded: DecodedImage, result: ImageResult, played: Records, *, title: str) -> Figure:
    """The radiograph with its objects, and each map with its peak, and how it was judged.

    Args:
        decoded: with its pixels.
        result: of its maps.
        played: the record of each of them.
    """
    assert decoded.pixels is not None
    panels = [
        MapPanel(
            row_title(Row(map_.method, map_.layers)),
            map_.values,
            None if map_.flat else (record["peak_row"], record["peak_column"]),
            "miss, flat map" if map_.flat else f"{record['outcome']}, {record['distance']:.1f} px",
            record["outcome"] == "hit",
        )
        for map_, record in zip(result.explanations, played, strict=False)
    ]
    shapes, _ = clip_to_image(item.shapes or (), height=decoded.height, width=decoded.width, name=item.name)
    return overlay_figure(
        decoded.pixels.numpy(),
        panels,
        shapes=(*shapes, *masked_objects(item, decoded.height, decoded.width)),
        title=title,
        extent=result.geometry.extent(),
    )


def draw_gallery(
    items: Iterable[Item],
    root: Path,
    preprocessing: Preprocessing,
    rows: Sequence[Row],
    per_image: Records,
    inspect: Callable[[Batch, Sequence[Row]], Iterable[ImageResult]],
) -> list[GameGroup]:
    """The gallery of a game; its images are read and explained once more.

    Args:
        items: of the game.
        root: that names in records are below.
        rows: of the game, of which the best are shown.
        per_image: the records of the game, those of baselines too.
        inspect: gives the results of a batch for some of the rows.
    """
    shown = best_rows(rows, per_image)
    by_image = _by_image(per_image, rows)
    groups = chosen_images(by_image)
    wanted = {name for names in groups.values() for name in names}
    drawn: dict[str, GameImage] = {}
    chosen = [item for item in items if item.name_in(root) in wanted]
    for batch in BatchReader(chosen, preprocessing, batch_size=1, keep_pixels=True):
        (item,), (decoded,) = batch.items, batch.images
        (result,) = inspect(batch, shown)
        records = by_image[item.name_in(root)]
        figure = played_overlay(item, decoded, result, [records[row] for row in shown], title=item.name)
        picture = data_address(figure_jpeg(figure), "image/jpeg")
        drawn[item.name_in(root)] = GameImage(item.name, _caption(list(records.values())), picture)
    return [
        GameGroup(*_GROUPS[kind], [drawn[name] for name in names if name in drawn])
        for kind, names in groups.items()
        if any(name in drawn for name in names)
    ]


def best_rows(rows: Sequence[Row], per_image: Records) -> list[Row]:
    """Those with the most hits, at most `ROWS`, in the order of all."""
    hits: defaultdict[Row, float] = defaultdict(float)
    for record in per_image:
        hits[Row(record["method"], record["layers"])] += record["hit"]
    best = sorted(rows, key=lambda row: -hits[row])[:ROWS]
    return [row for row in rows if row in best]


def chosen_images(by_image: Mapping[str, Mapping[Row, Mapping[str, Any]]]) -> dict[str, list[str]]:
    """The names of the images of each group, at most `IMAGES`; none is in two of them.

    Hits and misses are images on which more than half of the maps do so: those with the most first, and of equal
    ones the hits whose peaks lie nearest, and the misses whose peaks lie farthest, on the mean.
    """
    agreed = {name: _mean([each["hit"] for each in records.values()]) for name, records in by_image.items()}
    far = {name: _mean([distance_of(each) for each in records.values()]) for name, records in by_image.items()}
    hits = sorted((name for name in by_image if agreed[name] > 0.5), key=lambda name: (-agreed[name], far[name]))
    misses = sorted((name for name in by_image if agreed[name] < 0.5), key=lambda name: (agreed[name], -far[name]))
    groups = {"hits": hits[:IMAGES], "misses": misses[:IMAGES]}
    taken = {name for names in groups.values() for name in names}
    split = [name for name in by_image if 0 < agreed[name] < 1 and name not in taken]
    groups["disputed"] = sorted(split, key=lambda name: abs(agreed[name] - 0.5))[:IMAGES]
    return groups


def distance_of(record: Mapping[str, Any]) -> float:
    """From the peak to the nearest object, in pixels of the network's input; infinite of a flat map."""
    return float(record.get("distance", math.inf))


def _by_image(per_image: Records, rows: Sequence[Row]) -> dict[str, dict[Row, Mapping[str, Any]]]:
    found: defaultdict[str, dict[Row, Mapping[str, Any]]] = defaultdict(dict)
    for record in per_image:
        row = Row(record["method"], record["layers"])
        if row in rows:
            found[record["image"]][row] = record
    return dict(found)


def _caption(records: Records) -> str:
    first = records[0]
    hits = sum(record["outcome"] == "hit" for record in records)
    said = f"{hits} of {len(records)} maps hit" if len(records) > 1 else first["outcome"]
    return f"probability of affected {first['probability']:.3f}, called {first['decision']}; {said}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
