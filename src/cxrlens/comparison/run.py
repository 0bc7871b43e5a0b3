"""The job behind ``cxrlens compare``: two models, or two rows of one model, on the same images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from cxrlens.errors import NothingToDoError
from cxrlens.evaluation.bootstrap import Floats, Interval, bootstrap_means
from cxrlens.evaluation.classification import auc_difference_interval
from cxrlens.evaluation.proportions import bounded_where_alike
from cxrlens.files import write_csv
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.dataset.layouts import CLASS_NAMES
from cxrlens.inputs.unreadable import list_unreadable
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.pointing.run import PointingSettings, play_folder
from cxrlens.saliency.explain import Row
from cxrlens.saliency.recorded_resize import RecordedResize
from cxrlens.testing.run import ScoreResult, score_model

log = logging.getLogger(__name__)

Progress: TypeAlias = Callable[[int, int], None]
Records: TypeAlias = dict[str, dict[str, Any]]  # by image

OUTPUTS = ("a", "b", "pointing-game", "comparison.csv", "flips.csv", "unreadable.txt")
"""What a comparison writes right into its folder."""

_SCORE_COLUMNS = ("score", "n", "a", "b", "difference", "low", "high", "lost", "gained", "worse",
                  "map_resize_a", "map_resize_b")  # fmt: skip
_FLIP_COLUMNS = ("image", "score", "flip", "label", "probability_a", "probability_b")


@dataclass(frozen=True)
class PairedScore:
    """One score of A and of B on the same n images.

    Attributes:
        difference: B minus A; ``low`` and ``high`` its 95 % paired bootstrap interval over images; where
            all images differ alike, or none does, that of `bounded_where_alike`.
        lost: images that were right with A and are wrong with B; ``gained`` the other way; None where the score is
            no share of images.
        worse: the whole interval lies below minus the margin.
        map_resize_a: of the maps that the score is of, as it was done, see `RecordedResize`; "" of no maps, and of
            maps that read no layer. Likewise ``map_resize_b``.
    """

    score: str
    n: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    lost: int | None
    gained: int | None
    worse: bool
    map_resize_a: str = ""
    map_resize_b: str = ""


@dataclass(frozen=True)
class CompareResult:
    """The rows of ``comparison.csv`` and ``flips.csv``, and what could not be read."""

    scores: list[PairedScore]
    flips: list[dict[str, Any]]
    unreadable: list[str]

    @property
    def worse(self) -> list[str]:
        """Names of the scores in which B is worse."""
        return [score.score for score in self.scores if score.worse]


def compare_models(
    data: Dataset,
    a: QualityModel,
    b: QualityModel,
    out: Path,
    rows: Sequence[Row],
    settings: PointingSettings,
    *,
    margin: float = 0.0,
    split: str | None = None,
    batch_size: int = 8,
    workers: int = 0,
    progress: Progress | None = None,
) -> CompareResult:
    """Compare two models' decisions on a labelled split, and their maps on its annotated images.

    Each model sees the images with its own preprocessing and decides with its own threshold. The full outputs of
    ``test`` and ``pointing-game`` go into ``out/a`` and ``out/b``, ``comparison.csv`` and ``flips.csv`` beside them.

    Args:
        rows: of the Pointing Game; none of it without annotated images.
        margin: how much worse B may be, in units of the score.

    Raises:
        UsageError: when the data cannot be used.
        NothingToDoError: when no image has a label or can be read.
    """
    places = (out / "a", out / "b")
    shared: dict[str, Any] = {
        "split": data.scored_split(split).name,
        "workers": workers,
        "batch_size": batch_size,
    }
    tests = [
        score_model(data, model, place, seed=settings.seed, progress=progress, **shared)
        for model, place in zip((a, b), places, strict=True)
    ]
    scores, flips = _compare_decisions(*tests, margin=margin, seed=settings.seed)
    if rows:
        try:
            played = [
                play_folder(data, model, place, rows, settings, progress=progress, **shared).per_image
                for model, place in zip((a, b), places, strict=True)
            ]
        except NothingToDoError as reason:
            log.warning("no Pointing Game: %s", reason)
        else:
            for row in rows:
                found, flipped = _compare_hits(
                    f"pointing game, {row.method} {row.layers}",
                    *(_of_row(records, row) for records in played),
                    margin=margin,
                    seed=settings.seed,
                )
                scores.append(found)
                flips += flipped
    return _written(CompareResult(scores, flips, tests[0].unreadable), out)


def compare_methods(
    data: Dataset,
    model: QualityModel,
    a: Row,
    b: Row,
    out: Path,
    settings: PointingSettings,
    *,
    margin: float = 0.0,
    split: str | None = None,
    batch_size: int = 8,
    workers: int = 0,
    progress: Progress | None = None,
) -> CompareResult:
    """Compare two rows' Pointing Game on the annotated images of a data set; the files are those of `compare_models`.

    Raises:
        UsageError: when the data cannot be used.
        NothingToDoError: when no readable image has an object.
    """
    played = play_folder(
        data,
        model,
        out / "pointing-game",
        [a, b],
        settings,
        split=split,
        batch_size=batch_size,
        workers=workers,
        progress=progress,
    )
    first, second = _of_row(played.per_image, a), _of_row(played.per_image, b)
    found, flips = _compare_hits("pointing game", first, second, margin=margin, seed=settings.seed)
    return _written(CompareResult([found], flips, played.unreadable), out)


def _of_row(per_image: Sequence[dict[str, Any]], row: Row) -> Records:
    """The records of a row by image."""
    return {r["image"]: r for r in per_image if (r["method"], r["layers"]) == (row.method, row.layers)}


def _compare_decisions(
    a: ScoreResult, b: ScoreResult, *, margin: float, seed: int
) -> tuple[list[PairedScore], list[dict[str, Any]]]:
    first, second = ({record["image"]: record for record in result.per_image} for result in (a, b))
    names = [name for name in first if name in second]
    affected = np.array([first[name]["label"] == CLASS_NAMES[1] for name in names])
    right = [np.array([records[name]["correct"] for name in names], dtype=np.float64) for records in (first, second)]
    scores = []
    if affected.any() and not affected.all():
        scores.append(_auc(affected, first, second, names, a, b, margin=margin, seed=seed))
    parts = {"accuracy": np.ones_like(affected), "sensitivity": affected, "specificity": ~affected}
    scores += [
        _shares(name, right[0][chosen], right[1][chosen], margin=margin, seed=seed)
        for name, chosen in parts.items()
        if chosen.any()
    ]
    return scores, _flips("decision", names, right, (first, second))


def _auc(
    affected: np.ndarray[Any, np.dtype[np.bool_]],
    first: Records,
    second: Records,
    names: Sequence[str],
    a: ScoreResult,
    b: ScoreResult,
    *,
    margin: float,
    seed: int,
) -> PairedScore:
    probabilities = [np.array([records[name]["probability"] for name in names]) for records in (first, second)]
    interval = auc_difference_interval(affected.astype(np.intp), probabilities[1], probabilities[0], seed=seed)
    return _paired("auc", len(names), a.scores.auc, b.scores.auc, interval, margin)


def _compare_hits(
    name: str, first: Records, second: Records, *, margin: float, seed: int
) -> tuple[PairedScore, list[dict[str, Any]]]:
    """Images that both could score."""
    names = [image for image in first if image in second]
    hits = [np.array([records[image]["hit"] for image in names], dtype=np.float64) for records in (first, second)]
    score = _shares(name, *hits, margin=margin, seed=seed)
    score = replace(score, map_resize_a=_map_resize(names, first), map_resize_b=_map_resize(names, second))
    return score, _flips(name, names, hits, (first, second))


def _map_resize(names: Sequence[str], records: Records) -> str:
    """Of a row's maps, which all images share."""
    return "".join(str(RecordedResize.of_columns(records[name])) for name in names[:1])


