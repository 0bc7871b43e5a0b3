"""Control charts: limits by hand and by the definition, the rules, and how often chance alone gives a signal."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cxrlens.analysis.control import RUN, TAIL, control_chart, limits


def probability(count: int, images: int, share: float) -> float:
    return math.comb(images, count) * share**count * (1 - share) ** (images - count)


def by_definition(images: int, share: float) -> tuple[int, int]:
    """The least and the largest count that has a probability above the tail with all that are as far or farther."""
    upto = np.cumsum([probability(count, images, share) for count in range(images + 1)])
    low = next(count for count in range(images + 1) if upto[count] > TAIL)
    high = next(count for count in range(images + 1) if 1 - upto[count] <= TAIL)
    return low, high


def test_the_tail_is_that_of_three_standard_deviations() -> None:
    assert pytest.approx(0.0013499, abs=1e-7) == TAIL


def test_limits_by_hand() -> None:
    """Of 10 images at 10 %: P(X > 4) = 0.00163 is above the tail, P(X > 5) = 0.00015 is not."""
    assert [int(end[0]) for end in limits(np.array([10]), 0.1)] == [0, 5]


@pytest.mark.parametrize("share", [0.01, 0.05, 0.3, 0.5])
@pytest.mark.parametrize("images", [1, 7, 60, 400])
def test_limits_by_the_definition(images: int, share: float) -> None:
    lows, highs = limits(np.array([images]), share)
    assert (int(lows[0]), int(highs[0])) == by_definition(images, share)


def test_limits_of_many_images_are_nearly_shewharts() -> None:
    lows, highs = limits(np.array([20_000]), 0.05)
    half = 3 * math.sqrt(20_000 * 0.05 * 0.95)
    assert (lows[0], highs[0]) == (pytest.approx(1000 - half, abs=2.5), pytest.approx(1000 + half, abs=2.5))


@pytest.mark.parametrize(("share", "ends"), [(0.0, (0, 0)), (1.0, (30, 30))])
def test_limits_where_nothing_varies(share: float, ends: tuple[int, int]) -> None:
    lows, highs = limits(np.array([30]), share)
    assert (int(lows[0]), int(highs[0])) == ends


def test_a_period_outside_is_a_signal() -> None:
    counts = [(f"2026-W{week:02}", 5, 100) for week in range(1, 9)] + [("2026-W09", 25, 100), ("2026-W10", 0, 0)]
    chart = control_chart(counts)
    assert chart is not None
    assert chart.centre == 65 / 900
    assert [(point.period, point.signal) for point in chart.signals] == [("2026-W09", "above")]
    assert len(chart.points) == 9  # one without images is left out
    low, high = by_definition(100, 65 / 900)
    assert (chart.points[0].low, chart.points[0].high) == (low / 100, high / 100)


def test_limits_follow_the_number_of_images() -> None:
    chart = control_chart([("a", 10, 100), ("b", 100, 1000), ("c", 2, 10)])
    assert chart is not None
    widths = [point.high - point.low for point in chart.points]
    assert widths[2] > widths[0] > widths[1]


def test_nine_in_a_row_are_a_signal_from_the_ninth_on() -> None:
    counts = [(f"{day:02}", 14, 100) for day in range(10)] + [(f"{day}", 6, 100) for day in range(10, 20)]
    chart = control_chart(counts)
    assert chart is not None
    assert [point.signal for point in chart.points] == [
        *[""] * (RUN - 1), *["run above"] * 2, *[""] * (RUN - 1), *["run below"] * 2
    ]  # fmt: skip


def test_a_period_on_the_median_ends_a_run() -> None:
    """Of 20 images at about 4 % the median is one: a period with one retake is on neither side."""
    counts = [("a", 0, 20)] * 6 + [("b", 1, 20)] + [("c", 0, 20)] * 6 + [("d", 3, 20)] * 3
    chart = control_chart(counts)
    assert chart is not None
    assert chart.signals == []


def test_a_baseline_sets_the_centre_alone() -> None:
    counts = [(f"2026-0{month}", 4 if month < 5 else 14, 100) for month in range(1, 8)]
    chart = control_chart(counts, [month < 5 for month in range(1, 8)])
    assert chart is not None
    assert chart.centre == 0.04
    assert [point.period for point in chart.signals] == ["2026-05", "2026-06", "2026-07"]
    assert [point.in_baseline for point in chart.points] == [True] * 4 + [False] * 3


def test_no_chart_of_one_period() -> None:
    assert control_chart([("a", 1, 10)]) is None
    assert control_chart([("a", 1, 10), ("b", 0, 0)]) is None
    assert control_chart([]) is None
    assert control_chart([("a", 0, 0), ("b", 1, 5), ("c", 1, 5)], [True, False, False]) is None


def test_chance_gives_no_more_signals_than_are_stated() -> None:
    """The centre is that of many periods, so that it is nearly the true one; few images, where chance is lopsided."""
    rng = np.random.default_rng(0)
    found = expected = 0.0
    for _ in range(150):
        counts = [(str(place), int(hits), 25) for place, hits in enumerate(rng.binomial(25, 0.06, 60))]
        chart = control_chart(counts)
        assert chart is not None
        found += len(chart.signals)
        expected += chart.expected_by_chance
    assert found <= expected
