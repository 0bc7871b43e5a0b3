"""Remarks that a reader of a calibration needs beside its numbers, a sentence each."""

from __future__ import annotations

from collections.abc import Iterator

from cxrlens.calibration.operating_points import (
    Thresholds,
    ThresholdTarget,
    TriageScore,
    images_to_establish,
    lowest_share,
)
from cxrlens.calibration.probabilities import TEMPERATURES, CalibrationScores, at_temperature_bound
from cxrlens.calibration.text import percent
from cxrlens.evaluation.bootstrap import Interval
from cxrlens.models.distance import TrainingDistance

_MUCH = 3.0  # standard deviations


def on_data(split: str, share: float, *, prevalence_given: bool, source_known: bool) -> Iterator[str]:
    """Of the images and what is known of the model's own."""
    if not prevalence_given:
        yield (
            f"No prevalence was given, so that of the data is taken, {percent(share)}: predictive values and numbers "
            "per 1,000 images hold at a site with this share of affected images only."
        )
    if not source_known:
        yield (
            "The model file does not say which share of its training images was affected, so the network's "
            "probabilities are taken to assume that of the data."
        )
    if split in ("train", "dev"):
        what = "the network was trained" if split == "train" else "the network's best epoch was chosen"
        yield f"If {what} on these images of '{split}', every number here is better than the truth."


def on_distance(before: TrainingDistance | None, after: TrainingDistance | None) -> Iterator[str]:
    """Of limits that were raised, so that the site's images are judged."""
    if before is None or after is None:
        return
    raised = {kind: after.parts[kind].limit / part.limit for kind, part in before.parts.items()}
    higher = " and ".join(f"by {kind} {ratio:.3g} times as high" for kind, ratio in raised.items() if ratio > 1)
    if higher:
        yield (
            f"The limits of the distance from {before.fitted} were raised for this site, {higher}, so that its own "
            "radiographs are judged. The higher they are, the fewer pictures of other things are refused; a model that "
            "is trained on images of this site has both."
        )


def on_probabilities(
    temperature: float, after: CalibrationScores, share: float, auc: Interval, *, all_right: bool
) -> Iterator[str]:
    """Of the network's ranking, the temperature, and whether one number was enough.

    Args:
        auc: its 95 % interval.
        all_right: whether its log-odds have the right sign for every image.
    """
    if auc.low <= 0.5:
        yield (
            f"The AUC may be as low as {auc.low:.2f}: on these images the network cannot be told from chance, and no "
            "threshold makes up for that."
        )
    if at_temperature_bound(temperature):
        if temperature > 1:
            yield (
                f"The likeliest temperature is above {TEMPERATURES[1]:g}: as probabilities the network's numbers say "
                "next to nothing, though their order may."
            )
        elif all_right:
            yield (
                "The network takes the right side for every image, so that no temperature is the likeliest; at "
                f"{TEMPERATURES[0]:g} its probabilities are next to 0 or 1, which these images cannot confirm."
            )
        else:
            yield (
                f"The likeliest temperature is below {TEMPERATURES[0]:g}: the network's log-odds are all next to 0, as "
                "after too short a training, and its probabilities too near to one another; their order may be right."
            )
    if abs(after.offset) > _MUCH:
        yield (
            f"The mean probability is {percent(after.mean_probability)} where {percent(share)} of the images are "
            "affected: a temperature cannot mend that, so the probabilities are off as a whole; the decisions are not."
        )


def on_targets(
    retake: ThresholdTarget,
    review: ThresholdTarget | None,
    cuts: Thresholds,
    apparent: dict[str, TriageScore],
    counts: tuple[int, int],
    prevalence: float,
) -> Iterator[str]:
    """Of what the number of images (normal, affected) allows to be said.

    Args:
        apparent: the scores of the final thresholds on the images themselves.
    """
    if retake.kind == "retake_rate" and retake.value < prevalence:
        yield (
            f"A budget of {percent(retake.value)} retakes finds at most {percent(retake.value / prevalence)} of the "
            f"affected images where {percent(prevalence)} of the images are affected."
        )
    for target in (retake, review):
        if target is not None:
            yield from _on_size(target, apparent, counts, prevalence)
    if review is not None and cuts.review == cuts.retake:
        yield f"The retake threshold alone gives a {review}, so that no image is reviewed; --review can ask more."
    if cuts.review == -float("inf"):
        yield f"Only by passing nothing is a {review} reached on these images; --review can ask less."


def _on_size(
    target: ThresholdTarget, apparent: dict[str, TriageScore], counts: tuple[int, int], prevalence: float
) -> Iterator[str]:
    """Of a target that so few images cannot establish, were they all judged rightly."""
    normal, affected = counts
    if target.kind in ("specificity", "retake_rate"):
        n, name, of = normal, "normal", "specificity"
    else:
        n, name, of = affected, "affected", "sensitivity"
    wanted = target.value
    if target.kind == "retake_rate":
        wanted = 1 - target.value / (1 - prevalence)
    elif target.kind == "npv":
        passed = 1 - (apparent["reviews"].value + apparent["retakes"].value) / 1000
        wanted = 1 - (1 - target.value) * passed / prevalence
    if not 0 < wanted < 1 or lowest_share(n) >= wanted:
        return
    needs = f", which needs a {of} of {wanted:.4g}" if wanted != target.value else ""
    yield (
        f"{n} {name} images cannot establish a {target}{needs}: were all of them judged rightly, the {of} might still "
        f"be {lowest_share(n):.3f} (95 %); it takes {images_to_establish(wanted):,} without a mistake."
    )
