"""The job behind ``cxrlens calibrate``: probabilities and thresholds for a site, in a copy of the model file."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.special import expit
from sklearn.metrics import roc_auc_score

import cxrlens
from cxrlens.calibration import operating_points as points
from cxrlens.calibration import probabilities
from cxrlens.calibration import remarks as calibration_remarks
from cxrlens.calibration.figures import calibration_figure, operating_point_figure
from cxrlens.calibration.operating_points import Thresholds, ThresholdTarget
from cxrlens.calibration.text import calibration_page
from cxrlens.environment import timestamp
from cxrlens.errors import UsageError
from cxrlens.evaluation.bootstrap import Floats
from cxrlens.evaluation.classification import Labels, auc_interval
from cxrlens.files import sha256_of, write_csv, write_json, write_text
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.dataset.layouts import CLASS_NAMES
from cxrlens.inspection.distance_fitting import FeatureTable, distance_of_one_set, widened
from cxrlens.inspection.quality_model import QualityModel, affected_log_odds
from cxrlens.models.calibration import TRIAGE, Agreement, Calibration, CalibrationData, Estimate, ScoreQuantiles
from cxrlens.models.card import ModelCard
from cxrlens.models.distance import TrainingDistance
from cxrlens.models.location import model_path
from cxrlens.models.model_file import is_model_file, save_model
from cxrlens.models.odds import calibrated_log_odds, prior_shift
from cxrlens.outputs import claimed, require_own, starts_with
from cxrlens.report.figures import save_figure
from cxrlens.testing.predictions import Predictions, predict

_BESIDE: dict[str, Callable[[Path], bool]] = {
    "calibration.json": starts_with(b"{"),
    "calibration.md": starts_with(b"# Calibration of "),
    "calibration.csv": starts_with(b"image,label,log_odds,"),
    "reliability.png": starts_with(b"\x89PNG"),
    "reliability.svg": starts_with(b"<?xml"),
    "operating-point.png": starts_with(b"\x89PNG"),
    "operating-point.svg": starts_with(b"<?xml"),
}
"""What is written beside the model: the ends of the names, and checks of what these files hold."""

_QUANTILES = 101
"""Of the scores of each class that the model file keeps."""

_COLUMNS = ("image", "label", "log_odds", "held_out_probability", "held_out_triage", "probability", "triage")


@dataclass(frozen=True)
class TriageGoals:
    """The scores that the decisions should reach.

    Attributes:
        retake: what the retake threshold should give.
        review: what retake and review together should give; None = no review.
        prevalence: share of affected images at the site; None = that of the data.
    """

    retake: ThresholdTarget
    review: ThresholdTarget | None
    prevalence: float | None = None


@dataclass(frozen=True)
class CalibrateResult:
    """The card of the calibrated model, what could not be read, and the files: the model first."""

    card: ModelCard
    unreadable: list[str]
    files: list[Path]

    @property
    def calibration(self) -> Calibration:
        assert self.card.calibration is not None
        return self.card.calibration


@dataclass(frozen=True)
class _Case:
    """The images and what is asked of them.

    Attributes:
        where: data and split, for people.
        labels: [n], 1 = affected.
        raw: [n], the network's log-odds of affected.
        goals: what is asked.
        trained_share: share of affected images that the log-odds assume, where the model file says it.
        seed: of parts and resamples.
    """

    where: str
    labels: Labels
    raw: Floats
    goals: TriageGoals
    trained_share: float | None
    seed: int

    @property
    def share(self) -> float:
        """Of the images that are affected."""
        return float(self.labels.mean())

    @property
    def source_share(self) -> float:
        return self.trained_share or self.share

    @property
    def prevalence(self) -> float:
        return self.goals.prevalence or self.share

    def choose(self, labels: Labels, log_odds: Floats) -> Thresholds:
        return points.choose_cuts(labels, log_odds, self.goals.retake, self.goals.review, self.prevalence)


@dataclass(frozen=True)
class _Fitted:
    """Temperature, thresholds and decisions that fit the images.

    Attributes:
        temperature: of all of them.
        held_out: calibrated log-odds [n] at the images' own share, each by a temperature fitted without the image.
        site: log-odds [n] by the final temperature at the site's prevalence; ``cuts`` are on them.
        cuts: chosen on all images.
        decisions: [n] by cuts chosen without the image.
    """

    temperature: float
    held_out: Floats
    site: Floats
    cuts: Thresholds
    decisions: points.Decisions


@contextmanager
def only_writer(model: Path, out: Path, *, force: bool) -> Iterator[None]:
    """For the whole work: the copy can be written, and no other process writes into its folder meanwhile.

    Raises:
        UsageError: when ``out`` is the model itself, exists without ``force``, has no name of a model file, or lies
            where no folder can be made; when another process writes there, or the file system has no locks.
    """
    _check_output(model, out, force=force)  # what is refused gets no lock either
    with claimed(out.parent, "writing", "an `out`", private=False):
        _check_output(model, out, force=force)  # another process may have written since
        yield


def _check_output(model: Path, out: Path, *, force: bool) -> None:
    if out.suffix != ".safetensors":
        raise UsageError(f"{out}: the calibrated copy is a model file; give `out` a name that ends in .safetensors")
    if out.exists() and out.samefile(model_path(model)):
        raise UsageError(f"{out}: is the model itself, which is never changed; give `out` another name")
    checks = {out: is_model_file, **{_beside(out, ending): check for ending, check in _BESIDE.items()}}
    there = [path for path in checks if os.path.lexists(path)]
    if there and (there[0].is_dir() or not force):
        raise UsageError(f"{there[0]}: already exists; give another name or `force`")
    for path in there:
        require_own(path, checks[path])


def calibrate_model(
    data: Dataset,
    model: QualityModel,
    source: Path,
    out: Path,
    goals: TriageGoals,
    *,
    split: str | None = None,
    batch_size: int = 16,
    workers: int = 0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> CalibrateResult:
    """Calibrate a model on a labelled split and write a copy of its file with what was found, or nothing.

    Call it as the `only_writer`. Beside ``out`` (NAME.safetensors) go ``NAME.calibration.json``, ``.md``, ``.csv``
    (each image) and the figures ``NAME.reliability`` and ``NAME.operating-point`` as PNG and SVG.

    Args:
        source: the file that ``model`` was loaded from.

    Raises:
        UsageError: when the data cannot be used, hold fewer than two images of a class, the network does not tell
            the classes apart, or no threshold reaches the target.
        NothingToDoError: when no image has a label or can be read.
    """
    chosen = data.scored_split(split)
    seen = FeatureTable(model.preprocessing)
    found = predict(
        data.root,
        chosen,
        model,
        out.parent,
        unreadable_name=f"{out.stem}.unreadable.txt",
        batch_size=batch_size,
        workers=workers,
        see=lambda _item, grey, _logits: seen.add(grey),
        progress=progress,
    )
    case = _Case(
        f"{data.root}, split '{chosen.name}'",
        np.array(found.labels, dtype=np.intp),
        affected_log_odds(found.logits).numpy(),
        goals,
        trained_share(model.card),
        seed,
    )
    _require_both_classes(case)
    fitted = _fit(case)
    origin = CalibrationData(
        name=data.root.resolve().name, split=chosen.name, images=case.labels.size, affected=int(case.labels.sum())
    )
    distance = _distance(model.card.distance, seen, origin)
    calibration = _record(case, fitted, origin, _sha256(model, source), (model.card.distance, distance))
    card = ModelCard.model_validate(
        {
            **dict(model.card),
            "threshold": float(expit(fitted.cuts.retake)),
            "calibration": calibration,
            "distance": distance,
        }
    )
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as holder:
        copy = Path(holder) / out.name
        save_model(copy, model.network, card)
        tables = _write_tables(copy, data.root, found, case, fitted, card)
        files = [copy, *tables, *_draw(copy, case, fitted, calibration)]
        page = _beside(copy, "calibration.md")
        write_text(page, calibration_page(card, out.name, [path.name for path in files]))
        made = [out.with_name(path.name) for path in (*files, page)]
        for path in (*files[1:], page, copy):  # the model last: where it is, all the rest is
            path.replace(out.with_name(path.name))
    return CalibrateResult(card, found.unreadable, made)


def _distance(known: TrainingDistance | None, seen: FeatureTable, data: CalibrationData) -> TrainingDistance | None:
    """The model's own with limits that hold at the site too, else one from the site's images; None of too few."""
    if known is None:
        return distance_of_one_set(seen, data.name, data.split)
    return widened(known, seen, data.name, data.split)


def trained_share(card: ModelCard) -> float | None:
    """The share of affected images that a network's probabilities assume: that of its training, weights counted."""
    recipe, images = card.training.get("recipe"), card.training.get("images")
    if not isinstance(recipe, dict) or not isinstance(images, dict):
        return None
    if recipe.get("class_weights") == "balanced":
        return 0.5
    normal, affected = (images.get("train", {}).get(name, 0) for name in CLASS_NAMES)
    return affected / (normal + affected) if normal and affected else None


