"""Overlays: peaks, shapes and maps land on the right pixel, also on pictures that are not square."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from cxrlens.inputs.annotations.shapes import Ellipse, Polygon, Rectangle, Shape
from cxrlens.report.figures import GREEN, RED
from cxrlens.report.overlays import MapPanel, SheetRow, contact_sheet, overlay_figure

HEIGHT, WIDTH = 120, 200


def black(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.zeros((height, width), dtype=np.float32)


def map_panel(
    title: str = "Grad-CAM",
    shape: tuple[int, int] = (HEIGHT, WIDTH),
    peak: tuple[int, int] | None = None,
    hit: bool | None = None,
) -> MapPanel:
    return MapPanel(title, np.zeros(shape, dtype=np.float32), peak, hit=hit)


def rendered(figure: Figure) -> np.ndarray:
    """The figure's pixels, int [rows, columns, 3]."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def pixels_like(figure: Figure, axes: Axes, color: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Picture columns x and rows y of the rendered pixels of one colour, from where the axes' frame lies."""
    image = rendered(figure)
    height, width = axes.images[0].get_array().shape
    left, bottom, right, top = axes.get_window_extent().extents
    rows, columns = np.nonzero(np.abs(image - color).max(axis=-1) < 40)
    x = (columns + 0.5 - left) / (right - left) * width - 0.5
    y = (image.shape[0] - rows - 0.5 - bottom) / (top - bottom)
    y = (1 - y) * height - 0.5
    inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    return x[inside], y[inside]


def peak_of(axes: Axes) -> tuple[float, float]:
    (mark,) = axes.lines
    (x,), (y,) = mark.get_data()
    return float(x), float(y)


def vertices(patch: Patch) -> np.ndarray:
    """The outline's points in picture pixels, curves replaced by line segments."""
    return np.vstack(patch.get_path().to_polygons(patch.get_patch_transform(), closed_only=False))


def test_remarks_stand_below_the_title_in_three_lines_at_most() -> None:
    remarks = ["It is nearly black.", "60 % of its pixels are black."]
    text = overlay_figure(black(), [map_panel()], title="a", remarks=remarks)._suptitle.get_text()
    assert " ".join(text.split("\n")) == "a It is nearly black. 60 % of its pixels are black."
    lines = overlay_figure(black(), [map_panel()], title="a", remarks=remarks * 9)._suptitle.get_text().split("\n")
    assert len(lines) == 4
    assert lines[-1].endswith("…")
    assert overlay_figure(black(), [map_panel()], title="a")._suptitle.get_text() == "a"


def test_a_peak_of_a_full_size_map_stays_at_its_pixel() -> None:
    figure = overlay_figure(black(), [map_panel(peak=(30, 150))], title="a")
    assert peak_of(figure.axes[1]) == pytest.approx((150, 30))


def test_a_peak_of_a_smaller_map_goes_to_the_centre_of_its_block_of_pixels() -> None:
    # a 3 x 4 map over 120 x 200 pixels: its pixel (2, 1) covers rows 80..119 and columns 50..99
    figure = overlay_figure(black(), [map_panel(shape=(3, 4), peak=(2, 1))], title="a")
    assert peak_of(figure.axes[1]) == pytest.approx((np.arange(50, 100).mean(), np.arange(80, 120).mean()))


def test_a_peak_follows_the_extent_of_its_map() -> None:
    # a 3 x 4 map over rows 60..89 and columns 20..59: its pixel (0, 3) covers rows 60..69, columns 50..59
    extent = (19.5, 59.5, 89.5, 59.5)
    figure = overlay_figure(black(), [map_panel(shape=(3, 4), peak=(0, 3))], title="a", extent=extent)
    axes = figure.axes[1]
    assert peak_of(axes) == pytest.approx((np.arange(50, 60).mean(), np.arange(60, 70).mean()))
    assert tuple(axes.images[1].get_extent()) == extent
    assert axes.get_xlim() == (-0.5, WIDTH - 0.5)
    assert axes.get_ylim() == (HEIGHT - 0.5, -0.5)


def test_the_rendered_cross_is_centred_on_the_peak_and_absent_without_one() -> None:
    figure = overlay_figure(black(), [map_panel(peak=(30, 150)), map_panel(peak=None)], title="a")
    x, y = pixels_like(figure, figure.axes[1], (255, 255, 255))
    assert (x.min() + x.max()) / 2 == pytest.approx(150, abs=1.5)
    assert (y.min() + y.max()) / 2 == pytest.approx(30, abs=1.5)
    assert pixels_like(figure, figure.axes[2], (255, 255, 255))[0].size == 0


def test_a_peak_in_the_corner_is_seen_above_the_frame() -> None:
    figure = overlay_figure(black(), [map_panel(peak=(0, 0), hit=True)], title="a")
    assert pixels_like(figure, figure.axes[1], (255, 255, 255))[0].size > 3


def test_the_rendered_map_is_bright_only_where_the_map_is_high() -> None:
    heat = np.zeros((6, 10), dtype=np.float32)
    heat[1, 7] = 1  # covers rows 20..39 and columns 140..159 of the picture
    figure = overlay_figure(black(), [MapPanel("m", heat)], title="a")
    lit = rendered(figure).max(axis=-1)
    axes = figure.axes[1]

    def brightness(x: float, y: float) -> int:
        column, from_bottom = axes.transData.transform((x, y))
        return int(lit[lit.shape[0] - 1 - round(from_bottom), round(column)])

    assert brightness(149.5, 29.5) > 120
    assert max(brightness(29.5, 149.5 * HEIGHT / WIDTH), brightness(50, 29.5), brightness(149.5, 90)) < 10


