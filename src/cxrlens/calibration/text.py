"""A calibration in words and tables: what the thresholds lead to, and how far the probabilities can be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from cxrlens.models.calibration import Calibration, Estimate
from cxrlens.models.card import ModelCard
from cxrlens.report.tables import Column, Table, markdown, to_markdown

SCORES: Final[Mapping[str, str]] = {
    "sensitivity": "affected images that are retaken (sensitivity)",
    "specificity": "normal images that are not retaken (specificity)",
    "ppv": "retaken images that are affected (positive predictive value)",
    "seen_sensitivity": "affected images that are retaken or reviewed",
    "pass_npv": "passed images that are normal (negative predictive value)",
    "retakes": "retakes per 1,000 images",
    "reviews": "reviews per 1,000 images",
    "missed": "affected images that pass, per 1,000 images",
}
_PER_1000: Final = ("retakes", "reviews", "missed")
_UNKNOWN: Final = Estimate(value=None, low=None, high=None)


def percent(share: float) -> str:
    """Such as "12 %" or "0.35 %"."""
    return f"{100 * share:.3g} %"


def decision_rows(calibration: Calibration) -> list[tuple[str, str, str, str]]:
    """Each score of the decisions: what it is, its expected value with a 95 % interval, and on the same images."""
    return [
        (heading, *estimate_texts(calibration.expected.get(name, _UNKNOWN), name in _PER_1000), value)
        for name, heading in SCORES.items()
        for value in [estimate_texts(calibration.apparent.get(name, _UNKNOWN), name in _PER_1000)[0]]
    ]


def estimate_texts(estimate: Estimate, per_1000: bool = False) -> tuple[str, str]:
    """The value, and its interval such as "0.82 to 0.88"; "n/a" where undefined."""
    digits = 1 if per_1000 else 3
    value, *ends = (
        "n/a" if number is None else f"{number:.{digits}f}" for number in (estimate.value, estimate.low, estimate.high)
    )
    return value, " to ".join(ends) if "n/a" not in ends else "n/a"


def agreement_rows(calibration: Calibration) -> list[tuple[str, float, float]]:
    """Each score of the probabilities before and after, the latter held out."""
    before, after = calibration.before, calibration.after
    return [
        ("negative log-likelihood", before.nll, after.nll),
        ("Brier score", before.brier, after.brier),
        ("expected calibration error", before.ece, after.ece),
        ("mean probability", before.mean_probability, after.mean_probability),
    ]


def sentences(card: ModelCard) -> list[str]:
    """Sentences on the thresholds and on the correction of the probabilities."""
    found = card.calibration
    assert found is not None
    _, chosen = estimate_texts(found.threshold_interval)
    retake = f"Retake: calibrated probability of {card.threshold:.4g} or more, for a {found.retake_target}"
    said = [f"{retake} (chosen on resampled images: {chosen})."]
    if found.review_target is None or found.review_interval is None:
        said.append("Review: not asked for; everything else passes.")
    else:
        _, chosen = estimate_texts(found.review_interval)
        said.append(
            f"Review: from {found.review_threshold:.4g} on, so that retake and review together give a "
            f"{found.review_target} (chosen on resampled images: {chosen}). Pass: everything else."
        )
    data = found.data
    said.append(
        f"The network's log-odds are divided by the temperature {found.temperature:.3f} and moved from a share of "
        f"affected images of {percent(found.source_share)} to the prevalence of {percent(found.prevalence)}."
    )
    auc, interval = estimate_texts(found.auc)
    said.append(
        f"Calibrated on {data.images} images of {data.name}, split {data.split}, {data.affected} of them affected; "
        f"AUC {auc} ({interval})."
    )
    if card.distance is not None:
        said.append(f"Refused: an image too far away, {card.distance}.")
    return said


def decision_table(calibration: Calibration) -> Table:
    return Table(
        "decisions",
        f"Expected at a prevalence of {percent(calibration.prevalence)}",
        (
            Column("score", "Score"),
            Column("expected", "Expected"),
            Column("interval", "95 % interval"),
            Column("apparent", "On the same images"),
        ),
        decision_rows(calibration),
        note="Expected: images that had a part in choosing a threshold are judged by one chosen without them "
        f"({calibration.folds} parts); interval from the numbers of images. On the same images: all judged by the "
        "final thresholds, which favours what was asked for.",
    )


def agreement_table(calibration: Calibration) -> Table:
    data = calibration.data
    return Table(
        "probabilities",
        "How far the probabilities can be believed",
        (Column("score", "Score"), Column("before", "Before", "number"), Column("after", "After", "number")),
        agreement_rows(calibration),
        note="Before: the network's own probabilities. After: calibrated at the share of affected images of these data "
        f"({percent(data.affected / data.images)}), each image by a temperature fitted to the others.",
    )


def bullets(lines: Sequence[str]) -> str:
    """A Markdown list of texts shown letter by letter."""
    return "\n".join(f"- {markdown(line)}" for line in lines)


def calibration_sections(card: ModelCard) -> str:
    """Thresholds, tables and remarks in Markdown, to stand under a heading."""
    found = card.calibration
    assert found is not None
    parts = [bullets(sentences(card))]
    parts += [to_markdown(table).strip() for table in (decision_table(found), agreement_table(found))]
    if found.remarks:
        parts += ["## What to know", bullets(found.remarks)]
    return "\n\n".join(parts) + "\n"


def calibration_page(card: ModelCard, model: str, files: Sequence[str]) -> str:
    """The whole page in Markdown, with the figures among the files beside it."""
    pictures = [f"![{name.split('.')[-2].replace('-', ' ')}](<{name}>)" for name in files if name.endswith(".png")]
    parts = [
        f"# Calibration of {model}",
        "For research; not a medical device. The terms are defined in docs/calibration.md of cxrlens.",
        calibration_sections(card).strip(),
        *pictures,
    ]
    return "\n\n".join(parts) + "\n"
