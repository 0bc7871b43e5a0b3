"""The page at the end of a training: its curves, what it was made of, how good the best epoch is, and how to go on."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cxrlens.environment import origin_lines
from cxrlens.evaluation.dev_scores import DevScore, scored
from cxrlens.models.card import ModelCard
from cxrlens.models.distance import NOT_KNOWN
from cxrlens.report.figures import save_figure
from cxrlens.report.html import render_page
from cxrlens.training.curves import curves_figure
from cxrlens.training.loggers import flat
from cxrlens.wording import counted

PAGE: Final = "report.html"
CURVES: Final = "curves"  # .png and .svg

_MODEL: Final = "model.safetensors"
_MOST_UNREADABLE: Final = 20
_TITLES: Final = {
    "learning_rate": "highest learning rate",
    "train_loss": "train loss",
    "train_auc": "train AUC",
    "dev_loss": "dev loss",
    "dev_auc": "dev AUC",
    "dev_accuracy": "accuracy",
    "dev_sensitivity": "sensitivity",
    "dev_specificity": "specificity",
}
_PRECISIONS: Final = {
    "32-true": "float32",
    "bf16-mixed": "bfloat16, mixed with float32",
    "16-mixed": "float16, mixed with float32",
}


@dataclass(frozen=True)
class RunFacts:
    """What there is to tell of a finished training.

    Attributes:
        card: of its model.
        history: a row an epoch, as `QualityClassifier.history`.
        precision: Lightning's name.
        seconds: that it took; None of a training that was resumed.
        environment: where it was made, see `describe_environment`.
        unreadable: a sentence for each image that was left out.
    """

    card: ModelCard
    history: Sequence[Mapping[str, float]]
    precision: str
    seconds: float | None
    environment: Mapping[str, Any]
    unreadable: Sequence[str]

    @property
    def best_epoch(self) -> int:
        """Counted from 0."""
        return int(self.card.training["best_epoch"])

    @property
    def data(self) -> Mapping[str, Any]:
        """Folder, digest and new labels."""
        return dict(self.card.training["data"])

    @property
    def images(self) -> Mapping[str, Mapping[str, int]]:
        """Number per split and class."""
        return dict(self.card.training["images"])

    def dev_scores(self) -> list[DevScore]:
        """Of the best epoch, with intervals."""
        values = {name: value for name, value in self.card.dev_scores.items() if name != "dev_loss"}
        return scored(values, self.images["dev"])


def write_training_page(run_dir: Path, run: RunFacts) -> Path:
    """Draw ``curves.png`` and ``curves.svg`` into the run's folder and write ``report.html``; returns its path."""
    title = f"Training of {run.card.architecture}"
    figure = curves_figure(run.history, run.best_epoch, title=run.card.architecture)
    _, svg = save_figure(figure, run_dir / CURVES, formats=("png", "svg"))
    return render_page(
        "report.html.jinja",
        run_dir / PAGE,
        title=f"{title}: {run_dir.name}",
        intro=_intro(run),
        facts=_facts(run),
        figures=[
            {
                "title": "Curves",
                "path": svg,
                "alt": f"Loss and AUC of training and dev images over {counted(len(run.history), 'epoch')}; the table "
                "below has the numbers.",
                "caption": "Training images are augmented and scored while the network learns, dev images as they are "
                "and after each epoch. The dotted line marks the epoch that was kept.",
            }
        ],
        tables=[_scores_table(run), _epochs_table(run), _data_table(run), _recipe_table(run)],
        commands=_commands(run_dir, run),
        footer=origin_lines(run.environment),
    )


def _intro(run: RunFacts) -> list[str]:
    distance = NOT_KNOWN if run.card.distance is None else str(run.card.distance)
    paragraphs = [
        f"Epoch {run.best_epoch + 1} of {len(run.history)} was kept, the one with the best AUC on the dev images. As "
        "it was chosen by these images, its scores on them are somewhat too good; scores on images that no training "
        "has seen are to be had with the commands below.",
        f"Distance from the training images, by which other images are refused: {distance}.",
        "For research; not a medical device.",
    ]
    if run.unreadable:
        shown, rest = run.unreadable[:_MOST_UNREADABLE], len(run.unreadable) - _MOST_UNREADABLE
        more = f"; and {rest} more, see unreadable.txt" if rest > 0 else ""
        paragraphs.append(f"Left out, as they could not be read: {'; '.join(shown)}{more}.")
    return paragraphs


