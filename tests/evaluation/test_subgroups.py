"""Sizes and shapes of objects: terciles by hand, with ties, and against ranks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cxrlens.evaluation.subgroups import object_area, shape_type, size_terciles
from cxrlens.inputs.annotations.shapes import Ellipse, Polygon, Rectangle, Shape, rasterize

BOX, ROUND, TRIANGLE = Rectangle(1, 2, 3, 4), Ellipse(0, 0, 5, 9), Polygon(((0, 0), (4, 0), (0, 4)))


def test_terciles_by_hand():
    # quantiles of .1 .. .6: 1/3 of the way from .1 to .6 is .1 + 5/3 * .1 = .2667, and .4333
    assert size_terciles([0.3, 0.1, 0.6, 0.2, 0.5, 0.4]).tolist() == [
        "medium",
        "small",
        "large",
        "small",
        "large",
        "medium",
    ]


@pytest.mark.parametrize("n", [3, 7, 100])
def test_terciles_of_different_areas_are_thirds_by_rank(n: int):
    areas = np.random.default_rng(n).permutation(np.linspace(0.01, 0.5, n) ** 2)
    labels = size_terciles(areas)
    position = areas.argsort().argsort() / (n - 1)
    expected = np.select([position <= 1 / 3 + 1e-9, position <= 2 / 3 + 1e-9], ["small", "medium"], "large")
    assert labels.tolist() == expected.tolist()
    assert max(abs((labels == size).sum() - n / 3) for size in ("small", "medium", "large")) < 1.5


def test_equal_areas_share_a_group_whatever_their_order():
    areas = [0.1, 0.1, 0.1, 0.1, 0.2, 0.3]
    labels = size_terciles(areas)
    assert labels.tolist() == ["small"] * 4 + ["large"] * 2  # quantiles .1 and .1333
    assert size_terciles(areas[::-1]).tolist() == labels[::-1].tolist()
    assert size_terciles([0.2, 0.2]).tolist() == ["small", "small"]
    assert size_terciles([0.2]).tolist() == ["small"]


def test_images_without_an_object_have_no_size():
    labels = size_terciles([0.1, 0.0, 0.2, math.nan, 0.3])
    assert labels.tolist() == ["small", "", "medium", "", "large"]
    assert size_terciles([]).shape == (0,)
    assert size_terciles([0.0]).tolist() == [""]


@pytest.mark.parametrize("areas", [[-0.1, 0.2], [math.inf], [[0.1]]])
def test_what_is_no_area_is_refused(areas: list[float]):
    with pytest.raises(ValueError, match="areas"):
        size_terciles(areas)


def test_the_area_is_that_of_the_union():
    mask = rasterize([Rectangle(3, 1, 6, 2), Rectangle(5, 2, 8, 3)], height=5, width=20)
    assert object_area(mask) == (8 + 8 - 2) / 100


@pytest.mark.parametrize(
    ("shapes", "kind"),
    [
        ([BOX], "rectangle"),
        ([ROUND, Ellipse(1, 1, 2, 2)], "ellipse"),
        ([TRIANGLE] * 3, "polygon"),
        ([BOX, BOX, ROUND], "mixed"),
        ([BOX, ROUND, TRIANGLE], "mixed"),
        ([], ""),
    ],
)
def test_the_shape_type_of_an_image(shapes: list[Shape], kind: str):
    assert shape_type(shapes) == kind