def _shares(name: str, a: Floats, b: Floats, *, margin: float, seed: int) -> PairedScore:
    """Of images that are right: values 0 or 1, [n] each."""
    differences = (b - a)[None]
    lows, highs = bounded_where_alike(differences, bootstrap_means(differences, seed=seed))
    interval = Interval(float(lows[0]), float(highs[0]))
    lost, gained = int((a > b).sum()), int((b > a).sum())
    return _paired(name, len(a), float(a.mean()), float(b.mean()), interval, margin, lost, gained)


def _paired(
    name: str,
    n: int,
    a: float,
    b: float,
    interval: Interval,
    margin: float,
    lost: int | None = None,
    gained: int | None = None,
) -> PairedScore:
    low, high = interval.low, interval.high
    return PairedScore(name, n, a, b, b - a, low, high, lost, gained, worse=high < -margin)


def _flips(
    score: str, names: Sequence[str], right: Sequence[Floats], records: tuple[Records, Records]
) -> list[dict[str, Any]]:
    """The images whose outcome differs, lost ones first."""
    flips = [
        {
            "image": name,
            "score": score,
            "flip": "lost" if was > now else "gained",
            "label": records[0][name].get("label"),
            "probability_a": records[0][name]["probability"],
            "probability_b": records[1][name]["probability"],
        }
        for name, was, now in zip(names, *right, strict=True)
        if was != now
    ]
    return sorted(flips, key=lambda flip: flip["flip"] == "gained")


def _written(result: CompareResult, out: Path) -> CompareResult:
    write_csv(out / "comparison.csv", _SCORE_COLUMNS, [asdict(score) for score in result.scores])
    write_csv(out / "flips.csv", _FLIP_COLUMNS, result.flips, paths=("image",))
    list_unreadable(result.unreadable, out)
    return result
