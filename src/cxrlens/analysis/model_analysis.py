"""All that is found out about the images that one model has seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal, TypeAlias

import numpy as np

from cxrlens.analysis.agreement import Agreement, OtherThreshold, other_threshold
from cxrlens.analysis.control import ControlChart, control_chart
from cxrlens.analysis.drift import FALSE_ALARMS, DriftTest, Reference, drift_tests
from cxrlens.analysis.images import AnalysedImage, ModelImages
from cxrlens.analysis.rates import UNKNOWN, Period, Rates, Share, grouped, period_of
from cxrlens.evaluation.bootstrap import Floats

ChartKind: TypeAlias = Literal["suggested", "retaken"]
CHART_KINDS: Final[tuple[ChartKind, ...]] = ("suggested", "retaken")

ALL_IMAGES: Final = "all images"


@dataclass(frozen=True)
class ModelAnalysis:
    """The numbers of one model.

    Attributes:
        model: its images.
        rates: of all of them.
        period: of the charts and of the tests for drift.
        charts: of suggested retakes among assessed images, and of retakes among judged ones; None without two periods.
        drift: the tests, that of all images first; a text where there are none, which says why.
        reference: that they compare with.
        false_alarms: the share of reports with any alarm where nothing has changed, at most.
        agreement: of suggestions with verdicts.
        threshold: that the judged images ask for, or why there is none.
    """

    model: ModelImages
    rates: Rates
    period: Period
    charts: dict[ChartKind, ControlChart | None]
    drift: Sequence[DriftTest] | str
    reference: Reference | None
    false_alarms: float
    agreement: Agreement
    threshold: OtherThreshold | str

    @property
    def alarms(self) -> list[DriftTest]:
        return [] if isinstance(self.drift, str) else [test for test in self.drift if test.is_alarm(self.false_alarms)]

    @property
    def has_signals(self) -> bool:
        return any(chart is not None and chart.signals for chart in self.charts.values())

    @property
    def probabilities(self) -> Floats:
        """Of all images that were assessed."""
        return np.array([image.probability for image in self.model.images if image.probability is not None])


def analyse_model(
    model: ModelImages, *, period: Period = "week", baseline: date | None = None, false_alarms: float = FALSE_ALARMS
) -> ModelAnalysis:
    """Analyse the images of one model.

    Args:
        baseline: last day of the periods that the centre lines are of; None = all.
    """

    def period_name(image: AnalysedImage) -> str:
        return period_of(image.day, period)

    periods = {name: images for name, images in grouped(model.images, period_name).items() if name != UNKNOWN}
    reference = Reference.of(model.calibration)
    shares: dict[ChartKind, Callable[[Rates], Share]] = {
        "suggested": lambda rates: rates.suggested,
        "retaken": lambda rates: rates.retaken,
    }
    rates = {name: Rates.of(images) for name, images in periods.items()}
    in_baseline = [baseline is None or name <= period_of(baseline, period) for name in rates]
    charts = {
        kind: control_chart([(name, share(own).hits, share(own).images) for name, own in rates.items()], in_baseline)
        for kind, share in shares.items()
    }
    groups = {ALL_IMAGES: _scores(model.images), **{name: _scores(images) for name, images in periods.items()}}
    return ModelAnalysis(
        model,
        Rates.of(model.images),
        period,
        charts,
        _why_no_drift(model) if reference is None else drift_tests(groups, reference),
        reference,
        false_alarms,
        Agreement.of(model.images),
        other_threshold(model),
    )


def _scores(images: Sequence[AnalysedImage]) -> Floats:
    return np.array([image.probability for image in images if image.probability is not None], dtype=np.float64)


def _why_no_drift(model: ModelImages) -> str:
    if model.info.review_threshold is None:
        return (
            "the model is not calibrated, so there are no scores to compare with; calibrate it with 'cxrlens calibrate'"
        )
    if model.calibration is None:
        return (
            "the folders were screened by a version that did not keep the calibration in them; name the model file "
            "with --model"
        )
    return (
        "the model was calibrated by a version that did not keep the scores of its images; calibrate it anew with "
        "'cxrlens calibrate', and screen with the new file"
    )