def _require_both_classes(case: _Case) -> None:
    """Enough images of both classes, and a network that ranks them."""
    normal, affected = np.bincount(case.labels, minlength=2)
    if min(normal, affected) < 2:
        raise UsageError(
            f"{case.where}: has {normal} normal and {affected} affected images that can be read; a calibration needs "
            "at least two of each"
        )
    if not np.isfinite(case.raw).all():
        raise UsageError(f"{case.where}: the network gives numbers that are not finite; its weights are not usable")
    auc = roc_auc_score(case.labels, case.raw)
    if auc <= 0.5:
        raise UsageError(
            f"{case.where}: the network does not rank affected images above normal ones (AUC {auc:.3f}), so no "
            "threshold helps; check the labels and the model"
        )


def _fit(case: _Case) -> _Fitted:
    to_data = prior_shift(case.source_share, case.share)
    temperature = probabilities.fit_temperature(case.labels, case.raw, shift=to_data)
    site = calibrated_log_odds(case.raw, temperature, prior_shift(case.source_share, case.prevalence))
    cuts = case.choose(case.labels, site)
    if math.isinf(cuts.retake):
        what = "retakes nothing" if cuts.retake > 0 else "retakes every image"
        raise UsageError(
            f"{case.where}: on these {case.labels.size} images only a threshold that {what} gives a "
            f"{case.goals.retake}; ask for less, or calibrate on more images"
        )
    decisions = points.held_out_decisions(case.labels, site, case.choose, seed=case.seed)
    held_out = probabilities.held_out_log_odds(case.labels, case.raw, shift=to_data, seed=case.seed)
    return _Fitted(temperature, held_out, site, cuts, decisions)