@pytest.mark.parametrize("height", [HEIGHT, HEIGHT * 20])
def test_shapes_are_drawn_at_their_pixels_whatever_the_display_size(height: int) -> None:
    width = height * 5 // 3
    shapes: list[Shape] = [
        Rectangle(0.7 * width, 0.1 * height, 0.9 * width, 0.3 * height),
        Ellipse(0.1 * width, 0.5 * height, 0.3 * width, 0.9 * height),
        Polygon(((0.5 * width, 0.5 * height), (0.6 * width, 0.6 * height), (0.4 * width, 0.8 * height))),
    ]
    figure = overlay_figure(black(height, width), [map_panel()], shapes=shapes, title="a")
    for axes in figure.axes[:2]:
        assert tuple(axes.images[0].get_extent()) == (-0.5, width - 0.5, height - 0.5, -0.5)
        assert len(axes.patches) == 3
        for patch, shape in zip(axes.patches, shapes, strict=True):
            points = vertices(patch)
            assert (*points.min(axis=0), *points.max(axis=0)) == pytest.approx(shape.bounds(), rel=1e-3)
        ellipse = vertices(axes.patches[1]) - (0.2 * width, 0.7 * height)
        assert np.hypot(*(ellipse / (0.1 * width, 0.2 * height)).T) == pytest.approx(1, abs=1e-2)


def test_the_rendered_outline_surrounds_the_object() -> None:
    figure = overlay_figure(black(), [], shapes=[Rectangle(150, 10, 180, 40)], title="a")
    x, y = pixels_like(figure, figure.axes[0], (0, 229, 255))
    assert (x.min(), y.min(), x.max(), y.max()) == pytest.approx((150, 10, 180, 40), abs=1.5)


def test_a_large_picture_is_reduced_by_averages_in_its_place() -> None:
    picture = black(1500, 3000)
    picture[301:599, 2401:2699] = 1
    shown = overlay_figure(picture, [], title="a").axes[0].images[0].get_array()
    assert shown.shape == (500, 1000)
    expected = picture.reshape(500, 3, 1000, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(np.asarray(shown), expected, atol=1e-6)


@pytest.mark.parametrize(("maps", "grid"), [(0, (1, 1)), (4, (1, 5)), (5, (2, 3)), (10, (3, 4))])
def test_panels_wrap_into_rows_of_at_most_five_with_one_colour_bar(maps: int, grid: tuple[int, int]) -> None:
    figure = overlay_figure(black(), [map_panel(f"method {i}") for i in range(maps)], title="a")
    panels = figure.axes[: 1 + maps]
    assert len(figure.axes) == 1 + maps + (maps > 0)
    assert panels[0].get_subplotspec().get_gridspec().get_geometry() == grid
    assert [axes.get_title() for axes in panels] == ["Radiograph", *(f"method {i}" for i in range(maps))]


def test_a_row_of_another_size_keeps_its_own_pixels_in_a_contact_sheet() -> None:
    rows = [
        SheetRow("wide.png", black(60, 100), [map_panel(peak=(10, 20), hit=True)], [Rectangle(1, 2, 3, 4)], 0.936),
        SheetRow("tall.png", black(100, 60), [map_panel(shape=(10, 6), peak=(9, 0), hit=False)]),
    ]
    figure = contact_sheet(rows, title="dev")
    wide, wide_map, tall, tall_map = figure.axes[:4]
    assert wide.get_xlabel().split() == ["wide.png", "p", "=", "0.94"]
    assert tall.get_xlabel() == "tall.png"
    assert [axes.get_title() for axes in (wide, wide_map, tall, tall_map)] == [
        "Radiograph",
        "Grad-CAM",
        "",
        "",
    ]
    assert peak_of(wide_map) == pytest.approx((20 * 0.5 - 0.25, 10 * 0.5 - 0.25))
    assert peak_of(tall_map) == pytest.approx((4.5, 94.5))
    assert len(wide.patches) == 1
    assert len(tall.patches) == 0


def test_hits_are_framed_in_green_and_misses_in_red() -> None:
    panels = [map_panel("a", hit=True), map_panel("b", hit=False), map_panel("c")]
    figure = contact_sheet([SheetRow("x.png", black(), panels)], title="t")
    image = rendered(figure)
    for axes, color in zip(figure.axes[1:4], (GREEN, RED, None), strict=True):
        left, bottom, right, _ = axes.get_window_extent().extents
        frame = image[image.shape[0] - 1 - round(bottom), round((left + right) / 2)]
        if color is None:
            assert not axes.spines["bottom"].get_visible()
        else:
            assert frame.tolist() == [int(color[i : i + 2], 16) for i in (1, 3, 5)]


def test_rows_of_a_sheet_must_have_the_same_methods() -> None:
    rows = [SheetRow("a", black(), [map_panel("m")]), SheetRow("b", black(), [map_panel("n")])]
    with pytest.raises(ValueError, match="b has other maps than a"):
        contact_sheet(rows, title="t")
    with pytest.raises(ValueError, match="at least one row"):
        contact_sheet([], title="t")


def test_a_picture_with_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="two dimensions"):
        overlay_figure(np.zeros((4, 4, 3), dtype=np.float32), [], title="t")
