"""Whether a picture shows a whole chest that stands upright, as far as it tells when seen coarsely.

A distance from upright radiographs alone has to leave room for radiographs of other places. This judge was also shown
what they look like when they are turned or cut, so it need not: see docs/methods.md.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

Floats: TypeAlias = npt.NDArray[np.float64]

TURNS: Final = ("upright", "anticlockwise", "upside_down", "clockwise")
"""How a chest may be turned, the n-th by n quarter turns anticlockwise, as those of ``np.rot90``; mirrored or not."""

KINDS: Final = (*TURNS, "part")
"""What a picture may be; a part is a corner, an edge or the middle of a chest."""

THUMBNAIL = 64
"""Rows, and columns, of what the judge looks at."""

_CELLS = 8
_EDGE_CELLS = 4
_LEAST_CONTRAST = 1e-2
_LEAST_EDGE = 1e-3

FRAMING_FEATURES = _CELLS**2 + 2 * _EDGE_CELLS**2


def thumbnail(grey: npt.NDArray[np.floating]) -> Floats:
    """An image [h, w] as means of `THUMBNAIL` x `THUMBNAIL` cells, whatever its shape."""
    return _cells(grey, THUMBNAIL)


def thumbnail_features(small: Floats) -> Floats:
    """Of thumbnails, or parts of them, [..., h, w] -> [..., `FRAMING_FEATURES`].

    Means of 8 x 8 cells, less their mean and by their deviation; and in 4 x 4 cells the logarithms of the mean steps
    from column to column, then of those from row to row, less the mean of both. So brightness and contrast do not
    count.
    """
    means = _flat(_cells(small, _CELLS))
    steps = [_flat(_cells(np.abs(np.diff(small, axis=axis)), _EDGE_CELLS)) for axis in (-1, -2)]
    edges = np.log(np.concatenate(steps, axis=-1) + _LEAST_EDGE)
    layout = _centred(means) / (means.std(-1, keepdims=True) + _LEAST_CONTRAST)
    return np.concatenate([layout, _centred(edges)], axis=-1)


def _flat(cells: Floats) -> Floats:
    return cells.reshape(*cells.shape[:-2], -1)


def _centred(numbers: Floats) -> Floats:
    return np.asarray(numbers - numbers.mean(-1, keepdims=True))


def framing_features(grey: npt.NDArray[np.floating]) -> Floats:
    """Those of an image's thumbnail."""
    return thumbnail_features(thumbnail(grey))


def _cells(grey: npt.NDArray[np.floating], count: int) -> Floats:
    """Means of count x count cells; a cell takes in each pixel of which a part lies in it."""
    height, width = grey.shape[-2:]
    return np.asarray(_averages(height, count) @ grey @ _averages(width, count).T)


@lru_cache(maxsize=64)
def _averages(size: int, count: int) -> Floats:
    found = np.zeros((count, size))
    for cell in range(count):
        first, end = cell * size // count, -(-(cell + 1) * size // count)
        found[cell, first:end] = 1 / (end - first)
    return found


_Numbers: TypeAlias = tuple[float, ...]


class Framing(BaseModel):
    """A multinomial logistic regression of `KINDS` on `framing_features`.

    Attributes:
        weights: a row of numbers for each kind.
        intercepts: one number a kind.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    weights: tuple[_Numbers, ...]
    intercepts: _Numbers

    @model_validator(mode="after")
    def _fits_the_features(self) -> Framing:
        if len(self.intercepts) != len(KINDS) or [len(row) for row in self.weights] != [FRAMING_FEATURES] * len(KINDS):
            raise ValueError(
                f"the framing should be {len(KINDS)} intercepts and as many rows of {FRAMING_FEATURES} numbers"
            )
        return self

    def of(self, features: Floats) -> Floats:
        """Features [..., d] -> -log P(upright), in nats: [...]; log 2 where upright is as likely as all else."""
        scores = self._scores(features)
        others = np.logaddexp.reduce(scores[..., 1:], axis=-1) - scores[..., 0]
        return np.asarray(np.logaddexp(0, others))

    def likeliest(self, features: Floats) -> str:
        """Of features [d], the likeliest of `KINDS`."""
        return KINDS[int(self._scores(features).argmax())]

    def _scores(self, features: Floats) -> Floats:
        return np.asarray(features @ np.array(self.weights).T + np.array(self.intercepts))


class LimitedFraming(Framing):
    """A judge with a limit, beyond which an image is refused."""

    limit: float = Field(gt=0)