def _facts(run: RunFacts) -> list[tuple[str, str]]:
    card = run.card
    scores = {score.name: score for score in run.dev_scores()}
    facts = [("Best epoch", f"{run.best_epoch + 1} of {len(run.history)}")]
    if "auc" in scores:
        facts.append(("Dev AUC", _with_interval(scores["auc"])))
    facts += [
        ("Network", f"{card.architecture}, {card.preprocessing.size}"),
        *((f"Images, {name}", _counted(counts)) for name, counts in run.images.items()),
        ("Precision", _PRECISIONS.get(run.precision, run.precision)),
    ]
    if run.seconds is not None:
        facts.append(("Time", f"{run.seconds / 60:.1f} minutes on {run.environment['device']}"))
    return facts


def _scores_table(run: RunFacts) -> dict[str, Any]:
    return {
        "title": "Best epoch on the dev images",
        "columns": ["score", "value", "95 % interval", "images"],
        "rows": [
            [_TITLES.get(f"dev_{score.name}", score.name).removeprefix("dev "), _number(score.value), *_interval(score)]
            for score in run.dev_scores()
        ],
        "note": "At a threshold of 0.5, probabilities not calibrated. Intervals by Hanley and McNeil (AUC) and Clopper "
        "and Pearson (shares of images), of the images alone.",
    }


def _epochs_table(run: RunFacts) -> dict[str, Any]:
    names = [name for name in _TITLES if any(name in row for row in run.history)]
    return {
        "title": "Epochs",
        "columns": ["epoch", *(_TITLES[name] for name in names)],
        "rows": [
            [str(int(row["epoch"]) + 1), *(_number(row.get(name, math.nan), name) for name in names)]
            for row in run.history
        ],
        "note": f"Kept: epoch {run.best_epoch + 1}.",
    }


def _data_table(run: RunFacts) -> dict[str, Any]:
    return {"title": "Data", "columns": ["what", "value"], "rows": _pairs(run.data), "note": ""}


def _recipe_table(run: RunFacts) -> dict[str, Any]:
    recipe = run.card.training["recipe"]
    return {"title": f"Recipe {recipe['name']}", "columns": ["setting", "value"], "rows": _pairs(recipe), "note": ""}


def _commands(run_dir: Path, run: RunFacts) -> list[tuple[str, str]]:
    model, data = shlex.quote(str(run_dir / _MODEL)), shlex.quote(str(run.data["folder"]))
    return [
        ("Score it on other labelled images", f"cxrlens test DATA --model {model}"),
        ("See where it looks", f"cxrlens explain {data} --model {model}"),
        ("Measure whether that is true", f"cxrlens pointing-game {data} --model {model}"),
        ("Set its threshold for a site, on images of that site", f"cxrlens calibrate DATA --model {model}"),
        ("Screen a folder", f"cxrlens screen FOLDER --model {model} --out screening"),
        ("Keep it under a name", f"cxrlens model add {model} --name {shlex.quote(run_dir.name)}"),
    ]


def _pairs(values: Mapping[str, Any]) -> list[list[str]]:
    return [[name, "none" if value is None else str(value)] for name, value in flat(values).items()]


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _with_interval(score: DevScore) -> str:
    low_to_high, _ = _interval(score)
    return f"{score.value:.3f}" + (f" ({low_to_high})" if low_to_high else "")


def _interval(score: DevScore) -> tuple[str, str]:
    """The interval, "" where there is none, and the number of images."""
    low, high = score.interval.low, score.interval.high
    return "" if math.isnan(low) else f"{low:.3f} to {high:.3f}", str(score.n)


def _number(value: float, name: str = "") -> str:
    if not math.isfinite(value):
        return ""
    return f"{value:.3g}" if name == "learning_rate" else f"{value:.4f}" if name.endswith("loss") else f"{value:.3f}"
