"""The resize that a map's record names is the one that was done."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cxrlens
from cxrlens.saliency.cells.grid import CellAxis, CellGrid
from cxrlens.saliency.explain import Row, explain_rows
from cxrlens.saliency.fusion import Fusion
from cxrlens.saliency.recorded_resize import NO_RESIZE, RecordedResize, resizes_of, with_former_resize
from cxrlens.saliency.resizing import PUBLISHED_RESIZE, MapResize

AXIS = CellAxis(Fraction(8), Fraction(0))
KNOWN = CellGrid(AXIS, AXIS)
CUBIC = RecordedResize("centres", "bicubic")
PUBLISHED = RecordedResize("areas", "bilinear")


@pytest.mark.parametrize(
    ("resize", "said"),
    [
        (CUBIC, "centres bicubic"),
        (PUBLISHED, "areas bilinear"),
        (RecordedResize("mixed", "bicubic", flip=True), "mixed bicubic, mirrored"),
        (RecordedResize(flip=True), "mirrored"),
        (NO_RESIZE, ""),
    ],
)
def test_words_for_people_and_columns_of_tables(resize: RecordedResize, said: str):
    assert str(resize) == said
    assert resize.columns() == {
        "grid": resize.grid, "interpolation": resize.interpolation, "flip": int(resize.flip)
    }  # fmt: skip
    assert RecordedResize.of_columns({"method": "m", **resize.columns()}) == resize


def test_the_resizes_of_a_table_are_named_once():
    rows = [resize.columns() for resize in (NO_RESIZE, CUBIC, RecordedResize("mixed", "bicubic"), CUBIC)]
    assert resizes_of(rows) == "centres bicubic; mixed bicubic"
    assert resizes_of(rows[:1]) == resizes_of([]) == "none"


@pytest.mark.parametrize(
    ("cells", "resize", "flip", "expected"),
    [
        ([KNOWN], MapResize(), False, CUBIC),
        ([KNOWN, KNOWN], MapResize("centres", "bilinear"), True, RecordedResize("centres", "bilinear", flip=True)),
        ([None], MapResize(), False, RecordedResize("areas", "bicubic")),
        ([KNOWN, None], MapResize(), False, RecordedResize("mixed", "bicubic")),
        ([None, None], PUBLISHED_RESIZE, False, PUBLISHED),
        ([KNOWN, None], PUBLISHED_RESIZE, False, PUBLISHED),
        ([], MapResize(), True, RecordedResize(flip=True)),
    ],
)
def test_what_was_done_is_recorded_not_what_was_asked_for(
    cells: list[CellGrid | None], resize: MapResize, flip: bool, expected: RecordedResize
):
    assert Fusion(resize=resize, flip=flip).recorded(cells) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"method": "grad_cam", "layers": "last"}, {"grid": "areas", "interpolation": "bilinear"}),
        ({"method": "grad_cam", "layers": "last", "grid": "centres", "interpolation": "bicubic"}, {}),
        ({"method": "gradient", "layers": "input"}, {}),
        ({"method": "", "layers": ""}, {}),
        ({"name": "a.png"}, {}),
    ],
)
def test_a_record_of_before_counts_as_by_areas(fields: dict[str, Any], expected: dict[str, str]):
    assert with_former_resize(fields) == fields | expected


class HalfKnown(nn.Module):
    """Behind its first layer every cell sees the whole image alike, so that those of ``mixed`` lie nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, 2, 1)
        self.mix = nn.Linear(8 * 8, 8 * 8)
        self.mixed = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        found = self.first(images).relu()
        found = self.mixed(self.mix(found.flatten(2)).unflatten(2, (8, 8))).relu()
        return self.head(found.mean((2, 3)))


def test_each_row_of_a_pass_has_its_own():
    network, images = HalfKnown().eval(), torch.rand(2, 3, 16, 16)
    rows = {
        Row("normgrad_scaling", "first"): RecordedResize("centres", "bicubic", flip=True),
        Row("normgrad_scaling", "mixed"): RecordedResize("areas", "bicubic", flip=True),
        Row("normgrad_scaling", "first+mixed"): RecordedResize("mixed", "bicubic", flip=True),
        Row("gradient", "input"): RecordedResize(flip=True),
    }
    assert explain_rows(network, images, rows, fusion=Fusion(flip=True)).resizes == rows
    found = cxrlens.explain(
        network, images, methods=["grad_cam", "gradient"], layers=["first"], grid="areas", interpolation="bilinear"
    )
    assert found.resizes == {"grad_cam": PUBLISHED, "gradient": NO_RESIZE}
