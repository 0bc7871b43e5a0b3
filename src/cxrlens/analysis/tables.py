"""The tables of an analysis, each of one model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import quantiles
from typing import Final

from cxrlens.analysis.agreement import Agreement, Corrected, OtherThreshold
from cxrlens.analysis.control import ControlChart
from cxrlens.analysis.drift import DriftTest
from cxrlens.analysis.images import AnalysedImage
from cxrlens.analysis.rates import PERIODS, UNKNOWN, Period, Rates, Share, grouped, period_of
from cxrlens.evaluation.bootstrap import Interval
from cxrlens.report.tables import Cell, Column, Score, Table

GROUPS: Final = {
    "station": "Station",
    "room": "Room",
    "view": "Projection",
    "operator": "Operator",
    "detector": "Detector",
    "device": "Device",
    "manufacturer": "Manufacturer",
}
"""The tags that images are counted by, and how people call them."""

TABLES: Final = (
    "suggestions-and-verdicts",
    "agreement",
    "threshold",
    *(f"rate-by-{name}" for name in (*GROUPS, *PERIODS, "reader")),
    "reasons",
    "control-chart-suggested",
    "control-chart-retaken",
    "drift",
    "exposure",
)
"""Names of all tables that there may be."""

_SUGGESTIONS: Final = ("retake", "review", "pass", "affected", "normal", "not assessable", "unreadable")
_RATES: Final = (
    Column("images", "Images", "number"),
    Column("assessed", "Assessed", "number"),
    Column("suggested", "Suggested retakes", "number"),
    Column("suggested_percent", "Suggested, % of assessed", "score", 2),
    Column("judged", "Judged", "number"),
    Column("retaken", "Retaken", "number"),
    Column("retaken_percent", "Retaken, % of judged", "score", 2),
    Column("retaken_of_all_percent", "Retaken, % of all", "score", 2),
)


def percent(share: Share) -> Score:
    """In per cent, with the interval."""
    low, high = share.interval
    return Score(100 * share.value, 100 * low, 100 * high, share.images)


def suggestion_table(images: Sequence[AnalysedImage]) -> Table:
    """What the model said against what readers said."""
    rows: list[list[Cell]] = []
    for name in _SUGGESTIONS:
        some = [image for image in images if image.suggestion == name]
        if some:
            rates = Rates.of(some)
            accepted = rates.retaken.images - rates.retaken.hits
            conflicts = sum(image.is_conflict for image in some)
            rows.append([name, len(some), accepted, rates.retaken.hits, conflicts,
                         len(some) - rates.retaken.images - conflicts, percent(rates.retaken)])  # fmt: skip
    return Table(
        "suggestions-and-verdicts",
        "Suggestions and verdicts",
        (
            Column("suggestion", "Suggestion"),
            Column("images", "Images", "number"),
            Column("accepted", "Accepted", "number"),
            Column("retaken", "Retaken", "number"),
            Column("conflicts", "Conflicts", "number"),
            Column("not_judged", "Not judged", "number"),
            Column("retaken_percent", "Retaken, % of judged", "score", 2),
        ),
        rows,
        note="Rows: what the model suggests. Columns: what readers said, or most of those who judged an image. A "
        "conflict, where as many say the one as the other, counts as not judged everywhere else.",
    )


def group_tables(images: Sequence[AnalysedImage]) -> Iterator[Table]:
    """The retake rates by each tag that any of the images has."""
    for tag, heading in GROUPS.items():
        if any(tag in image.tags for image in images):
            yield _rate_table(f"rate-by-{tag}", heading, images, partial(_tag_of, tag=tag))


def period_tables(images: Sequence[AnalysedImage]) -> Iterator[Table]:
    """The retake rates by day, week and month; none where no day is known."""
    if any(image.day for image in images):
        for period in PERIODS:
            yield _rate_table(f"rate-by-{period}", period.capitalize(), images, partial(_period_of, period=period))


def _tag_of(image: AnalysedImage, tag: str) -> str:
    return image.tags.get(tag, "")


def _period_of(image: AnalysedImage, period: Period) -> str:
    return period_of(image.day, period)


def _rate_table(
    name: str, heading: str, images: Sequence[AnalysedImage], group_of: Callable[[AnalysedImage], str]
) -> Table:
    rows: list[list[Cell]] = []
    for group, some in grouped(images, group_of).items():
        rates = Rates.of(some)
        rows.append([
            group, rates.images, rates.suggested.images, rates.suggested.hits, percent(rates.suggested),
            rates.retaken.images, rates.retaken.hits, percent(rates.retaken), percent(rates.retaken_of_all),
        ])  # fmt: skip
    return Table(name, f"Retake rate by {heading.lower()}", (Column("group", heading), *_RATES), rows)


def chart_table(kind: str, title: str, chart: ControlChart) -> Table:
    """The points of a control chart."""
    return Table(
        f"control-chart-{kind}",
        title,
        (
            Column("period", "Period"),
            Column("images", "Images", "number"),
            Column("hits", "Retakes", "number"),
            Column("percent", "%", "number", 2),
            Column("low_percent", "Lower limit, %", "number", 2),
            Column("high_percent", "Upper limit, %", "number", 2),
            Column("signal", "Signal"),
        ),
        [
            [point.period, point.images, point.hits, 100 * point.share, 100 * point.low, 100 * point.high, point.signal]
            for point in chart.points
        ],
        note=f"Centre line: {100 * chart.centre:.3g} %. A signal lies outside the limits, or is the ninth period in a "
        f"row (or a later one) on one side of the centre. Where nothing changes, {chart.expected_by_chance:.2g} "
        f"signals are expected at most on a chart of {len(chart.points)} periods.",
    )


def drift_table(tests: Sequence[DriftTest], false_alarms: float) -> Table:
    """The tests for drift."""
    tested = sum(not math.isnan(test.p) for test in tests)
    return Table(
        "drift",
        "Scores against the calibration's",
        (
            Column("group", "Images"),
            Column("images", "Assessed", "number"),
            Column("distance", "Distance D", "number"),
            Column("scores", "Scores are"),
            Column("p", "p", "number", 5),
            Column("adjusted", "p (Holm)", "number", 4),
            Column("alarm", "Alarm"),
            Column("explained", "Could be explained by a share of affected images of"),
        ),
        [
            [
                test.name, test.images, test.distance, "higher" if test.expected_rank > 0.5 else "lower", test.p,
                test.adjusted, _alarm(test, false_alarms), _explained(test, false_alarms),
            ]
            for test in tests
        ],
        note=f"{tested} tests after Kolmogorov and Smirnov; an alarm where p after Holm's correction for all of them "
        f"is below {false_alarms:g}, so that at most {100 * false_alarms:g} % of reports without drift have any alarm. "
        "Periods with fewer than 20 assessed images are not tested.",
    )  # fmt: skip


def _alarm(test: DriftTest, false_alarms: float) -> str:
    if math.isnan(test.p):
        return "not tested"
    return "drift" if test.is_alarm(false_alarms) else "no"


def _explained(test: DriftTest, false_alarms: float) -> str:
    if not test.is_alarm(false_alarms):
        return ""
    return f"{100 * test.other_share:.2g} %" if test.is_explained(false_alarms) else "none: the images differ"


def agreement_table(found: Agreement) -> Table:
    """Scores of the suggestions against the verdicts."""
    scores: Sequence[tuple[str, Share | Corrected, str]] = (
        ("Retaken among judged suggestions (positive predictive value)", found.ppv, "yes"),
        ("Accepted among judged others (negative predictive value)", found.npv, "yes"),
        ("Sensitivity on judged images", found.sensitivity, "no" if found.is_uneven else "yes"),
        ("Specificity on judged images", found.specificity, "no" if found.is_uneven else "yes"),
        ("Sensitivity, corrected for what was judged", found.corrected_sensitivity, "yes"),
        ("Specificity, corrected for what was judged", found.corrected_specificity, "yes"),
    )
    return Table(
        "agreement",
        "Suggested retakes against verdicts",
        (
            Column("score", "Score"),
            Column("percent", "%", "score", 2),
            Column("images", "Images", "number"),
            Column("unbiased", "Free of verification bias"),
        ),
        [[name, _percent(score), score.images, free] for name, score, free in scores],
        note="A retake counts where its reason is a foreign object, or none was given; images to be retaken for "
        f"another reason, which the model does not look for, are left out ({found.other_reasons:,}). Corrected after "
        "Begg and Greenes (1983): the judged suggestions are taken for a fair sample of all suggestions, and the "
        "judged others for one of all others.",
    )


def threshold_table(found: OtherThreshold) -> Table:
    """The threshold in use beside the one that the judged images ask for."""
    interval: Interval = found.interval
    n = found.sensitivity.images + found.specificity.images
    return Table(
        "threshold",
        f"Threshold for a {found.target} on the judged images",
        (
            Column("which", "Threshold"),
            Column("threshold", "Probability", "score", 4),
            Column("sensitivity_percent", "Sensitivity, %", "score", 2),
            Column("specificity_percent", "Specificity, %", "score", 2),
        ),
        [
            [
                "in use",
                Score(found.used, math.nan, math.nan, n),
                percent(found.sensitivity),
                percent(found.specificity),
            ],
            [
                "on the judged images",
                Score(found.found, interval.low, interval.high, n),
                percent(found.other_sensitivity),
                percent(found.other_specificity),
            ],
        ],
        note="The second threshold was chosen on the very images that it is judged by here, which flatters it.",
    )


def reason_table(images: Sequence[AnalysedImage]) -> Table:
    """The retakes by the readers' reasons; the row "none" where nothing is to be retaken."""
    retaken = [image for image in images if image.is_retaken]
    groups = grouped(retaken, lambda image: image.reason) or {"none": []}
    rows: list[list[Cell]] = [
        [reason, len(some), percent(Share(len(some), len(retaken))), percent(Share(len(some), len(images)))]
        for reason, some in groups.items()
    ]
    return Table(
        "reasons",
        "Reasons for retakes",
        (
            Column("reason", "Reason"),
            Column("retaken", "Retaken", "number"),
            Column("percent", "% of retakes", "score", 2),
            Column("of_all_percent", "% of all images", "score", 2),
        ),
        rows,
        note="Of the retakes that readers asked for.",
    )


