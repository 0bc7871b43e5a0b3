"""Geometry: points, shapes, masks forward and maps back, on sizes that are not square."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage
from torch.nn import functional
from torchvision import tv_tensors
from torchvision.transforms import v2

from cxrlens.inputs.annotations.shapes import Ellipse, Polygon, Rectangle, map_points, rasterize
from cxrlens.inputs.geometry import Geometry

KINDS = (Geometry.stretch, Geometry.letterbox)


def scales(geometry: Geometry) -> tuple[float, float]:
    """Output pixels per image pixel, along x and y."""
    return geometry.scaled_width / geometry.width, geometry.scaled_height / geometry.height


def of_sizes(sides: st.SearchStrategy[int]) -> st.SearchStrategy[Geometry]:
    """Of either kind."""
    return st.builds(lambda kind, *sides: kind(*sides), st.sampled_from(KINDS), sides, sides, sides, sides)


geometries = of_sizes(st.integers(1, 90))
extreme_geometries = of_sizes(st.sampled_from((1, 2, 7, 200, 600, 1999)))
coordinates = st.floats(-100, 200)
big_geometries = of_sizes(st.integers(40, 160))
PAIRS = [
    Geometry.letterbox(40, 70, 60, 60),
    Geometry.letterbox(90, 30, 60, 45),
    Geometry.letterbox(37, 53, 111, 79),
    Geometry.letterbox(200, 77, 64, 81),
    Geometry.stretch(40, 70, 60, 60),  # wide, enlarged in one direction and shrunk in the other
    Geometry.stretch(90, 30, 60, 45),  # tall
    Geometry.stretch(37, 53, 111, 79),
    Geometry.stretch(120, 200, 31, 47),
]


@given(st.one_of(geometries, extreme_geometries), coordinates, coordinates)
def test_points_come_back(geometry: Geometry, x: float, y: float):
    assert geometry.backward_point(*geometry.forward_point(x, y)) == pytest.approx((x, y), abs=1e-6)
    assert geometry.forward_point(*geometry.backward_point(x, y)) == pytest.approx((x, y), abs=1e-6)


@given(st.one_of(geometries, extreme_geometries), st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=6))
def test_shapes_come_back(geometry: Geometry, points: list[tuple[float, float]]):
    (ax, ay), (bx, by) = points[:2]
    corners = min(ax, bx), min(ay, by), max(ax, bx), max(ay, by)
    for shape in (Rectangle(*corners), Ellipse(*corners), Polygon(tuple(points))):
        moved = geometry.forward_shape(shape)
        returned = map_points(moved, geometry.backward_point)
        assert type(moved) is type(returned) is type(shape)
        assert returned.numbers() == pytest.approx(shape.numbers(), abs=1e-6)


@given(st.one_of(geometries, extreme_geometries))
def test_pixel_edges_fall_on_pixel_edges(geometry: Geometry):
    """The outer edges of the image's corner pixels are those of the scaled image's; padding lies beyond."""
    top, left, height, width = geometry.window
    assert geometry.forward_point(-0.5, -0.5) == pytest.approx((left - 0.5, top - 0.5))
    far = geometry.forward_point(geometry.width - 0.5, geometry.height - 0.5)
    assert far == pytest.approx((left + width - 0.5, top + height - 0.5))
    expected = (-0.5, geometry.width - 0.5, geometry.height - 0.5, -0.5)
    assert geometry.without_padding().extent() == pytest.approx(expected)
    pixel_width, pixel_height = geometry.width / width, geometry.height / height  # of the output, in image pixels
    right, bottom = geometry.out_width - left - width, geometry.out_height - top - height
    beyond = (-left * pixel_width, right * pixel_width, bottom * pixel_height, -top * pixel_height)
    assert geometry.extent() == pytest.approx([edge + more for edge, more in zip(expected, beyond, strict=True)])


@given(st.one_of(geometries, extreme_geometries), st.data())
def test_pixels_come_back_within_half_a_pixel(geometry: Geometry, data: st.DataObject):
    """Rounding to whole output pixels moves a point by half an output pixel at most."""
    x = data.draw(st.integers(0, geometry.width - 1))
    y = data.draw(st.integers(0, geometry.height - 1))
    column, row = (round(value) for value in geometry.forward_point(float(x), float(y)))
    back_x, back_y = geometry.backward_point(float(column), float(row))
    assert abs(back_x - x) <= 0.5 * geometry.width / geometry.scaled_width + 1e-9
    assert abs(back_y - y) <= 0.5 * geometry.height / geometry.scaled_height + 1e-9


@pytest.mark.parametrize(
    ("image", "output", "window"),
    [
        ((200, 2000), (600, 600), (270, 0, 60, 600)),
        ((2000, 200), (600, 600), (0, 270, 600, 60)),
        ((3001, 2500), (600, 600), (0, 50, 600, 500)),  # 499.8 columns
        ((300, 400), (600, 800), (0, 0, 600, 800)),
        ((1, 1000), (10, 10), (4, 0, 1, 10)),  # a hundredth of a row, and padding of 4 above and 5 below
        ((700, 1), (64, 80), (0, 39, 64, 1)),
        ((50, 50), (64, 80), (0, 8, 64, 64)),
    ],
)
def test_windows_of_letterboxes(image: tuple[int, int], output: tuple[int, int], window: tuple[int, int, int, int]):
    geometry = Geometry.letterbox(*image, *output)
    assert geometry.window == window
    assert geometry.is_padded == (window != (0, 0, *output))


@given(st.one_of(geometries, extreme_geometries))
def test_letterboxes_keep_the_aspect_and_the_middle(geometry: Geometry):
    geometry = Geometry.letterbox(geometry.height, geometry.width, geometry.out_height, geometry.out_width)
    top, left, height, width = geometry.window
    scale = Fraction(geometry.out_height, geometry.height)
    scale = min(scale, Fraction(geometry.out_width, geometry.width))
    assert abs(height - geometry.height * scale) <= Fraction(1, 2) or height == 1
    assert abs(width - geometry.width * scale) <= Fraction(1, 2) or width == 1
    assert height == geometry.out_height or width == geometry.out_width
    assert 0 <= geometry.out_height - height - 2 * top <= 1
    assert 0 <= geometry.out_width - width - 2 * left <= 1
    middle = geometry.forward_point((geometry.width - 1) / 2, (geometry.height - 1) / 2)
    assert middle == pytest.approx(((geometry.out_width - 1) / 2, (geometry.out_height - 1) / 2), abs=0.5 + 1e-9)


@given(geometries, st.lists(coordinates, min_size=4, max_size=4))
def test_boxes_go_where_torchvision_carries_them(geometry: Geometry, sides: list[float]):
    """Its boxes are measured from the outer edge of the first pixel."""
    x1, x2, y1, y2 = (*sorted(sides[:2]), *sorted(sides[2:]))
    edges = torch.tensor([[x1, y1, x2, y2]], dtype=torch.float64) + 0.5
    boxes = tv_tensors.BoundingBoxes(
        edges, format="XYXY", canvas_size=(geometry.height, geometry.width), clamping_mode=None
    )
    top, left, height, width = geometry.window
    boxes = v2.functional.resize(boxes, [height, width])
    right, bottom = geometry.out_width - left - width, geometry.out_height - top - height
    theirs = v2.functional.pad(boxes, [left, top, right, bottom])
    assert geometry.forward_shape(Rectangle(x1, y1, x2, y2)).numbers() == pytest.approx(
        (theirs[0] - 0.5).tolist(), abs=1e-4
    )


@pytest.mark.parametrize("geometry", PAIRS)
def test_points_go_where_torch_carries_a_ramp(geometry: Geometry):
    """The resized image of "every pixel holds its own x" holds backward_point's x, away from the border."""
    y, x = torch.meshgrid(torch.arange(geometry.height).double(), torch.arange(geometry.width).double(), indexing="ij")
    top, left, height, width = geometry.window
    resized = functional.interpolate(torch.stack([x, y])[None], (height, width), mode="bilinear")[0]
    columns, rows = np.meshgrid(np.arange(width) + float(left), np.arange(height) + float(top))
    back_x, back_y = geometry.backward_point(columns, rows)
    assert np.allclose(resized[0], back_x.clip(0, geometry.width - 1), atol=1e-6)
    assert np.allclose(resized[1], back_y.clip(0, geometry.height - 1), atol=1e-6)


