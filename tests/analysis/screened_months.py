"""Screened folders of a few months, without a network: results and verdicts as a screening would have kept them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from calibrated_cards import a_calibration
from cxrlens.models.calibration import Calibration, CalibrationData, ScoreQuantiles
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store.postgresql import Server
from cxrlens.screening.store.store import Store
from stores import INFO

THRESHOLD, REVIEW = 0.5, 0.1
NORMAL, AFFECTED = (-3.0, 1.0), (1.5, 1.0)
"""Mean and standard deviation of the log-odds."""


def key_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def image(name: str, probability: float | None = 0.2, *, content: str = "", **tags: str) -> ScreenedImage:
    """A result; of no probability, one that is not assessable."""
    key = key_of(content or name)
    if probability is None:
        return ScreenedImage(name=name, key=key, triage="not_assessable", tags=tags)
    triage = "retake" if probability >= THRESHOLD else "review" if probability >= REVIEW else "pass"
    decision = "affected" if probability >= THRESHOLD else "normal"
    return ScreenedImage(name=name, key=key, probability=probability, triage=triage, decision=decision, tags=tags)


def unreadable(name: str) -> ScreenedImage:
    return ScreenedImage(name=name, key="", status="unreadable", reason="it is cut off")


def screened(
    path: Path,
    images: Iterable[ScreenedImage],
    verdicts: Mapping[str, str] | None = None,
    *,
    calibration: Calibration | None = None,
    server: Server | None = None,
    **info: Any,
) -> Path:
    """A screened folder of results, with verdicts by the names of images."""
    path.mkdir(parents=True)
    folder = ScreenedFolder(path)
    changes = {"threshold": THRESHOLD, "review_threshold": REVIEW, "created": "2026-01-01T00:00:00+00:00", **info}
    folder.write_info(INFO.model_copy(update=changes))
    folder.write_calibration(calibration)
    listed = list(images)
    keys = {each.name: each.key for each in listed}
    with Store(folder, server, keep_connections=True) as store:
        store.go_on()
        store.add(listed)
        for name, verdict in (verdicts or {}).items():
            assert store.verdicts.give(keys[name], verdict, lambda: "d" * 64)  # type: ignore[arg-type]
    return path


def scores(rng: np.random.Generator, images: int, share: float, shift: float = 0.0) -> np.ndarray[Any, Any]:
    """Log-odds of images of which about this share is affected, all of them moved by a shift."""
    affected = rng.random(images) < share
    means = np.where(affected, AFFECTED[0], NORMAL[0])
    return means + shift + rng.normal(0, 1, images)


def probabilities(rng: np.random.Generator, images: int, share: float, shift: float = 0.0) -> list[float]:
    return list(expit(scores(rng, images, share, shift)).tolist())


def calibrated(rng: np.random.Generator, normal: int = 400, affected: int = 400, **changes: Any) -> Calibration:
    """A calibration that keeps the scores of as many images."""
    classes = {"normal": (normal, NORMAL), "affected": (affected, AFFECTED)}
    levels = np.linspace(0, 1, 101)
    kept = {name: np.quantile(rng.normal(*law, n), levels).tolist() for name, (n, law) in classes.items()}
    data = CalibrationData(name="site", split="dev", images=normal + affected, affected=affected)
    return a_calibration(**{"prevalence": 0.1, "data": data, "scores": ScoreQuantiles.model_validate(kept), **changes})
