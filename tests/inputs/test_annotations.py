"""Shapes: text form, clipping and rasterising, against other geometry (foci, winding, Pick's theorem)."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cxrlens.inputs.annotations.shapes import (
    FARTHEST,
    AnnotationError,
    Ellipse,
    Point,
    Polygon,
    Rectangle,
    Shape,
    clip_shape,
    format_annotation,
    map_points,
    parse_annotation,
    rasterize,
)

HEIGHT, WIDTH = 14, 23  # not square, so that a transposed mask cannot pass

wide = st.floats(-FARTHEST, FARTHEST) | st.integers(-(10**6), 10**6).map(float)
near = st.integers(-8 * 64, 30 * 64).map(lambda part: part / 64) | st.integers(-8, 30).map(float)


def boxes(kind: type[Rectangle | Ellipse], numbers: st.SearchStrategy[float]) -> st.SearchStrategy[Shape]:
    ends = st.tuples(numbers, numbers).map(sorted)
    return st.builds(lambda x, y: kind(x[0], y[0], x[1], y[1]), ends, ends)


def polygons(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[Polygon]:
    points = st.lists(st.tuples(numbers, numbers), min_size=3, max_size=7)
    return points.map(lambda points: Polygon(tuple(points)))


def shapes(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[Shape]:
    return boxes(Rectangle, numbers) | boxes(Ellipse, numbers) | polygons(numbers)


lattice_polygons = polygons(st.integers(-8, 30).map(float))


def raster(*shape: Shape) -> np.ndarray:
    return rasterize(shape, height=HEIGHT, width=WIDTH)


def edges(points: tuple[Point, ...]) -> list[tuple[Point, Point]]:
    return [(points[i - 1], points[i]) for i in range(len(points))]


def edge_distance(points: tuple[Point, ...], x: int, y: int) -> float:
    """Distance of (x, y) to the nearest edge."""

    def to_segment(a: Point, b: Point) -> float:
        start, way = complex(*a), complex(*b) - complex(*a)
        t = ((complex(x, y) - start) * way.conjugate()).real / abs(way) ** 2 if abs(way) > 1e-150 else 0.0
        return abs(complex(x, y) - start - min(max(t, 0.0), 1.0) * way)

    return min(to_segment(a, b) for a, b in edges(points))


def windings(points: tuple[Point, ...], x: int, y: int) -> int:
    """How often the outline turns around (x, y): the sum of the angles under which its edges are seen."""
    seen = [complex(px - x, py - y) for px, py in points]
    turns = sum(cmath.phase(b / a) for a, b in zip(seen, seen[1:] + seen[:1], strict=True))
    return round(turns / (2 * math.pi))


# --- text form ---------------------------------------------------------------------------------------------


@given(st.lists(shapes(wide), max_size=5))
def test_parsing_inverts_formatting(given_shapes: list[Shape]):
    assert parse_annotation(format_annotation(given_shapes)) == tuple(given_shapes)


@given(st.lists(shapes(wide), min_size=1, max_size=4), st.sampled_from([" ", "  ", "\t", " \t "]))
def test_extra_blanks_and_dos_line_ends_are_tolerated(given_shapes: list[Shape], blank: str):
    text = format_annotation(given_shapes)
    loose = blank + text.replace(" ", blank).replace(";", f"{blank};{blank}") + f"{blank};\r\n"
    assert parse_annotation(loose) == tuple(given_shapes)


def test_a_row_of_the_published_form():
    text = "0 10 20 30 40;1 5 6 7 8;2 1 2 3 4 5.5 6"
    expected = (Rectangle(10, 20, 30, 40), Ellipse(5, 6, 7, 8), Polygon(((1, 2), (3, 4), (5.5, 6))))
    assert parse_annotation(text) == expected
    assert format_annotation(expected) == text


@pytest.mark.parametrize("text", ["", " ", "\r\n", ";", " ; ;"])
def test_empty_means_no_object(text: str):
    assert parse_annotation(text) == ()


@pytest.mark.parametrize("code", [0, 1])
def test_corners_are_put_in_order(code: int):
    (shape,) = parse_annotation(f"{code} 30 4 10 20")
    assert shape.bounds() == (10, 4, 30, 20)


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ("0 1 2 3", "4 numbers"),
        ("1 1 2 3 4 5", "4 numbers"),
        ("0", "4 numbers"),
        ("2 1 2 3 4", "at least 6"),
        ("2 1 2 3 4 5 6 7", "even"),
        ("3 1 2 3 4", "codes are 0, 1 and 2"),
        ("0 1 2 three 4", "numbers"),
        ("0,1,2,3,4", "codes are 0, 1 and 2"),
        ("0 1 2 nan 4", "not finite"),
        ("0 1 2 inf 4", "not finite"),
    ],
)
def test_errors_quote_the_part_and_say_why(part: str, reason: str):
    with pytest.raises(AnnotationError, match=reason) as caught:
        parse_annotation(f"0 1 2 3 4; {part} ;1 1 2 3 4")
    assert repr(part) in str(caught.value)


# --- rasterising -------------------------------------------------------------------------------------------


def test_rectangle_includes_both_ends():
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[2:6, 11:20] = True
    assert np.array_equal(raster(Rectangle(11, 2, 19, 5)), expected)
    assert np.array_equal(raster(Rectangle(10.1, 1.5, 19.9, 5.2)), expected)
    assert raster(Rectangle(4, 9, 4, 9)).nonzero() == (np.array([9]), np.array([4]))


@given(boxes(Ellipse, near))
def test_ellipse_holds_the_points_with_a_small_sum_of_distances_to_its_foci(ellipse: Ellipse):
    x1, y1, x2, y2 = ellipse.bounds()
    a, b = (x2 - x1) / 2, (y2 - y1) / 2
    middle, focus = complex(x1 + a, y1 + b), complex(a * a - b * b) ** 0.5
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    point = x + 1j * y
    excess = abs(point - middle - focus) + abs(point - middle + focus) - 2 * max(a, b)
    assume(np.any(excess < -1e-6))
    assert not np.any((excess < -1e-6) & ~raster(ellipse))
    assert not np.any((excess > 1e-6) & raster(ellipse))


def test_ellipse_touches_the_sides_of_its_box():
    mask = raster(Ellipse(10, 3, 20, 9))
    rows, columns = mask.nonzero()
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 9, 10, 20)
    assert mask[3].nonzero()[0].tolist() == mask[9].nonzero()[0].tolist() == [15]
    assert not mask[3, 10]


@settings(max_examples=150)
@given(lattice_polygons)
def test_polygon_of_whole_numbers_follows_the_even_odd_rule_with_its_edges(polygon: Polygon):
    """Self-crossing ones too; a pixel centre either lies exactly on an edge or well away from all."""
    expected = np.array(
        [
            [
                edge_distance(polygon.points, x, y) < 1e-9 or windings(polygon.points, x, y) % 2 == 1
                for x in range(WIDTH)
            ]
            for y in range(HEIGHT)
        ]
    )
    mask = raster(polygon)
    if expected.any():
        assert np.array_equal(mask, expected)
    else:
        assert mask.sum() <= 1


@settings(max_examples=100)
@given(polygons(st.floats(-8, 30)), st.integers(0, HEIGHT - 1), st.integers(0, WIDTH - 1))
def test_polygon_of_any_numbers_follows_the_even_odd_rule(polygon: Polygon, y: int, x: int):
    assume(edge_distance(polygon.points, x, y) > 1e-6)
    inside = polygon.contains(np.array([float(x)]), np.array([float(y)]))[0]
    assert inside == (windings(polygon.points, x, y) % 2 == 1)


@st.composite
def simple_polygons(draw: st.DrawFn) -> Polygon:
    """Not convex in general, never self-crossing: an upper and a lower chain of points, left to right."""
    xs = sorted(draw(st.sets(st.integers(0, WIDTH - 1), min_size=2, max_size=6)))
    upper, lower = ([(float(x), float(draw(st.integers(*rows)))) for x in xs] for rows in ((0, 6), (7, HEIGHT - 1)))
    return Polygon(tuple(upper + lower[::-1]))


@given(simple_polygons())
def test_simple_polygon_holds_as_many_pixels_as_picks_theorem_says(polygon: Polygon):
    """Pick: points inside or on a lattice polygon = area + points on the edge / 2 + 1."""
    area = abs(sum(ax * by - bx * ay for (ax, ay), (bx, by) in edges(polygon.points))) / 2
    on_edge = sum(math.gcd(int(bx - ax), int(by - ay)) for (ax, ay), (bx, by) in edges(polygon.points))
    assert raster(polygon).sum() == area + on_edge / 2 + 1


def test_the_middle_of_a_pentagram_is_outside():
    angles = [4 * math.pi * k / 5 for k in range(5)]
    corners = [(11 + 6 * math.sin(angle), 7 - 6 * math.cos(angle)) for angle in angles]
    mask = raster(Polygon(tuple(corners)))
    assert not mask[7, 11]
    assert mask[2, 11]  # its upper spike


def test_nearly_equal_points_of_a_polygon_do_not_swell_it():
    mask = raster(Polygon(((2, 2), (2 + 1e-9, 2), (8, 2.5), (8, 7))))
    assert mask[2].nonzero()[0].tolist() == [2]


@given(st.lists(shapes(near), max_size=4))
def test_several_shapes_are_a_union(given_shapes: list[Shape]):
    expected = np.zeros((HEIGHT, WIDTH), bool)
    for shape in given_shapes:
        expected |= raster(shape)
    assert np.array_equal(raster(*given_shapes), expected)


@given(shapes(near), st.integers(0, 9), st.integers(0, 12))
def test_what_lies_outside_is_cut(shape: Shape, down: int, right: int):
    """The mask of a part of the image is that part of the whole image's mask, unless the shape is thin."""
    moved = map_points(shape, lambda x, y: (x + 10, y + 10))
    whole = rasterize([moved], height=60, width=70)
    part = map_points(moved, lambda x, y: (x - right, y - down))
    inner = rasterize([part], height=HEIGHT, width=WIDTH)
    window = whole[down : down + HEIGHT, right : right + WIDTH]
    if window.any() and whole.sum() > 1:
        assert np.array_equal(inner, window)
    else:
        assert inner.sum() <= 1


