"""A model card as Markdown and as plain values (after Mitchell et al., FAT* 2019)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cxrlens.calibration.text import bullets, calibration_sections
from cxrlens.evaluation.dev_scores import DevScore
from cxrlens.files import plain
from cxrlens.models.card import ModelCard
from cxrlens.models.distance import FEATURES, NOT_KNOWN
from cxrlens.report.tables import Column, Score, Table, markdown, to_markdown

if TYPE_CHECKING:
    from cxrlens.study.outcome import Verdict


@dataclass(frozen=True)
class TrainingData:
    """The images behind a model.

    Attributes:
        name: of the folder; empty where the model file does not say it. ``digest`` likewise.
        images: number per split and class.
        licence: None where not known.
        licence_reason: how that is known, or what to do.
        is_object_cxr: recognised by its numbers of images.
    """

    name: str
    digest: str
    images: dict[str, dict[str, int]]
    licence: str | None
    licence_reason: str
    is_object_cxr: bool


@dataclass(frozen=True)
class CardFacts:
    """Everything on a model card.

    Attributes:
        file: name of the model file; ``sha256`` is its digest.
        card: what the file says of itself.
        data: the images it was trained on.
        dev_scores: at a threshold of 0.5, uncalibrated.
        randomisation: of a study; None = no study was given, empty = it left the check out.
        limits: what the model must not be taken for.
    """

    file: str
    sha256: str
    card: ModelCard
    data: TrainingData
    dev_scores: list[DevScore]
    randomisation: list[Verdict] | None
    limits: list[str]


def card_values(facts: CardFacts) -> dict[str, Any]:
    """The card in JSON's own types."""
    values = asdict(facts)
    arrays = (
        {kind: {"centre", "whitening", "weights", "intercepts"} for kind in FEATURES} if facts.card.distance else {}
    )
    values["card"] = facts.card.model_dump(mode="json", exclude={"distance": arrays})
    values["card"]["training"]["data"] = {"name": facts.data.name, "digest": facts.data.digest}  # no private path
    if facts.randomisation is None:
        values["randomisation"] = "not done"
    found: dict[str, Any] = plain(values)
    return found


def card_page(facts: CardFacts) -> str:
    """The card in Markdown."""
    card = facts.card
    parts = [
        f"# Model card: {card.architecture}, {facts.file}",
        "It estimates how likely a chest radiograph shows a foreign object, and where it looks. **For research; not a "
        "medical device.**",
        "## Model",
        bullets(_model(facts)),
        "## Data and licence",
        _data(facts.data),
        "## Training",
        _recipe(card),
        *_scores(facts),
    ]
    if card.calibration is None:
        threshold = f"An image is called affected from a probability of {card.threshold:g} on, a default."
        parts += ["## Operating point and calibration", f"Not done (`cxrlens calibrate`). {threshold}"]
    else:
        parts += ["## Operating point and calibration", calibration_sections(card).replace("\n## ", "\n### ").strip()]
    parts += ["## What it refuses to judge", _distance(card)]
    parts += ["## Do its maps depend on its weights?", _randomisation(facts.randomisation)]
    parts += ["## Limits", bullets(facts.limits)]
    return "\n\n".join(parts) + "\n"


def _model(facts: CardFacts) -> list[str]:
    card, seen = facts.card, facts.card.preprocessing
    return [
        f"Architecture: {card.architecture}; classes: {', '.join(card.classes)}",
        f"Input: grey radiograph, bright = dense, {seen.width} x {seen.height} px ({seen.resize})",
        f"Made: {card.created or 'not recorded'}, by cxrlens {card.cxrlens_version or '(version not recorded)'}",
        f"File: SHA-256 {facts.sha256}",
    ]


def _data(data: TrainingData) -> str:
    lines = [f"Training data: {data.name or 'not recorded'}" + (f" (digest {data.digest})" if data.digest else "")]
    for split, counts in data.images.items():
        lines.append(f"Images of {split}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))
    if data.licence is None:
        licence = f"**not known**: {markdown(data.licence_reason)}, and state it with `--data-licence`."
    else:
        licence = f"**{markdown(data.licence)}** ({markdown(data.licence_reason)})."
    return f"{bullets(lines)}\n- Licence of the data: {licence}"


def _recipe(card: ModelCard) -> str:
    recipe = card.training.get("recipe")
    if not isinstance(recipe, dict):
        return "Not recorded."
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in recipe.items()]
    if "best_epoch" in card.training:
        lines.append(f"best epoch, counted from 0: {card.training['best_epoch']}")
    return bullets(lines)


def _scores(facts: CardFacts) -> list[str]:
    if not facts.dev_scores:
        return ["## Scores on the dev images", "Not recorded."]
    table = Table(
        "dev",
        "Scores on the dev images",
        (Column("score", "Score"), Column("value", "Value", "score")),
        [(s.name, Score(s.value, s.interval.low, s.interval.high, s.n)) for s in facts.dev_scores],
        note="The epoch was chosen on these images, so that they flatter. Uncalibrated probabilities, threshold 0.5. "
        "Intervals from the numbers of images: Hanley and McNeil (1982) for the AUC, Clopper and Pearson (1934) for "
        "shares.",
    )
    return [to_markdown(table).strip()]


def _distance(card: ModelCard) -> str:
    if card.distance is None:
        return f"How far an image lies from the training images is {markdown(NOT_KNOWN)}."
    return (
        "An image that lies too far from those that the model knows, by its layout, by its fine structure or by how it "
        f"is turned or cut, is not judged. The distance is one {markdown(str(card.distance))}."
    )


def _randomisation(verdicts: Sequence[Verdict] | None) -> str:
    if verdicts is None:
        return "Not done: no study of this model was given (`--study`), so nothing is known of what its maps depend on."
    if not verdicts:
        return "Not done: the plan of the study left out the randomisation check."
    failing = [f"{v.method}, {v.layers}" for v in verdicts if not v.passes]
    said = f"Failing: {'; '.join(failing)}." if failing else "Every row passes."
    table = Table(
        "randomisation",
        "Cascading randomisation",
        (
            Column("method", "Method"),
            Column("layers", "Layers"),
            Column("similarity", "SSIM, all weights drawn anew", "number"),
            Column("unrelated", "SSIM of unrelated maps", "number"),
            Column("verdict", "Criterion"),
        ),
        [(v.method, v.layers, v.similarity, v.unrelated, "passes" if v.passes else "fails") for v in verdicts],
        note="A row passes when maps of the network with all weights drawn anew are less like its own than maps of "
        "different images are like each other (Arun et al., 2021). Mean over the trainings in the study. Maps: "
        f"{verdicts[0].resize}.",
    )
    return said + "\n\n" + to_markdown(table).replace("## ", "### ", 1).strip()
