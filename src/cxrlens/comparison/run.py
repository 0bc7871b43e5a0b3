"""The job behind ``cxrlens compare``: two models, or two rows of one model, on the same images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from cxrlens.comparison.page import (
    DECISION,
    DIFFERENCES,
    PAGE,
    Compared,
    DifferingImage,
    write_comparison_page,
)
from cxrlens.errors import NothingToDoError
from cxrlens.evaluation.bootstrap import Floats, Interval, bootstrap_means
from cxrlens.evaluation.classification import auc_difference_interval
from cxrlens.evaluation.proportions import bounded_where_alike
from cxrlens.files import write_csv
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.dataset.layouts import CLASS_NAMES, Item
from cxrlens.inputs.decoding import BatchReader
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.unreadable import list_unreadable
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.pointing.run import PointingSettings, play_folder
from cxrlens.report.row_titles import row_title
from cxrlens.saliency.explain import Row
from cxrlens.saliency.recorded_resize import RecordedResize
from cxrlens.testing.run import ScoreResult, score_model
from cxrlens.testing.wrong import MOST, small_jpeg

log = logging.getLogger(__name__)

Progress: TypeAlias = Callable[[int, int], None]
Records: TypeAlias = dict[str, dict[str, Any]]  # by image

OUTPUTS = (
    "a",
    "b",
    "pointing-game",
    "comparison.csv",
    "flips.csv",
    PAGE,
    f"{DIFFERENCES}.png",
    f"{DIFFERENCES}.svg",
    "unreadable.txt",
)
"""What a comparison writes right into its folder."""

GAME_PAGE = "pointing_game.html"
"""Of a model's Pointing Game, beside the page of its test."""

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
    """The rows of ``comparison.csv`` and ``flips.csv``, what could not be read, and the page ``report.html``."""

    scores: list[PairedScore]
    flips: list[dict[str, Any]]
    unreadable: list[str]
    page: Path | None = None

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
    ``test`` and ``pointing-game`` go into ``out/a`` and ``out/b``, ``comparison.csv``, ``flips.csv`` and the page
    ``report.html`` beside them.

    Args:
        rows: of the Pointing Game; none of it without annotated images.
        margin: how much worse B may be, in units of the score.

    Raises:
        UsageError: when the data cannot be used.
        NothingToDoError: when no image has a label or can be read.
    """
    places = (out / "a", out / "b")
    chosen = data.scored_split(split)
    shared: dict[str, Any] = {
        "split": chosen.name,
        "workers": workers,
        "batch_size": batch_size,
    }
    tests = [
        score_model(data, model, place, seed=settings.seed, progress=progress, **shared)
        for model, place in zip((a, b), places, strict=True)
    ]
    scores, flips = _compare_decisions(*tests, margin=margin, seed=settings.seed)
    pages = [tests[0].page.name]
    if rows:
        try:
            played = [
                play_folder(data, model, place, rows, settings, page=GAME_PAGE, progress=progress, **shared).per_image
                for model, place in zip((a, b), places, strict=True)
            ]
        except NothingToDoError as reason:
            log.warning("no Pointing Game: %s", reason)
        else:
            pages.append(GAME_PAGE)
            for row in rows:
                found, flipped = _compare_hits(
                    f"pointing game, {row.method} {row.layers}",
                    *(_of_row(records, row) for records in played),
                    margin=margin,
                    seed=settings.seed,
                )
                scores.append(found)
                flips += flipped
    compared = Compared(
        *_apart(a.identity.label, b.identity.label),
        data=data.root.resolve().name,
        split=tests[0].split,
        margin=margin,
        parts=[
            (f"{side}/", f"all results of {side.upper()}: {' and '.join(f'{side}/{page}' for page in pages)}")
            for side in "ab"
        ],
        device=str(a.device),
        seed=settings.seed,
    )
    differing = _differing_images(flips, chosen.items, data.root, a.preprocessing)
    return _written(CompareResult(scores, flips, tests[0].unreadable), compared, out, differing)


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
    compared = Compared(
        row_title(a),
        row_title(b),
        data=data.root.resolve().name,
        split=_split_name(data, split),
        margin=margin,
        parts=[("pointing-game/", "the Pointing Game of both rows and of the baselines: pointing-game/report.html")],
        device=str(model.device),
        seed=settings.seed,
    )
    return _written(CompareResult([found], flips, played.unreadable), compared, out)


def _split_name(data: Dataset, split: str | None) -> str:
    """Of the images that are taken, see `Dataset.split_or_folder`, whose remarks have been told."""
    return split or next((name for name in ("test", "dev") if name in data.splits), "all images")


def _apart(first: str, second: str) -> tuple[str, str]:
    """Names of models; of one name they are told apart."""
    return (first, second) if first != second else (f"{first} (A)", f"{second} (B)")


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
    return scores, _flips(DECISION, names, right, (first, second))


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


def _differing_images(
    flips: Sequence[dict[str, Any]], items: Sequence[Item], root: Path, preprocessing: Preprocessing
) -> list[DifferingImage]:
    """Images that are decided differently, lost ones first, with small pictures; at most `MOST`.

    Half of them are lost and half gained ones, as far as there are; of each kind those whose probabilities lie
    farthest apart.
    """
    kinds = [
        sorted(
            (flip for flip in flips if (flip["score"], flip["flip"]) == (DECISION, kind)),
            key=lambda flip: -abs(flip["probability_a"] - flip["probability_b"]),
        )
        for kind in ("lost", "gained")
    ]
    lost, gained = (found[: max(MOST // 2, MOST - len(other))] for found, other in (kinds, kinds[::-1]))
    by_name = {item.name_in(root): item for item in items}
    shown = [by_name[flip["image"]] for flip in (*lost, *gained)]
    pictures = {
        item.name_in(root): small_jpeg(grey[0].numpy())
        for batch in BatchReader(shown, preprocessing, batch_size=1)
        for item, grey in zip(batch.items, batch.grey, strict=True)
    }
    return [
        DifferingImage(
            by_name[flip["image"]].name,
            str(flip["label"]),
            flip["flip"],
            flip["probability_a"],
            flip["probability_b"],
            pictures[flip["image"]],
        )
        for flip in (*lost, *gained)
        if flip["image"] in pictures
    ]


def _written(
    result: CompareResult, compared: Compared, out: Path, differing: Sequence[DifferingImage] = ()
) -> CompareResult:
    write_csv(out / "comparison.csv", _SCORE_COLUMNS, [asdict(score) for score in result.scores])
    write_csv(out / "flips.csv", _FLIP_COLUMNS, result.flips, paths=("image",))
    list_unreadable(result.unreadable, out)
    return replace(result, page=write_comparison_page(out, compared, result, differing))