def _record(
    case: _Case,
    fitted: _Fitted,
    data: CalibrationData,
    source_sha256: str,
    distances: tuple[TrainingDistance | None, TrainingDistance | None],
) -> Calibration:
    """What the model file keeps of the calibration; ``distances`` are the model's own and the one that it gets."""
    before, after = (probabilities.calibration_scores(case.labels, odds) for odds in (case.raw, fitted.held_out))
    final, goals = fitted.cuts.decide(fitted.site), case.goals
    expected, apparent = (
        points.triage_scores(values, case.prevalence)
        for values in (
            points.expected_outcomes(case.labels, final, fitted.decisions, goals.retake, goals.review),
            points.outcomes(case.labels, final),
        )
    )
    auc = auc_interval(case.labels, case.raw, seed=case.seed)
    counts = data.images - data.affected, data.affected
    known = {"prevalence_given": goals.prevalence is not None, "source_known": case.trained_share is not None}
    all_right = bool(((case.raw > 0) == (case.labels == 1)).all())
    remarks = [
        *calibration_remarks.on_data(data.split, case.share, **known),
        *calibration_remarks.on_probabilities(fitted.temperature, after, case.share, auc, all_right=all_right),
        *calibration_remarks.on_targets(goals.retake, goals.review, fitted.cuts, apparent, counts, case.prevalence),
        *calibration_remarks.on_distance(*distances),
    ]
    return Calibration(
        temperature=fitted.temperature,
        source_share=case.source_share,
        prevalence=case.prevalence,
        review_threshold=float(expit(fitted.cuts.review)),
        retake_target=str(goals.retake),
        review_target=None if goals.review is None else str(goals.review),
        threshold_interval=_threshold(case, fitted, "retake"),
        review_interval=None if goals.review is None else _threshold(case, fitted, "review"),
        data=data,
        auc=_estimate(float(roc_auc_score(case.labels, case.raw)), auc.low, auc.high),
        before=_agreement(before),
        after=_agreement(after),
        expected={name: _estimate(found.value, found.low, found.high) for name, found in expected.items()},
        apparent={name: _estimate(found.value, found.low, found.high) for name, found in apparent.items()},
        folds=len(probabilities.folds(case.labels, seed=case.seed)),
        seed=case.seed,
        remarks=tuple(remarks),
        source_sha256=source_sha256,
        scores=ScoreQuantiles(
            normal=_quantiles(fitted.site[case.labels == 0]), affected=_quantiles(fitted.site[case.labels == 1])
        ),
        cxrlens_version=cxrlens.__version__,
        created=timestamp(),
    )