def test_maps_back_agree_with_torch_and_pillow():
    values = np.random.default_rng(0).random((19, 33))
    larger = Geometry.stretch(60, 50, 19, 33).backward_map(values)
    theirs = functional.interpolate(torch.tensor(values)[None, None], (60, 50), mode="bilinear")[0, 0]
    assert larger.dtype == np.float32
    assert np.allclose(larger, theirs, atol=1e-6)
    smaller = Geometry.stretch(7, 21, 19, 33).backward_map(values)
    pillows = Image.fromarray(values.astype(np.float32)).resize((21, 7), Image.Resampling.BILINEAR)
    assert np.allclose(smaller, np.asarray(pillows), atol=1e-5)


@pytest.mark.parametrize("geometry", PAIRS)
@pytest.mark.parametrize("place", [(0.2, 0.75), (0.8, 0.3)])
def test_a_bright_spot_comes_back_to_its_place(geometry: Geometry, place: tuple[float, float]):
    """A Gaussian spot and a single pixel planted off the diagonal, as shares of the image's (rows, columns)."""
    row = geometry.top + int(place[0] * geometry.scaled_height)
    column = geometry.left + int(place[1] * geometry.scaled_width)
    x, y = geometry.backward_point(float(column), float(row))
    rows, columns = np.mgrid[: geometry.out_height, : geometry.out_width]
    spot = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * 2.0**2))
    pixel = ((rows == row) & (columns == column)).astype(float)
    for planted in (spot, pixel):
        returned = geometry.backward_map(planted)
        assert returned.shape == (geometry.height, geometry.width)
        peak = np.unravel_index(returned.argmax(), returned.shape)
        assert peak == pytest.approx((y, x), abs=0.5 + 1e-6)
        assert ndimage.center_of_mass(returned) == pytest.approx((y, x), abs=0.5)


