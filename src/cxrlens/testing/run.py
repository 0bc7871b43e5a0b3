"""The job behind ``cxrlens test``: predictions, scores and figures of a labelled split."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from cxrlens.evaluation.classification import CALIBRATION_BINS, ClassificationScores, classification_scores
from cxrlens.files import write_csv, write_json
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.dataset.layouts import CLASS_NAMES, Item
from cxrlens.inputs.readers import Pixels, Refusal, doubts
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.inspection.result import triage_of
from cxrlens.models.card import ModelCard
from cxrlens.report import figures
from cxrlens.testing.page import PAGE, TestFacts, write_test_page
from cxrlens.testing.plots import histogram_figure
from cxrlens.testing.predictions import predict
from cxrlens.testing.wrong import WrongImages

log = logging.getLogger(__name__)

_FIGURES = ("confusion", "reliability", "histogram", "roc", "precision_recall")
OUTPUTS = (
    "scores.json",
    "predictions.csv",
    "unreadable.txt",
    PAGE,
    *(f"{name}.{ending}" for name in _FIGURES for ending in ("png", "svg")),
)
"""What `score_model` writes right into its folder."""

_COLUMNS = ("image", "label", "probability", "decision", "triage", "correct", "remarks", "doubts")


@dataclass(frozen=True)
class ScoreResult:
    """The scores, the rows of ``predictions.csv``, and the files they were written to.

    Attributes:
        not_assessable: how many images a screening would not judge; they are scored all the same.
    """

    split: str
    scores: ClassificationScores
    per_image: list[dict[str, Any]]
    unreadable: list[str]
    not_assessable: int
    files: list[Path]

    @property
    def page(self) -> Path:
        """What shows it all; the last of the files."""
        return self.files[-1]


def score_model(
    data: Dataset,
    model: QualityModel,
    out: Path,
    *,
    split: str | None = None,
    batch_size: int = 16,
    workers: int = 0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> ScoreResult:
    """Score a model on a labelled split; writes ``scores.json``, ``predictions.csv``, figures and the page
    ``report.html`` into ``out``.

    All images with a label count, those too that a screening would not judge, see `ScoreResult.not_assessable`.

    Raises:
        UsageError: when the data cannot be used.
        NothingToDoError: when no image has a label or can be read.
    """
    chosen = data.scored_split(split)
    if model.card.calibration is not None:
        log.info(
            "probabilities are calibrated for a share of affected images of %g %%; at another share of '%s' their "
            "Brier score and calibration error say little",
            100 * model.card.calibration.prevalence,
            chosen.name,
        )
    too_far: list[tuple[Refusal, ...]] = []
    wrong = WrongImages(model)

    def see(item: Item, grey: Pixels, logits: Tensor) -> None:
        too_far.append(_too_far(model, grey))
        wrong.add(item, grey, logits)

    found = predict(
        data.root,
        chosen,
        model,
        out,
        batch_size=batch_size,
        workers=workers,
        see=see,
        progress=progress,
    )
    items, labels = found.items, found.labels
    probabilities: list[float] = model.probability_of(found.logits).tolist()
    scores = classification_scores(labels, probabilities, threshold=model.card.threshold, seed=seed)
    all_remarks = [(*remarks, *refusal) for remarks, refusal in zip(found.remarks, too_far, strict=True)]
    per_image = [
        {
            "image": item.name_in(data.root),
            "label": CLASS_NAMES[label],
            "probability": probability,
            "decision": model.decision(probability),
            "triage": triage_of(model.card, probability, remarks),
            "correct": int(CLASS_NAMES[label] == model.decision(probability)),
            "remarks": " ".join(remarks),
            "doubts": " ".join(doubts(remarks)),
        }
        for item, label, probability, remarks in zip(items, labels, probabilities, all_remarks, strict=True)
    ]
    not_assessable = sum(row["triage"] == "not_assessable" for row in per_image)
    if not_assessable:
        log.warning(
            "images that are not assessable when they are screened: %d of %d; labelled, they count in the scores",
            not_assessable,
            len(per_image),
        )
    told = {"unreadable": found.unreadable, "not_assessable": not_assessable}
    write_json(out / "scores.json", {"split": chosen.name, **scores.to_dict(), **told})
    write_csv(out / "predictions.csv", _COLUMNS, per_image, paths=("image",))
    files = [out / "scores.json", out / "predictions.csv"]
    files += _draw(labels, probabilities, scores, chosen.name, model.card, out)
    facts = TestFacts(
        data=data.root.resolve().name,
        split=chosen.name,
        names=[item.name for item in items],
        scores=scores,
        per_image=per_image,
        wrong=wrong.surest_first(),
        unreadable=found.unreadable,
        not_assessable=not_assessable,
        seed=seed,
    )
    files.append(write_test_page(out, model, facts))
    return ScoreResult(chosen.name, scores, per_image, found.unreadable, not_assessable, files)


def _too_far(model: QualityModel, grey: Pixels) -> tuple[Refusal, ...]:
    """What speaks against an image that lies too far from those that the model knows; nothing where it cannot tell."""
    known, away = model.card.distance, model.card.distance_of(grey)
    refusal = known.refusal(away) if known is not None and away is not None else None
    return (refusal,) if refusal else ()


def _draw(
    labels: list[int],
    probabilities: list[float],
    scores: ClassificationScores,
    split: str,
    card: ModelCard,
    out: Path,
) -> list[Path]:
    drawn = {
        "confusion": figures.confusion_figure(scores.confusion, CLASS_NAMES, title=f"Decisions on {split}"),
        "reliability": figures.reliability_figure(
            labels, probabilities, title=f"Reliability on {split}", ece=scores.ece, bins=CALIBRATION_BINS
        ),
        "histogram": histogram_figure(
            labels,
            probabilities,
            title=f"Probabilities on {split}",
            threshold=scores.threshold,
            review_threshold=card.calibration.review_threshold if card.calibration else None,
        ),
    }
    if 0 < scores.n_affected < scores.n:
        drawn["roc"] = figures.roc_figure(
            labels,
            probabilities,
            title=f"ROC on {split}",
            auc=scores.auc,
            interval=(scores.auc_interval.low, scores.auc_interval.high),
            threshold=scores.threshold,
        )
        drawn["precision_recall"] = figures.precision_recall_figure(
            labels,
            probabilities,
            title=f"Precision and recall on {split}",
            average_precision=scores.average_precision,
            threshold=scores.threshold,
        )
    written: list[Path] = []
    for name, figure in drawn.items():
        written += figures.save_figure(figure, out / name, formats=("png", "svg"))
    return written
