"""The page of a Pointing Game: scores beside baselines, other tolerances, published scores, and images to look at."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure

from cxrlens.environment import describe_environment, origin_lines
from cxrlens.evaluation.proportions import clopper_pearson_interval
from cxrlens.evaluation.published import published
from cxrlens.inputs.dataset.object_cxr import published_split
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.pointing.gallery import GameGroup, distance_of
from cxrlens.report.curves import Curve, curve_figure
from cxrlens.report.html import render_page
from cxrlens.report.row_titles import row_title
from cxrlens.saliency.explain import Row
from cxrlens.saliency.recorded_resize import resizes_of
from cxrlens.wording import counted

PAGE: Final = "report.html"
SCORES: Final = "pointing_game"  # .png and .svg, as the next
TOLERANCES: Final = "tolerances"

_MOST_CURVES: Final = 8
_MOST_BANDS: Final = 2  # more of them hide each other
_MOST_ROWS: Final = 200
_SHARES: Final = np.arange(0.005, 0.1001, 0.005)  # of the longer side


@dataclass(frozen=True)
class GameFacts:
    """What the page of a game tells.

    Attributes:
        data: name of the data set.
        split: of it.
        names: file names of all images that were played on.
        table: the rows of ``pointing_game.csv``.
        per_image: the rows of ``per_image.csv``.
        tolerance_share: of the longer side of the network's input.
        gallery: images to look at.
        unreadable: a sentence for each image that was left out.
        seed: of ties and intervals.
    """

    data: str
    split: str
    names: Sequence[str]
    table: Sequence[Mapping[str, Any]]
    per_image: Sequence[Mapping[str, Any]]
    tolerance_share: float
    gallery: Sequence[GameGroup]
    unreadable: Sequence[str]
    seed: int


def write_game_page(page: Path, model: QualityModel, game: GameFacts) -> Path:
    """Write the page beside the figures that it embeds; returns its path."""
    out = page.parent
    return render_page(
        "pointing_game.html.jinja",
        page,
        package="cxrlens.pointing",
        title=f"Pointing Game of {model.identity.label} on {game.data}, {game.split}",
        intro=_intro(model, game),
        facts=_facts(model, game),
        figures=[
            {
                "title": "Accuracy",
                "path": out / f"{SCORES}.svg",
                "alt": "The accuracy of each method and baseline with its interval; the table has the numbers.",
                "caption": "A method that does no better than a baseline says nothing of the objects.",
            },
            {
                "title": "Other tolerances",
                "path": out / f"{TOLERANCES}.svg",
                "alt": "Curves of the best methods; the accuracy rises with the tolerance.",
                "caption": "Of the best methods. A score means little without its tolerance.",
            },
        ],
        tables=[*_score_tables(game), *_published_tables(model, game), *_image_tables(game)],
        commands=[],
        groups=game.gallery,
        footer=origin_lines(
            describe_environment(device=str(model.device), seed=game.seed),
            f"model {model.identity.name}, SHA-256 {model.identity.sha256 or 'n/a'}",
        ),
    )


def tolerances_figure(
    table: Sequence[Mapping[str, Any]], per_image: Sequence[Mapping[str, Any]], *, side: int, share: float, title: str
) -> Figure:
    """The accuracy of the best methods over the tolerance, as a share of the longer side of so many pixels;
    of one or two with their intervals."""
    methods = [Row(row["method"], row["layers"]) for row in _sorted(table) if row["kind"] == "method"][:_MOST_CURVES]
    distances = _distances(per_image)
    curves = []
    for row in methods:
        values, lows, highs = zip(*(_share_within(distances[row], limit * side) for limit in _SHARES), strict=True)
        banded = len(methods) <= _MOST_BANDS
        curves.append(Curve(row_title(row), values, lows if banded else None, highs if banded else None))
    return curve_figure(
        [100 * float(limit) for limit in _SHARES],
        curves,
        title=title,
        x_name="tolerance, % of the longer side",
        y_name="accuracy",
        marked_x={f"{100 * share:g} %": 100 * share} if share <= _SHARES[-1] else None,
    )


def _share_within(distances: Sequence[float], limit: float) -> tuple[float, float, float]:
    """The share of distances below a limit, and its interval."""
    hits = sum(distance < limit for distance in distances)
    interval = clopper_pearson_interval(hits, len(distances))
    return hits / len(distances), interval.low, interval.high


def _distances(per_image: Sequence[Mapping[str, Any]]) -> Mapping[Row, Sequence[float]]:
    """From peak to object of each image, in pixels of the network's input, by method and layers."""
    found: defaultdict[Row, list[float]] = defaultdict(list)
    for record in per_image:
        found[Row(record["method"], record["layers"])].append(distance_of(record))
    return found


