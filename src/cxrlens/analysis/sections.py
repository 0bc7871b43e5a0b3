"""An analysis in words: the parts of its page, with their tables and figures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cxrlens.analysis import tables
from cxrlens.analysis.control import RUN, ControlChart
from cxrlens.analysis.drift import LEAST_IMAGES, DriftTest, Reference
from cxrlens.analysis.figures import control_figure, drift_figure, score_figure
from cxrlens.analysis.images import Found
from cxrlens.analysis.model_analysis import ALL_IMAGES, ChartKind, ModelAnalysis
from cxrlens.analysis.page import AnalysisFigure, AnalysisSection, ModelPart
from cxrlens.analysis.rates import PERIODS, Share
from cxrlens.report.figures import save_figure
from cxrlens.wording import counted

_CHARTS: Final[dict[ChartKind, tuple[str, str]]] = {
    "suggested": ("Suggested retakes", "suggested retakes among assessed images"),
    "retaken": ("Retakes by readers", "retakes among judged images"),
}
_RATES_TEXT: Final = (
    "Suggested: by the model, among the images that it assessed. Judged, retaken: by readers. Of all: what is not "
    "judged counts as accepted. Intervals (95 %) are those of Clopper and Pearson, each group by itself: of twenty "
    "groups that do not differ, one lies outside by chance."
)
_SHOWN = 6  # periods that a sentence names


def model_part(found: ModelAnalysis, title: str, figures: Path, *, number: int) -> ModelPart:
    """What the page says of one model; its figures are written into a folder.

    Args:
        number: of the model, from 1 on, for the figures' names.
    """
    ending = "" if number == 1 else f"-{number}"
    sections = [
        _rate_section(found),
        _time_section(found, figures, ending),
        _drift_section(found, figures, ending),
        _agreement_section(found),
    ]
    exposure = tables.exposure_table(found.model.images)
    if exposure is not None:
        sections.append(AnalysisSection("Exposure", tables=[exposure]))
    return ModelPart(title, facts_of(found), sections)


def warnings_of(found: ModelAnalysis) -> list[str]:
    """What somebody should act on, a sentence each."""
    return [*_drift_warnings(found), *(said for kind in _CHARTS if (said := _signal_warning(found, kind)))]


def notes_of(found: Found, models: Sequence[ModelAnalysis]) -> list[str]:
    """What a reader of the numbers must know of the folders, a sentence each."""
    said = []
    if found.copies:
        said.append(f"{counted(found.copies, 'copy', 'copies')} of images that are counted already were left out: each "
                    "content counts once, with the result of the folder that was screened last.")  # fmt: skip
    if found.replaced:
        said.append(f"{counted(found.replaced, 'verdict was', 'verdicts were')} left out: the same reader has said "
                    "otherwise of the same image later, in another folder.")  # fmt: skip
    if len(models) > 1:
        said.append(f"The folders were screened with {len(models)} models, whose scores and thresholds cannot be "
                    "compared: each has its own part here, and its own rows in the tables. An image that several "
                    "models have seen is counted in the part of each.")  # fmt: skip
    if found.without_day or found.out_of_range:
        said.append(f"Days were asked for: {counted(found.out_of_range, 'image')} of other days, and "
                    f"{counted(found.without_day, 'image')} of which no day is known, were left out.")  # fmt: skip
    said += [f"{path} is being screened at the moment: what is done so far is counted." for path in found.at_work]
    said += [
        f"{path} holds results that its store does not have yet (unstored.jsonl); screen into it again, and they count."
        for path in found.unstored
    ]
    return said


def facts_of(found: ModelAnalysis) -> list[tuple[str, str]]:
    """The analysis in short: a name and a value each."""
    images = found.model.images
    days = sorted(image.day for image in images if image.day)
    counts = Counter(image.suggestion for image in images)
    facts = [("Images", f"{len(images):,}"), ("Folders", f"{len(found.model.folders):,}")]
    if days:
        facts.append(("Days", f"{days[0]} to {days[-1]}"))
    facts += [
        ("Suggested retakes, of assessed", _share(found.rates.suggested)),
        ("Retakes by readers, of judged", _share(found.rates.retaken)),
        ("Not assessable, unreadable", f"{counts['not assessable']:,}, {counts['unreadable']:,}"),
        ("Drift", _drift_word(found)),
        ("Signals on the charts", _signal_word(found)),
    ]
    return facts


def _share(share: Share) -> str:
    if not share.images:
        return "none yet"
    low, high = share.interval
    return f"{100 * share.value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _drift_word(found: ModelAnalysis) -> str:
    if isinstance(found.drift, str):
        return "not known"
    return "alarm" if found.alarms else "no alarm"


def _signal_word(found: ModelAnalysis) -> str:
    charts = [chart for chart in found.charts.values() if chart is not None]
    return str(sum(len(chart.signals) for chart in charts)) if charts else "no chart"


def _rate_section(found: ModelAnalysis) -> AnalysisSection:
    images = found.model.images
    shown = [tables.suggestion_table(images), *tables.group_tables(images)]
    if any(image.reason for image in images):
        shown.append(tables.reason_table(images))
    if any(image.verdicts for image in images):
        shown.append(tables.reader_table(images))
    missing = [name for name in tables.GROUPS if not any(name in image.tags for image in images)]
    text = [_RATES_TEXT]
    if missing:
        text.append(f"Not known of any image: {_listed([tables.GROUPS[name].lower() for name in missing])}. "
                    f"Images that are screened with --keep-tags {','.join(missing)} have rows for them.")  # fmt: skip
    return AnalysisSection("Retake rates", text, tables=shown)


def _time_section(found: ModelAnalysis, figures: Path, ending: str) -> AnalysisSection:
    images = found.model.images
    if not any(image.day for image in images):
        return AnalysisSection(
            "Control charts",
            [
                "The folders keep no days of images, so there are no charts: screen with --keep-tags date (and "
                "station, view ...). Of images without a DICOM header no day is known."
            ],
        )
    unknown = sum(image.day is None for image in images)
    text = [
        f"Each point is a {found.period}. Limits are those of a binomial distribution (Shewhart's p chart with "
        f"probability limits): where nothing changes, a {found.period} lies beyond one of them with a probability of "
        f"at most 0.00135. A signal is a {found.period} outside the limits, or the {RUN}th in a row on one side of "
        "the centre (Nelson 1984)."
    ]
    if unknown:
        text.append(f"{counted(unknown, 'image')} of which no day is known are in no chart.")
    by_period = dict(zip(PERIODS, tables.period_tables(images), strict=True))
    finer = PERIODS[: PERIODS.index(found.period)]
    beside = [by_period.pop(period) for period in finer]
    if beside:
        text.append(f"Rates by {' and '.join(finer)} are in {' and '.join(f'{table.name}.csv' for table in beside)}.")
    drawn, shown = [], list(by_period.values())
    for kind, (title, what) in _CHARTS.items():
        chart = found.charts[kind]
        if chart is None:
            text.append(
                f"{title}: no chart, as it takes two {found.period}s with such images, and one in the baseline."
            )
            continue
        figure = control_figure(chart, title=f"{title} by {found.period}", what=what)
        (path,) = save_figure(figure, figures / f"control-chart-{kind}{ending}", formats=("svg",))
        drawn.append(AnalysisFigure(path, _chart_words(chart, title, found.period)))
        shown.append(tables.chart_table(kind, f"Control chart: {what}", chart))
    warnings = [said for kind in _CHARTS if (said := _signal_warning(found, kind))]
    return AnalysisSection("Control charts", text, warnings, drawn, shown, beside)


def _chart_words(chart: ControlChart, title: str, period: str) -> str:
    shares = [100 * point.share for point in chart.points]
    signals = [f"{point.period} ({point.signal})" for point in chart.signals]
    return (
        f"Control chart. {title} in {len(shares)} {period}s, between {min(shares):.1f} and {max(shares):.1f} %, with a "
        f"centre of {100 * chart.centre:.1f} %. " + (f"Signals: {_listed(signals)}." if signals else "No signals.")
    )


def _signal_warning(found: ModelAnalysis, kind: ChartKind) -> str:
    chart = found.charts[kind]
    if chart is None or not chart.signals:
        return ""
    named = [f"{point.period} ({100 * point.share:.1f} %, {point.signal})" for point in chart.signals]
    return (
        f"Signal on the control chart, {_CHARTS[kind][1]}: {_listed(named)}; the centre is {100 * chart.centre:.1f} %."
    )


def _drift_section(found: ModelAnalysis, figures: Path, ending: str) -> AnalysisSection:
    title = "Drift of the scores"
    if isinstance(found.drift, str) or found.reference is None:
        return AnalysisSection(title, [f"Not known: {found.drift}."])
    if not found.drift:
        return AnalysisSection(title, ["No image was assessed, so there are no scores."])
    reference = found.reference
    text = [
        f"Are the scores those of the images that the model was calibrated on ({reference.normal:,} normal, "
        f"{reference.affected:,} affected), with {100 * reference.share:.3g} % affected as the calibration was told? D "
        "is the largest difference of the cumulative distributions (Kolmogorov and Smirnov).",
        "An alarm says that something has changed: the devices, how images are processed, what is sent, or the share "
        "of affected images. Where another share alone could explain it, the table gives that share: calibrate anew "
        "with it. Where none does, the model sees images unlike those it was calibrated on; thresholds and "
        "probabilities may no longer hold.",
    ]
    figure = score_figure(found.probabilities, reference, title="Scores found and expected")
    (path,) = save_figure(figure, figures / f"scores{ending}", formats=("svg",))
    drawn = [AnalysisFigure(path, _score_words(found.drift[0], reference))]
    periods = [test for test in found.drift if test.name != ALL_IMAGES]
    tested = sum(not math.isnan(test.p) for test in found.drift)
    if any(not math.isnan(test.p) for test in periods):
        figure = drift_figure(
            periods,
            reference,
            title=f"Distance from the expected scores by {found.period}",
            false_alarms=found.false_alarms,
            level=found.false_alarms / tested,
        )
        (path,) = save_figure(figure, figures / f"drift{ending}", formats=("svg",))
        drawn.append(AnalysisFigure(path, _drift_words(periods, found)))
    if not tested:
        text.append(f"Nothing was tested: it takes {LEAST_IMAGES} assessed images.")
    shown = [tables.drift_table(found.drift, found.false_alarms)]
    return AnalysisSection(title, text, _drift_warnings(found), drawn, shown)


def _score_words(test: DriftTest, reference: Reference) -> str:
    return (
        f"Cumulative distributions of the scores of {test.images:,} screened images and of those expected at "
        f"{100 * reference.share:.3g} % affected. They are {test.distance:.3f} apart at most."
    )


def _drift_words(periods: Sequence[DriftTest], found: ModelAnalysis) -> str:
    alarms = [test.name for test in periods if test.is_alarm(found.false_alarms)]
    distances = [test.distance for test in periods]
    return (
        f"Distance from the expected scores in {len(periods)} {found.period}s, between {min(distances):.3f} and "
        f"{max(distances):.3f}. " + (f"Alarms: {_listed(alarms)}." if alarms else "No alarm.")
    )


def _drift_warnings(found: ModelAnalysis) -> list[str]:
    alarms = found.alarms
    if not alarms:
        return []
    sides = {
        side: [test.name for test in alarms if (test.expected_rank > 0.5) == (side == "higher")]
        for side in ("higher", "lower")
    }
    said = "; ".join(
        f"{side} than the calibration lets expect in {_listed(names)}" for side, names in sides.items() if names
    )
    unexplained = [test.name for test in alarms if not test.is_explained(found.false_alarms)]
    cause = (
        f"Another share of affected images does not explain it in: {_listed(unexplained)}."
        if unexplained
        else f"Another share of affected images could explain it (about {100 * alarms[0].other_share:.2g} % in "
        f"{alarms[0].name})."
    )
    return [f"Drift: scores are {said}. {cause}"]


def _agreement_section(found: ModelAnalysis) -> AnalysisSection:
    agreement = found.agreement
    judged = agreement.ppv.images + agreement.npv.images
    title = "Agreement with readers"
    if not judged:
        return AnalysisSection(title, ["No image that the model assessed has a verdict yet; readers give them in "
                                       "'cxrlens serve'."])  # fmt: skip
    text = [
        f"Readers judged {agreement.ppv.images:,} of {agreement.suggested:,} suggested retakes and "
        f"{agreement.npv.images:,} of {agreement.passed:,} others."
    ]
    if agreement.is_uneven:
        text.append(
            "Suggestions were judged more often than others (verification bias): on judged images alone, sensitivity "
            "looks too high and specificity too low. The corrected rows take that out, if those judged are a fair "
            "sample of their side; have some of the images that pass judged, drawn at random, to know."
        )
    shown = [tables.agreement_table(agreement)]
    if isinstance(found.threshold, str):
        text.append(f"No threshold was sought on the judged images: {found.threshold}.")
    else:
        shown.append(tables.threshold_table(found.threshold))
        if agreement.is_uneven:
            text.append(
                "The threshold on the judged images is biased likewise: it is that of what readers chose to judge."
            )
    return AnalysisSection(title, text, tables=shown)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