@given(shapes(st.floats(0, 1)), st.floats(1e-9, 1), st.floats(1e-9, 1))
def test_no_shape_inside_the_image_vanishes(shape: Shape, stretch_x: float, stretch_y: float):
    """A shape without a pixel centre marks one pixel, within half a pixel of its bounding box."""
    scale_x, scale_y = 0.7 * stretch_x * WIDTH, 0.7 * stretch_y * HEIGHT
    inside = map_points(shape, lambda x, y: (0.3 * WIDTH + scale_x * x - 0.5, 0.3 * HEIGHT + scale_y * y - 0.5))
    mask = raster(inside)
    assert mask.any()
    x1, y1, x2, y2 = inside.bounds()
    for y, x in np.argwhere(mask):
        assert x1 - 0.5 - 1e-6 <= x <= x2 + 0.5 + 1e-6
        assert y1 - 0.5 - 1e-6 <= y <= y2 + 0.5 + 1e-6


@pytest.mark.parametrize(
    ("shape", "pixel"),
    [
        (Rectangle(5.2, 3.3, 5.4, 3.4), (3, 5)),
        (Rectangle(5.3, -40, 5.4, 6.3), (0, 5)),  # sticks out
        (Rectangle(-0.4, -0.4, -0.2, -0.2), (0, 0)),  # in the outer half of a border pixel
        (Ellipse(17.2, 3.3, 17.4, 9.1), (6, 17)),
        (Polygon(((-90.2, 4.3), (7.3, 4.4), (-90, 4.3))), (4, 0)),  # a needle from outside
        (Polygon(((1.3, 1.2), (1.4, 11.4), (21.3, 11.45), (1.35, 11.41))), (11, 11)),  # an L
    ],
)
def test_thin_shapes_mark_the_pixel_they_touch_nearest_to_their_middle(shape: Shape, pixel: tuple[int, int]):
    assert np.argwhere(raster(shape)).tolist() == [list(pixel)]