def test_backward_map_takes_any_memory_layout():
    values = np.random.default_rng(0).random((12, 9))
    expected = Geometry.stretch(20, 30, 12, 9).backward_map(values)
    kept = values.copy()
    flipped = np.flip(np.flip(kept).copy())  # negative strides
    flipped.setflags(write=False)
    assert np.array_equal(Geometry.stretch(20, 30, 12, 9).backward_map(flipped), expected)
    assert np.array_equal(Geometry.stretch(20, 30, 12, 9).backward_map(np.asfortranarray(kept)), expected)
    same = Geometry.stretch(12, 9, 12, 9).backward_map(kept)
    same[:] = 0
    assert np.array_equal(kept, values)


@given(geometries)
def test_forward_mask_takes_the_pixel_under_each_centre(geometry: Geometry):
    """Of a half plane, by whole numbers: the centre of pixel i lies on pixel (2 i + 1) * size // (2 * scaled)."""
    y, x = np.mgrid[: geometry.height, : geometry.width]
    mask = x * geometry.height > y * geometry.width
    top, left, height, width = geometry.window
    rows = (2 * np.arange(height) + 1) * geometry.height // (2 * height)
    columns = (2 * np.arange(width) + 1) * geometry.width // (2 * width)
    expected = np.zeros((geometry.out_height, geometry.out_width), bool)
    expected[top : top + height, left : left + width] = mask[rows][:, columns]
    assume(expected.any())
    assert np.array_equal(geometry.forward_mask(mask), expected)


@pytest.mark.parametrize("geometry", PAIRS)
def test_forward_mask_agrees_with_torch(geometry: Geometry):
    mask = rasterize([Ellipse(2, 5, 27, 30)], height=geometry.height, width=geometry.width)
    size = (geometry.scaled_height, geometry.scaled_width)
    theirs = functional.interpolate(torch.tensor(mask)[None, None].float(), size, mode="nearest-exact")[0, 0] > 0
    carried = geometry.forward_mask(mask)
    assert np.array_equal(geometry.cut(carried), theirs)
    assert carried.sum() == theirs.sum()


