"""Fits a `Framing` to radiographs that stand upright, and to what they look like turned and cut."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cxrlens.models.framing import KINDS, TURNS, Floats, Framing, thumbnail_features

_MARGINS = ((0.08,) * 4, (0.15,) * 4, (0.1, 0, 0, 0), (0, 0.2, 0, 0), (0, 0, 0.15, 0), (0, 0, 0, 0.15))
"""Shares that are cut off above, below, to the left and to the right."""

_BAR = 0.15
_PARTS = (0.25, 0.4)
_STRENGTH = 1000.0
_DIGITS = 6
_STEPS = 1000
_MOST = 600
"""Images that are fitted to; more of them change little, and take long."""


def fitted_framing(thumbnails: Sequence[Floats]) -> Framing:
    """To the thumbnails of radiographs that stand upright.

    Each kind weighs the same. The mean loss weighs `_STRENGTH` times as much as the penalty, of however many images.
    """
    few = np.stack(thumbnails[:: -(-len(thumbnails) // _MOST)])
    made = [(kind, thumbnail_features(pictures)) for kind, pictures in made_up(few)]
    features = np.concatenate([found for _, found in made])
    kinds = np.repeat([KINDS.index(kind) for kind, _ in made], len(few))
    scaler = StandardScaler().fit(features)
    fit = LogisticRegression(C=_STRENGTH / len(kinds), class_weight="balanced", max_iter=_STEPS)
    fit.fit(scaler.transform(features), kinds)
    weights = fit.coef_ / scaler.scale_
    intercepts = fit.intercept_ - weights @ scaler.mean_
    return Framing(weights=tuple(map(_rounded, weights)), intercepts=_rounded(intercepts))


def made_up(small: Floats) -> Iterator[tuple[str, Floats]]:
    """What upright radiographs [..., h, w] become, and which of `KINDS` that is.

    It and its mirror image, as they are and with other margins, in each of four turns; and parts of it.
    """
    for picture in _framed_otherwise(small):
        for turns, kind in enumerate(TURNS):
            yield kind, np.rot90(picture, turns, axes=(-2, -1))
            yield kind, np.rot90(picture[..., ::-1], turns, axes=(-2, -1))
    for part in _parts(small):
        yield "part", part


def _framed_otherwise(small: Floats) -> Iterator[Floats]:
    """As another hand would have framed it: closer, off the middle, between black bars."""
    height, width = small.shape[-2:]
    yield small
    for top, bottom, left, right in _MARGINS:
        rows = slice(round(top * height), height - round(bottom * height))
        yield small[..., rows, round(left * width) : width - round(right * width)]
    others = ((0, 0),) * (small.ndim - 2)
    yield np.pad(small, (*others, (0, 0), (round(_BAR * width),) * 2))
    yield np.pad(small, (*others, (round(_BAR * height),) * 2, (0, 0)))


def _parts(small: Floats) -> Iterator[Floats]:
    """Corners, middles of edges, and the middle."""
    for share in _PARTS:
        height, width = (int(share * side) for side in small.shape[-2:])
        starts = [
            [0, (whole - part) // 2, whole - part]
            for whole, part in zip(small.shape[-2:], (height, width), strict=True)
        ]
        for top, left in itertools.product(*starts):
            yield small[..., top : top + height, left : left + width]


def _rounded(numbers: Floats) -> tuple[float, ...]:
    """To as many digits as matter; the limit is chosen with these."""
    return tuple(float(f"{number:.{_DIGITS}g}") for number in numbers)