def _threshold(case: _Case, fitted: _Fitted, name: Literal["review", "retake"]) -> Estimate:
    """As a probability, with the interval of choosing it."""

    def choose(labels: Labels, log_odds: Floats) -> float:
        return float(getattr(case.choose(labels, log_odds), name))

    found = points.threshold_interval(case.labels, fitted.site, choose, seed=case.seed)
    return _estimate(float(expit(getattr(fitted.cuts, name))), found.low, found.high)


def _quantiles(log_odds: Floats) -> tuple[float, ...]:
    return tuple(np.quantile(log_odds, np.linspace(0, 1, _QUANTILES)).round(6).tolist())


def _estimate(*numbers: float) -> Estimate:
    value, low, high = (number if math.isfinite(number) else None for number in numbers)
    return Estimate(value=value, low=low, high=high)


def _agreement(scores: probabilities.CalibrationScores) -> Agreement:
    return Agreement(**{name: getattr(scores, name) for name in Agreement.model_fields})


def _sha256(model: QualityModel, source: Path) -> str:
    """Of the file that was trained: a calibrated one names it."""
    if model.card.calibration is not None:
        return model.card.calibration.source_sha256
    return sha256_of(model_path(source))


def _beside(out: Path, ending: str) -> Path:
    return out.with_name(f"{out.stem}.{ending}")


def _write_tables(
    out: Path, data: Path, found: Predictions, case: _Case, fitted: _Fitted, card: ModelCard
) -> list[Path]:
    """The record, and what it says of each image."""
    assert card.calibration is not None
    record, table = _beside(out, "calibration.json"), _beside(out, "calibration.csv")
    write_json(
        record,
        {
            "model": out.name,
            "threshold": card.threshold,
            **card.calibration.model_dump(exclude={"scores"}),  # which are in the model file, and each in the CSV
            "unreadable": found.unreadable,
        },
    )
    columns = (
        [item.name_in(data) for item in found.items],
        [CLASS_NAMES[label] for label in found.labels],
        case.raw.tolist(),
        expit(fitted.held_out).tolist(),
        [TRIAGE[decision] for decision in fitted.decisions],
        expit(fitted.site).tolist(),
        [TRIAGE[decision] for decision in fitted.cuts.decide(fitted.site)],
    )
    rows = (dict(zip(_COLUMNS, row, strict=True)) for row in zip(*columns, strict=True))
    write_csv(table, _COLUMNS, rows, paths=("image",))
    return [record, table]


def _draw(out: Path, case: _Case, fitted: _Fitted, calibration: Calibration) -> list[Path]:
    truth = case.labels == 1
    name = f"{calibration.data.name} {calibration.data.split}"
    places = np.sort(fitted.site)
    sensitivity, specificity = points.rates(case.labels, fitted.site, places)
    ppv, _ = points.predictive_values(sensitivity, specificity, case.prevalence)
    drawn = {
        "reliability": calibration_figure(
            truth,
            expit(case.raw),
            expit(fitted.held_out),
            title=f"Reliability on {name}",
            ece=(calibration.before.ece, calibration.after.ece),
        ),
        "operating-point": operating_point_figure(
            truth,
            fitted.site,
            [
                ("sensitivity", sensitivity),
                ("specificity", specificity),
                (f"positive predictive value at {100 * case.prevalence:.3g} %", ppv),
            ],
            review=fitted.cuts.review,
            retake=fitted.cuts.retake,
            title=f"Thresholds on {name}",
        ),
    }
    written: list[Path] = []
    for ending, figure in drawn.items():
        written += save_figure(figure, _beside(out, ending), formats=("png", "svg"))
    return written