@settings(max_examples=100, deadline=None)
@given(big_geometries, st.data())
def test_the_mask_forward_is_the_shape_forward(geometry: Geometry, data: st.DataObject):
    """For shapes of whole numbers that cover about half of either side: the same pixels but for one at the border.

    Edges of a mask run half an image pixel outside those of its shape, which is more where pixels are enlarged.
    """
    left, top = (data.draw(st.integers(0, n // 2)) for n in (geometry.width, geometry.height))
    right, bottom = left + geometry.width // 2 - 1, top + geometry.height // 2 - 1
    trapezium = Polygon(((left, top), (right, top), (right, bottom), (left + 5, bottom)))
    middle_x, middle_y = geometry.forward_point((left + right) / 2, (top + bottom) / 2)
    border = np.ones([2 * math.ceil(1 + 0.5 * scale) + 1 for scale in scales(geometry)[::-1]], bool)
    for shape in (Rectangle(left, top, right, bottom), Ellipse(left, top, right, bottom), trapezium):
        carried = geometry.forward_mask(rasterize([shape], height=geometry.height, width=geometry.width))
        moved = geometry.forward_shape(shape)
        drawn = rasterize([moved], height=geometry.out_height, width=geometry.out_width)
        assert not (carried & ~ndimage.binary_dilation(drawn, border)).any()
        assert not (drawn & ~ndimage.binary_dilation(carried, border)).any()
        if shape is not trapezium:
            assert ndimage.center_of_mass(carried) == pytest.approx((middle_y, middle_x), abs=0.5 + 1e-9)


@given(geometries, st.data())
def test_no_object_of_a_mask_vanishes(geometry: Geometry, data: st.DataObject):
    """A single pixel is still there, at its place, and so is a second one far from it."""
    mask = np.zeros((geometry.height, geometry.width), bool)
    rows, columns = (st.integers(0, n - 1) for n in mask.shape)
    spots = data.draw(st.lists(st.tuples(rows, columns), max_size=2))
    for row, column in spots:
        mask[row, column] = True
    resized = geometry.forward_mask(mask)
    assert resized.shape == (geometry.out_height, geometry.out_width)
    assert resized.any() == mask.any()
    for row, column in spots:
        x, y = geometry.forward_point(float(column), float(row))
        reach_x, reach_y = (0.5 + 0.5 * scale + 1e-6 for scale in scales(geometry))
        found = np.argwhere(resized)
        assert ((abs(found[:, 0] - y) <= reach_y) & (abs(found[:, 1] - x) <= reach_x)).any()


def test_a_thin_wire_stays_a_line_when_shrunk():
    mask = np.zeros((100, 300), bool)
    mask[22, 40:200] = True  # between the rows that the resize samples
    resized = Geometry.stretch(100, 300, 10, 30).forward_mask(mask)
    expected = np.zeros((10, 30), bool)
    expected[2, 4:20] = True
    assert np.array_equal(resized, expected)


def test_pixels_that_touch_at_a_corner_are_one_part():
    mask = np.zeros((30, 45), bool)
    mask[:12, :12] = mask[12, 12] = True  # the resize samples rows and columns 1, 4, 7, ...
    resized = Geometry.stretch(30, 45, 10, 15).forward_mask(mask)
    assert resized[:4, :4].all()
    assert resized.sum() == 16


def test_extent_draws_the_resized_map_over_the_image():
    geometry = Geometry.stretch(40, 70, 60, 60)
    axes = Figure().subplots()
    drawn = axes.imshow(np.zeros((geometry.out_height, geometry.out_width)), extent=geometry.extent())
    plain = Figure().subplots().imshow(np.zeros((geometry.height, geometry.width)))
    assert tuple(drawn.get_extent()) == pytest.approx(tuple(plain.get_extent()))


@given(geometries, st.integers(0, 3))
def test_what_is_cut_and_padded_comes_back(geometry: Geometry, dimensions: int):
    output = np.arange(1.0, 1 + geometry.out_height * geometry.out_width).astype(np.float32)
    output = output.reshape([*[1] * dimensions, geometry.out_height, geometry.out_width])
    picture = geometry.cut(torch.from_numpy(output))
    assert np.array_equal(picture, geometry.cut(output))
    padded = geometry.pad(picture)
    assert padded.shape == output.shape
    x, y = geometry.backward_point(np.arange(geometry.out_width) + 0.0, np.arange(geometry.out_height) + 0.0)
    inside = ((y > -0.5) & (y < geometry.height - 0.5))[:, None] & ((x > -0.5) & (x < geometry.width - 0.5))
    assert np.array_equal(padded, np.where(inside, output, 0))


def test_maps_of_padding_are_cut_away_on_the_way_back():
    geometry = Geometry.letterbox(30, 90, 60, 60)  # rows 20 to 39
    values = np.full((60, 60), 9.0)
    values[20:40] = np.linspace(0, 1, 60)
    returned = geometry.backward_map(values)
    assert returned.shape == (30, 90)
    assert returned.max() <= 1
    assert np.allclose(returned, returned[0])


def test_arrays_of_another_shape_are_refused():
    geometry = Geometry.stretch(20, 30, 12, 9)
    with pytest.raises(ValueError, match=r"\(20, 30\), not \(30, 20\)"):
        geometry.forward_mask(np.zeros((30, 20), bool))
    with pytest.raises(ValueError, match=r"\(12, 9\), not \(9, 12\)"):
        geometry.backward_map(np.zeros((9, 12)))


@pytest.mark.parametrize("size", [0, -3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", range(4))
def test_sizes_are_positive(kind: Callable[..., Geometry], size: int, place: int):
    sizes = [4, 5, 6, 7]
    sizes[place] = size
    with pytest.raises(ValueError, match="positive"):
        kind(*sizes)


def test_the_scaled_image_lies_in_the_output():
    with pytest.raises(ValueError, match="in the output"):
        Geometry(4, 5, 10, 10, 8, 10, top=3)
