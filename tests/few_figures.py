"""Drawing figures takes longer than all else that most commands do on a few images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest import mock

from matplotlib.figure import Figure

from cxrlens.report import figures


@contextmanager
def few_figures_drawn() -> Iterator[None]:
    """All figures are made inside, but only the first of each format is drawn; the others are given its picture.

    What figures show is tried in tests/report, tests/calibration and tests/study. Every command's are drawn by
    tests/golden, and by the fixtures that run one for a whole file of tests.
    """
    draw = figures._rendered
    pictures: dict[str, bytes] = {}

    def first_of_each_format(figure: Figure, formats: Sequence[str], dpi: float) -> list[bytes]:
        new = [name for name in formats if name not in pictures]
        if new:
            pictures.update(zip(new, draw(figure, new, dpi), strict=True))
        return [pictures[name] for name in formats]

    with mock.patch.object(figures, "_rendered", first_of_each_format):
        yield
