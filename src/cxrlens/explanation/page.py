"""The page of explanations: the overlay of each image with the reason for its decision, to be filtered and sorted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from PIL import Image

from cxrlens.environment import describe_environment, origin_lines
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.inspection.result import ImageResult
from cxrlens.report.html import inline_script, render_page
from cxrlens.report.row_titles import row_title
from cxrlens.saliency.explain import Row

PAGE: Final = "report.html"

_MOST_UNREADABLE: Final = 100
_WIDE: Final = 1.75  # width by height: more than the radiograph with one map beside it


@dataclass(frozen=True)
class ExplainedCard:
    """What the page says of one image.

    Attributes:
        name: of the image in the table.
        overlay: the path of its picture from the page on.
        size: width and height of the picture in pixels, for which a page keeps room before it has the picture.
        decision: suggestion or decision in words, "not assessable" for an image that cannot be judged.
        probability: of affected; None for that one.
        reason: why it was decided so, or why it cannot be judged.
        remarks: on the picture.
        notes: on the maps, such as that one is flat.
    """

    name: str
    overlay: str
    size: tuple[int, int]
    decision: str
    probability: float | None
    reason: str
    remarks: tuple[str, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, name: str, out: Path, overlay: str, result: ImageResult) -> ExplainedCard:
        """Of an image's result, whose overlay has been written into the folder ``out``."""
        is_judged = not result.not_assessed
        flat = [row_title(Row(map_.method, map_.layers)) for map_ in result.explanations if map_.flat]
        return cls(
            name,
            overlay,
            _size_of(out / overlay),
            (result.triage or result.decision).replace("_", " ") if is_judged else "not assessable",
            result.probability if is_judged else None,
            result.reason,
            tuple(str(remark) for remark in result.remarks),
            (f"flat, pointing nowhere: {'; '.join(flat)}",) if flat else (),
        )

    @property
    def address(self) -> str:
        """The overlay as a relative address, whatever its name holds."""
        return quote(os.fsencode(self.overlay))

    @property
    def is_wide(self) -> bool:
        """True for a picture of so many panels that each would be too small in half of the page."""
        width, height = self.size
        return width > _WIDE * height


def write_explanation_page(
    out: Path,
    model: QualityModel,
    cards: Sequence[ExplainedCard],
    rows: Sequence[Row],
    *,
    maps: str,
    target: str,
    unreadable: Sequence[str],
    seed: int,
) -> Path:
    """Write ``report.html`` beside the folder of overlays, which it shows; returns its path.

    Args:
        rows: of the maps.
        maps: how these became full-size, in words.
        target: the explained class.
        unreadable: a sentence for each image that was left out.
    """
    script, script_name = inline_script("filter.js", "cxrlens.explanation")
    decisions = {name: sum(card.decision == name for card in cards) for name in sorted({c.decision for c in cards})}
    return render_page(
        "explanations.html.jinja",
        out / PAGE,
        package="cxrlens.explanation",
        title=f"Where {model.identity.label} looks",
        intro=[
            f"Maps: {'; '.join(row_title(row) for row in rows)}. They show what speaks for the class '{target}' "
            f"({maps}); each is scaled by its own range, so that colours of different images cannot be compared.",
            "A map shows where the network's evidence lies, not the outline of an object, and a high point is no proof "
            "that there is one. The page holds pictures of patients. For research; not a medical device.",
            "A picture opens in its full size when it is clicked.",
        ],
        decisions=decisions,
        cards=cards,
        unreadable=unreadable[:_MOST_UNREADABLE],
        more_unreadable=max(len(unreadable) - _MOST_UNREADABLE, 0),
        filter_script=script,
        filter_hash=script_name,
        footer=origin_lines(
            describe_environment(device=str(model.device), seed=seed),
            f"model {model.identity.name}, SHA-256 {model.identity.sha256 or 'n/a'}",
        ),
    )


def _size_of(picture: Path) -> tuple[int, int]:
    """Width and height of a picture's file; its head alone is read."""
    with Image.open(picture) as opened:
        return opened.size