@pytest.mark.parametrize(
    "shape",
    [
        Rectangle(-9, 3, -2, 8),
        Rectangle(3, HEIGHT, 8, HEIGHT + 4),
        Ellipse(-10, -10, 1, 1),  # only its bounding box reaches into the image
        Polygon(((-10, 4), (4, -10), (-10, -10))),
        Polygon(((-9, -9), (40, -9), (40, 30), (39, 30), (39, -8), (-9, -8))),  # bends around the image
    ],
)
def test_shapes_outside_leave_nothing(shape: Shape):
    assert not raster(shape).any()


# --- clipping ----------------------------------------------------------------------------------------------


def test_rectangle_is_clipped_to_the_outer_pixels():
    assert clip_shape(Rectangle(-5, 2, 8, 90), height=HEIGHT, width=WIDTH) == Rectangle(0, 2, 8, HEIGHT - 1)
    assert clip_shape(Rectangle(20, -3, 23, 4), height=HEIGHT, width=WIDTH) == Rectangle(20, 0, WIDTH - 1, 4)


@pytest.mark.parametrize("kind", [Rectangle, Ellipse])
@pytest.mark.parametrize("corners", [(-9, 1, -1, 5), (1, -9, 5, -1), (WIDTH, 1, 30, 5), (1, HEIGHT, 5, 30)])
def test_boxes_outside_are_clipped_to_none(kind: type[Rectangle | Ellipse], corners: tuple[int, ...]):
    assert clip_shape(kind(*corners), height=HEIGHT, width=WIDTH) is None


@given(shapes(near))
def test_clipping_does_not_change_the_mask(shape: Shape):
    clipped = clip_shape(shape, height=HEIGHT, width=WIDTH)
    mask = raster(shape)
    if clipped is None:
        assert not mask.any()
    elif mask.sum() > 1:
        assert np.array_equal(raster(clipped), mask)
    else:  # a rectangle whose visible part holds no pixel centre may mark other pixels of that part
        assert raster(clipped).any() == mask.any()


@given(shapes(near))
def test_shapes_inside_are_not_clipped(shape: Shape):
    inside = map_points(shape, lambda x, y: ((x + 8) / 38 * (WIDTH - 1), (y + 8) / 38 * (HEIGHT - 1)))
    assert clip_shape(inside, height=HEIGHT, width=WIDTH) == inside
