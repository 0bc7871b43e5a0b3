"""The page of a test: scores with intervals, the operating point, published scores, and what was decided wrongly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cxrlens.environment import describe_environment, origin_lines
from cxrlens.evaluation.classification import ClassificationScores
from cxrlens.evaluation.published import published
from cxrlens.inputs.dataset.layouts import CLASS_NAMES
from cxrlens.inputs.dataset.object_cxr import published_split
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.report.html import render_page
from cxrlens.testing.wrong import WrongImage
from cxrlens.wording import counted

PAGE: Final = "report.html"

_FIGURES: Final = (
    ("roc", "ROC", "The dot is the operating point: the decisions at the model's threshold."),
    ("histogram", "Probabilities", "Of the images of each class; what lies on the wrong side of the line is an error."),
    ("confusion", "Decisions", "Images by their label and the model's decision."),
    ("reliability", "Reliability", "How often images of a probability are affected."),
    ("precision_recall", "Precision and recall", "Precision depends on the share of affected images in the data."),
)
_SCORES: Final = {
    "auc": "AUC",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "average_precision": "average precision",
    "precision": "precision",
    "f1": "F1",
    "brier": "Brier score",
    "ece": "expected calibration error",
}
_MOST_ROWS: Final = 200


@dataclass(frozen=True)
class TestFacts:
    """What the page of a test tells.

    Attributes:
        data: name of the data set.
        split: of it.
        names: file names of all images that were scored.
        scores: of the decisions and probabilities.
        per_image: the rows of ``predictions.csv``.
        wrong: the wrong decisions that the model was surest of.
        unreadable: a sentence for each image that was left out.
        not_assessable: how many images a screening would not judge.
        seed: of the intervals.
    """

    __test__ = False  # no test of pytest's

    data: str
    split: str
    names: Sequence[str]
    scores: ClassificationScores
    per_image: Sequence[dict[str, Any]]
    wrong: Sequence[WrongImage]
    unreadable: Sequence[str]
    not_assessable: int
    seed: int


def write_test_page(out: Path, model: QualityModel, test: TestFacts) -> Path:
    """Write ``report.html`` beside the figures that it embeds; returns its path."""
    return render_page(
        "test.html.jinja",
        out / PAGE,
        package="cxrlens.testing",
        title=f"Test of {model.identity.label} on {test.data}, {test.split}",
        intro=_intro(model, test),
        facts=_facts(model, test.scores),
        figures=[
            {"title": title, "path": out / f"{name}.svg", "alt": f"{title} on {test.split}", "caption": caption}
            for name, title, caption in _FIGURES
            if (out / f"{name}.svg").is_file()
        ],
        tables=[*_score_tables(test), *_published_tables(test), *_wrong_tables(test)],
        commands=[],
        errors=_errors(test),
        wrong=[
            {
                "name": image.item.name,
                "caption": f"{image.label}, probability of affected {image.probability:.3f}",
                "alt": f"Radiograph {image.item.name}, labelled {image.label}",
                "address": image.address,
            }
            for image in test.wrong
        ],
        footer=origin_lines(
            describe_environment(device=str(model.device), seed=test.seed),
            f"model {model.identity.name}, SHA-256 {model.identity.sha256 or 'n/a'}",
        ),
    )


def _intro(model: QualityModel, test: TestFacts) -> list[str]:
    scores, calibration = test.scores, model.card.calibration
    said = [
        f"{scores.n} labelled images of '{test.split}', {scores.n_affected} of them affected. An image counts as "
        f"affected from a probability of {scores.threshold:.4g} on."
    ]
    if calibration is None:
        said.append(
            "The model is not calibrated: its probability is no frequency, and its threshold was chosen for no "
            "purpose. 'cxrlens calibrate' sets both for a site."
        )
    else:
        said.append(
            f"The model is calibrated for a share of affected images of {100 * calibration.prevalence:.3g} %; these "
            f"images have {100 * scores.n_affected / scores.n:.3g} %. Where the two differ, Brier score and "
            "calibration error say little."
        )
    if test.not_assessable:
        said.append(
            f"{test.not_assessable} of the images would not be judged by a screening; labelled, they count in the "
            "scores."
        )
    if test.unreadable:
        left_out = counted(len(test.unreadable), "image could not be read and is", "images could not be read and are")
        said.append(f"{left_out} left out, see unreadable.txt.")
    said.append("The page holds pictures of patients. For research; not a medical device.")
    return said


def _facts(model: QualityModel, scores: ClassificationScores) -> list[tuple[str, str]]:
    intervals = scores.intervals()
    named = [(name, _SCORES[name]) for name in ("auc", "sensitivity", "specificity", "accuracy")]
    return [
        ("Network", f"{model.card.architecture}, {model.preprocessing.size}"),
        *(
            (title[0].upper() + title[1:], _text(getattr(scores, name), intervals.get(name)))
            for name, title in named
            if math.isfinite(getattr(scores, name))
        ),
    ]


def _score_tables(test: TestFacts) -> list[dict[str, Any]]:
    intervals = test.scores.intervals()
    rows = []
    for name, title in _SCORES.items():
        value, interval = getattr(test.scores, name), intervals.get(name)
        shown = "" if interval is None or math.isnan(interval.low) else f"{interval.low:.3f} to {interval.high:.3f}"
        rows.append([title, "n/a" if math.isnan(value) else f"{value:.3f}", shown])
    counted = [
        [name, *map(str, counts), str(sum(counts))]
        for name, counts in zip(CLASS_NAMES, test.scores.confusion, strict=True)
    ]
    return [
        {
            "title": "Scores",
            "columns": ["score", "value", "95 % interval"],
            "rows": rows,
            "note": "Intervals over images: bootstrap for the AUC, Clopper and Pearson for shares.",
        },
        {
            "title": "Confusion table",
            "columns": ["label", *(f"called {name}" for name in CLASS_NAMES), "images"],
            "rows": counted,
            "note": "",
        },
    ]


def _published_tables(test: TestFacts) -> list[dict[str, Any]]:
    """Published AUCs, where the images are those of Object-CXR."""
    split = published_split(test.names)
    if split is None or not math.isfinite(test.scores.auc):
        return []
    own = f"{test.scores.auc:.3f}"
    return [
        {
            "title": "Published scores on Object-CXR",
            "columns": ["by", "published AUC", "AUC here", "protocol", "source"],
            "rows": [[each.by, f"{each.value:.3f}", own, each.protocol, each.source] for each in published("auc")],
            "note": f"Here: {test.scores.n} of the published {split} images. Only scores on the same images can be "
            "compared.",
        }
    ]


def _wrong_tables(test: TestFacts) -> list[dict[str, Any]]:
    threshold = test.scores.threshold
    wrong = [row for row in test.per_image if not row["correct"]]
    wrong.sort(key=lambda row: abs(row["probability"] - threshold), reverse=True)
    if not wrong:
        return []
    more = f"The first {_MOST_ROWS} of {len(wrong)}; predictions.csv has all." if len(wrong) > _MOST_ROWS else ""
    return [
        {
            "title": "Images that were decided wrongly",
            "columns": ["image", "label", "decision", "probability", "remarks"],
            "rows": [
                [str(row["image"]), row["label"], row["decision"], f"{row['probability']:.3f}", row["remarks"]]
                for row in wrong[:_MOST_ROWS]
            ],
            "note": more,
        }
    ]


def _errors(test: TestFacts) -> str:
    (_, false_alarms), (missed, _) = test.scores.confusion
    count = false_alarms + missed
    if not count:
        return "None: every image was decided as it is labelled."
    shown = "" if count == len(test.wrong) else f" The {len(test.wrong)} that the model was surest of are shown."
    return f"{missed} affected images were called normal, {false_alarms} normal ones affected.{shown}"


def _text(value: float, interval: Any) -> str:
    if interval is None or math.isnan(interval.low):
        return f"{value:.3f}"
    return f"{value:.3f} ({interval.low:.3f} to {interval.high:.3f})"
