"""The page of a comparison: the scores of both, their differences with intervals, and the images that flipped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cxrlens.environment import describe_environment, origin_lines
from cxrlens.report.figures import (
    BLUE,
    GREY,
    INK,
    RED,
    bottom_legend,
    name_axes,
    new_figure,
    save_figure,
    shorten,
    text_style,
    tidy,
)
from cxrlens.report.html import data_address, render_page

if TYPE_CHECKING:
    from cxrlens.comparison.run import CompareResult, PairedScore

PAGE: Final = "report.html"
DIFFERENCES: Final = "differences"  # .png and .svg

DECISION: Final = "decision"
"""The score of flips that are other decisions."""

_MOST_FLIPS: Final = 300


@dataclass(frozen=True)
class Compared:
    """What is compared, and where.

    Attributes:
        a: name of the first, a model or a row of one; likewise ``b``.
        data: name of the data set.
        split: of it.
        margin: how much worse B may be.
        parts: folders with the whole results of each, from that of the comparison on, with what they are.
        device: that they were made on.
        seed: of the intervals.
    """

    a: str
    b: str
    data: str
    split: str
    margin: float
    parts: Sequence[tuple[str, str]]
    device: str
    seed: int


def differences_figure(scores: Sequence[PairedScore], *, margin: float) -> Figure:
    """B minus A of each score with its 95 % interval, the first score on top; what is worse by more than the margin is
    drawn in another colour."""
    figure = new_figure(8.0, 1.8 + 0.42 * max(len(scores), 2))
    axes = figure.add_subplot()
    for place, score in enumerate(scores):
        color = RED if score.worse else BLUE
        axes.plot([score.low, score.high], [place, place], color=color, linewidth=2.2)
        axes.plot([score.difference], [place], color=color, marker="o", markersize=7)
    axes.axvline(0, color=INK, linewidth=1.2)
    if margin:
        axes.axvline(-margin, color=GREY, linestyle=":", linewidth=1.5)
    tidy(axes)
    axes.set_yticks(range(len(scores)), [shorten(score.score, 48) for score in scores], **text_style(10))
    axes.set_ylim(len(scores) - 0.5, -0.5)
    name_axes(axes, "B minus A", "difference, right of the line B is better", "")
    handles = [Line2D([], [], color=BLUE, marker="o", label="difference with its 95 % interval")]
    if any(score.worse for score in scores):
        handles.append(Line2D([], [], color=RED, marker="o", label="B is worse"))
    if margin:
        handles.append(Line2D([], [], color=GREY, linestyle=":", label=f"margin {margin:g}"))
    bottom_legend(figure, handles)
    return figure


@dataclass(frozen=True)
class DifferingImage:
    """An image that the two models decide differently.

    Attributes:
        name: of its file.
        label: its class.
        flip: "lost" where A was right, "gained" where B is.
        probability_a: of affected, by A; likewise ``probability_b``.
        picture: a small JPEG of it.
    """

    name: str
    label: str
    flip: str
    probability_a: float
    probability_b: float
    picture: bytes

    @property
    def caption(self) -> str:
        """What the models make of it."""
        right = "A" if self.flip == "lost" else "B"
        return (
            f"{self.label}, {self.flip}: {right} is right; probability of affected by A {self.probability_a:.3f}, by B "
            f"{self.probability_b:.3f}"
        )


def write_comparison_page(
    out: Path, compared: Compared, result: CompareResult, differing: Sequence[DifferingImage] = ()
) -> Path:
    """Draw the differences and write ``report.html``; returns its path.

    Args:
        differing: images to look at.
    """
    _, svg = save_figure(
        differences_figure(result.scores, margin=compared.margin), out / DIFFERENCES, formats=("png", "svg")
    )
    lost = sum(flip["flip"] == "lost" for flip in result.flips)
    return render_page(
        "comparison.html.jinja",
        out / PAGE,
        package="cxrlens.comparison",
        title=f"{compared.a} against {compared.b}",
        intro=[
            f"A is {compared.a}, B is {compared.b}, on the same images of {compared.data}, {compared.split}. "
            "Differences are B minus A with 95 % paired intervals over images: where an interval holds 0, chance alone "
            "may have made the difference.",
            _verdict(result, compared.margin),
            f"{'The page holds pictures of patients. ' if differing else ''}For research; not a medical device.",
        ],
        facts=[
            ("Worse", ", ".join(result.worse) or "nothing"),
            ("Images that were lost", f"{lost}"),
            ("Images that were gained", f"{len(result.flips) - lost}"),
        ],
        figures=[
            {
                "title": "Differences",
                "path": svg,
                "alt": "The difference of each score with its interval; the table below has the numbers.",
                "caption": "",
            }
        ],
        tables=[_scores_table(result), *_flips_tables(result), *_parts_tables(compared)],
        commands=[],
        thumbnails=[
            {
                "name": image.name,
                "caption": image.caption,
                "alt": f"Radiograph {image.name}, labelled {image.label}",
                "address": data_address(image.picture, "image/jpeg"),
            }
            for image in differing
        ],
        differing=_differing(result, len(differing)),
        footer=origin_lines(describe_environment(device=compared.device, seed=compared.seed)),
    )


def _differing(result: CompareResult, shown: int) -> str:
    count = sum(flip["score"] == DECISION for flip in result.flips)
    if shown == count:
        return "The images that A and B decide differently, the lost ones first."
    return (
        f"{shown} of the {count} images that A and B decide differently: of the lost and of the gained ones those "
        "whose probabilities lie farthest apart."
    )


def _verdict(result: CompareResult, margin: float) -> str:
    allowed = f" by more than the margin of {margin:g}" if margin else ""
    if result.worse:
        return f"B is worse{allowed} in: {', '.join(result.worse)}; the whole interval lies there."
    better = [score.score for score in result.scores if score.low > 0]
    said = f" B is better in: {', '.join(better)}." if better else ""
    return f"In no score is B worse{allowed} for certain.{said}"


def _scores_table(result: CompareResult) -> dict[str, Any]:
    resizes = any(score.map_resize_a or score.map_resize_b for score in result.scores)
    columns = ["score", "images", "A", "B", "B - A", "95 % interval", "lost", "gained", "found"]
    rows = [
        [
            score.score,
            str(score.n),
            *(f"{value:.3f}" for value in (score.a, score.b)),
            f"{score.difference:+.3f}",
            "n/a" if math.isnan(score.low) else f"{score.low:+.3f} to {score.high:+.3f}",
            *("" if count is None else str(count) for count in (score.lost, score.gained)),
            "worse" if score.worse else "better" if score.low > 0 else "no clear difference",
            *([score.map_resize_a, score.map_resize_b] if resizes else []),
        ]
        for score in result.scores
    ]
    return {
        "title": "Scores",
        "columns": [*columns, *(["resize of A's maps", "resize of B's maps"] if resizes else [])],
        "rows": rows,
        "note": "Lost: images that were right with A and are wrong with B; gained the other way.",
    }


def _flips_tables(result: CompareResult) -> list[dict[str, Any]]:
    if not result.flips:
        return []
    more = (
        f"The first {_MOST_FLIPS} of {len(result.flips)}; flips.csv has all." if len(result.flips) > _MOST_FLIPS else ""
    )
    return [
        {
            "title": "Images that flipped",
            "columns": ["image", "score", "flip", "label", "probability by A", "probability by B"],
            "rows": [
                [
                    str(flip["image"]),
                    flip["score"],
                    flip["flip"],
                    flip["label"] or "",
                    *(_number(flip[name]) for name in ("probability_a", "probability_b")),
                ]
                for flip in result.flips[:_MOST_FLIPS]
            ],
            "note": more,
        }
    ]


def _parts_tables(compared: Compared) -> list[dict[str, Any]]:
    rows = [[place, what] for place, what in compared.parts]
    return [{"title": "Files", "columns": ["in this folder", "what"], "rows": rows, "note": ""}]


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.3f}"