def _sorted(table: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows that have a score, the best first."""
    return sorted((row for row in table if row["n"]), key=lambda row: -row["accuracy"])


def _intro(model: QualityModel, game: GameFacts) -> list[str]:
    first = game.table[0]
    tied = sum(row["tied"] for row in game.table if row["kind"] == "method")
    said = [
        f"{first['n']} images with an annotated object. A map hits when its highest point lies on an object, or less "
        f"than {first['tolerance']:g} px from one ({100 * game.tolerance_share:g} % of the longer side of "
        f"{model.preprocessing.size}). The maps show what speaks for the class '{first['target']}'"
        f"{'' if first['target'] != 'true' else ', the label'} (their resize: {resizes_of(game.table)}).",
        "A hit is the place of one point: it tells neither how well a map outlines an object, nor that the network "
        "decided by it. Of several objects one is enough.",
    ]
    if tied:
        said.append(
            f"In {tied} maps several places share the highest value, and a seeded draw decides; a flat map, in which "
            "all do, is a miss."
        )
    if game.unreadable:
        left_out = counted(
            len(game.unreadable), "image could not be scored and is", "images could not be scored and are"
        )
        said.append(f"{left_out} left out, see unreadable.txt.")
    said.append("The page holds pictures of patients. For research; not a medical device.")
    return said


def _facts(model: QualityModel, game: GameFacts) -> list[tuple[str, str]]:
    best = {kind: next((row for row in _sorted(game.table) if row["kind"] == kind), None) for kind in _KINDS}
    return [
        ("Network", f"{model.card.architecture}, {model.preprocessing.size}"),
        ("Images", str(game.table[0]["n"])),
        ("Tolerance", f"{game.table[0]['tolerance']:g} px"),
        *((f"{_KINDS[kind]}: {_title(row)}", _text(row)) for kind, row in best.items() if row is not None),
    ]


_KINDS: Final = {"method": "Best method", "baseline": "Best baseline"}


def _title(row: Mapping[str, Any]) -> str:
    return row_title(Row(row["method"], row["layers"]))


def _text(row: Mapping[str, Any]) -> str:
    return f"{row['accuracy']:.3f} ({row['low']:.3f} to {row['high']:.3f})"


def _score_tables(game: GameFacts) -> list[dict[str, Any]]:
    rows = [
        [
            _title(row),
            row["kind"],
            f"{row['accuracy']:.3f}" if row["n"] else "n/a",
            f"{row['low']:.3f} to {row['high']:.3f}" if row["n"] else "",
            *(_count(row[name]) for name in ("hits", "misses")),
            str(row["tied"]) if row["n"] else "",
            row["combination"] or row["note"],
        ]
        for row in game.table
    ]
    return [
        {
            "title": "Scores",
            "columns": ["maps", "kind", "accuracy", "95 % interval", "hits", "misses", "tied", "combination of layers"],
            "rows": rows,
            "note": "Intervals over images by Clopper and Pearson; those of the random baseline, whose hits are "
            "expected values, by bootstrap.",
        }
    ]


def _count(number: float | None) -> str:
    """A number of images, which may be an expected one."""
    return "" if number is None else f"{number:.0f}" if float(number).is_integer() else f"{number:.1f}"


def _published_tables(model: QualityModel, game: GameFacts) -> list[dict[str, Any]]:
    """Published scores at the same tolerances, where the images are those of Object-CXR."""
    split = published_split(game.names)
    best = next((row for row in _sorted(game.table) if row["method"].startswith("normgrad_")), None)
    if split is None or best is None:
        return []
    row = Row(best["method"], best["layers"])
    distances = _distances(game.per_image)[row]
    side = max(model.preprocessing.height, model.preprocessing.width)
    rows = []
    for each in published("pointing_game"):
        if each.tolerance is not None:
            value, low, high = _share_within(distances, each.tolerance * side)
            rows.append(
                [each.by, f"{each.value:.3f}", f"{value:.3f} ({low:.3f} to {high:.3f})", each.protocol, each.source]
            )
    return [
        {
            "title": "Published scores on Object-CXR",
            "columns": ["by", "published accuracy", "accuracy here", "protocol", "source"],
            "rows": rows,
            "note": f"Here: {best['n']} of the published {split} images at {model.preprocessing.size}, maps of "
            f"{row_title(row)}, the best NormGrad of this game, at the tolerance of the published score. Only scores "
            "on the same images, at the same size and tolerance can be compared.",
        }
    ]


def _image_tables(game: GameFacts) -> list[dict[str, Any]]:
    """The images on which the fewest maps hit, first."""
    methods = {(row["method"], row["layers"]) for row in game.table if row["kind"] == "method"}
    by_image: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in game.per_image:
        if (record["method"], record["layers"]) in methods:
            by_image[str(record["image"])].append(record)
    rows = []
    for name, records in by_image.items():
        distances = [distance_of(record) for record in records]
        nearest = min(distances)
        hits = sum(record["outcome"] == "hit" for record in records)
        first = records[0]
        shown = "flat maps" if math.isinf(nearest) else f"{nearest:.1f}"
        rows.append((hits, -nearest, [name, f"{hits}", shown, f"{first['probability']:.3f}", first["decision"]]))
    rows.sort(key=lambda row: row[:2])
    more = f"The first {_MOST_ROWS} of {len(rows)}; per_image.csv has all." if len(rows) > _MOST_ROWS else ""
    return [
        {
            "title": "Images, the fewest hits first",
            "columns": ["image", f"hits of {len(methods)} maps", "nearest peak, px", "probability", "decision"],
            "rows": [row for *_, row in rows[:_MOST_ROWS]],
            "note": f"{more} Distances in pixels of the network's input, from the nearest of all peaks to an object; 0 "
            "is on it.".strip(),
        }
    ]
