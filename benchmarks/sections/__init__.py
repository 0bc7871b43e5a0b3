"""The sections of the page, one a file: what is measured, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from benchmarks.sections import (
    export,
    node,
    reading,
    review_page,
    saliency,
    scale,
    screening,
    serving,
    store,
    study,
    training_input,
)

Progress = Callable[[str], None]


class Section(Protocol):
    """Measures and gives the text of a section; figures go into the folder of the page."""

    def __call__(self, folder: Path, *, quick: bool, repeats: int, progress: Progress) -> str: ...


SECTIONS: dict[str, Section] = {
    "saliency": saliency.section,
    "study": study.section,
    "reading": reading.section,
    "training_input": training_input.section,
    "screening": screening.section,
    "review_page": review_page.section,
    "store": store.section,
    "scale": scale.section,
    "serving": serving.section,
    "node": node.section,
    "export": export.section,
}