def reader_table(images: Sequence[AnalysedImage]) -> Table:
    """What each reader said, and how often the model suggested the same."""
    given: dict[str, list[tuple[AnalysedImage, bool]]] = {}
    for image in images:
        for kept in image.verdicts:
            given.setdefault(kept.reader or UNKNOWN, []).append((image, kept.verdict == "retake"))
    rows: list[list[Cell]] = []
    for reader in sorted(given, key=lambda name: (name == UNKNOWN, name)):
        own = given[reader]
        retaken = sum(is_retake for _, is_retake in own)
        agreed = [image.is_suggested is is_retake for image, is_retake in own if image.is_assessed]
        rows.append([reader, len(own), retaken, percent(Share(retaken, len(own))),
                     percent(Share(sum(agreed), len(agreed)))])  # fmt: skip
    return Table(
        "rate-by-reader",
        "Retake rate by reader",
        (
            Column("reader", "Reader"),
            Column("judged", "Judged", "number"),
            Column("retaken", "Retaken", "number"),
            Column("retaken_percent", "Retaken, % of judged", "score", 2),
            Column("agreed_percent", "As the model suggested, %", "score", 2),
        ),
        rows,
        note="Readers may have judged different images, so that their rates may differ for that alone.",
    )


def exposure_table(images: Sequence[AnalysedImage]) -> Table | None:
    """Exposure by station; None where no image tells it."""
    rows: list[list[Cell]] = []
    for station, some in grouped(images, lambda image: image.tags.get("station", "")).items():
        indices, deviations = _numbers(some, "exposure_index"), _numbers(some, "deviation_index")
        far = Share(sum(abs(value) > 1 for value in deviations), len(deviations))
        rows.append(
            [station, len(indices), *_quartiles(indices, 0), len(deviations), *_quartiles(deviations, 1), percent(far)]
        )
    if not any(row[1] or row[5] for row in rows):
        return None
    return Table(
        "exposure",
        "Exposure by station",
        (
            Column("station", "Station"),
            Column("indices", "With an exposure index", "number"),
            Column("index_median", "Exposure index, median", "number", 0),
            Column("index_low", "lower quartile", "number", 0),
            Column("index_high", "upper quartile", "number", 0),
            Column("deviations", "With a deviation index", "number"),
            Column("deviation_median", "Deviation index, median, dB", "number", 1),
            Column("deviation_low", "lower quartile", "number", 1),
            Column("deviation_high", "upper quartile", "number", 1),
            Column("far_percent", "Beyond ±1, %", "score", 2),
        ),
        rows,
        note="Exposure and deviation index as IEC 62494-1 defines them; a deviation of 1 is 26 % more than the target, "
        "one of -1 is 21 % less.",
    )


def _percent(found: Share | Corrected) -> Score:
    if isinstance(found, Share):
        return percent(found)
    return Score(100 * found.value, 100 * found.low, 100 * found.high, found.images)


def _numbers(images: Sequence[AnalysedImage], tag: str) -> list[float]:
    return [float(image.tags[tag]) for image in images if image.tags.get(tag)]


def _quartiles(values: Sequence[float], digits: int) -> tuple[Cell, Cell, Cell]:
    """Median, lower and upper quartile; never a zero with a sign."""
    if not values:
        return None, None, None
    low, middle, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return round(middle, digits) + 0.0, round(low, digits) + 0.0, round(high, digits) + 0.0
