"""The two result files of the Object-CXR challenge: how likely an image is affected, and where its objects are.

One line per image, also where nothing is found. The challenge's programs split lines at every comma and know no
quotes, and find images by the very name in the ground truth's CSV. Its text calls the first column `image_path` and
its later programs, like the data's own CSV, `image_name`; they skip the header.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from cxrlens.errors import UsageError
from cxrlens.files import write_csv

FoundPoint: TypeAlias = tuple[float, float, float]  # (confidence, x, y)

_COLUMNS = ("image_name", "prediction")


def write_classification(path: Path, rows: Iterable[tuple[str, float]]) -> None:
    """Write (image name, probability of affected) pairs: ``08001.jpg,0.93``.

    Raises:
        UsageError: when a name cannot stand in the file or comes twice.
        ValueError: when a probability does not lie in [0, 1].
    """
    _write(path, ((name, _confidence(probability)) for name, probability in rows))


def write_localization(path: Path, rows: Iterable[tuple[str, Iterable[FoundPoint]]]) -> None:
    """Write (image name, points) pairs: ``08001.jpg,0.9 1000 500;0.8 200.5 400``; no point leaves the field empty.

    Args:
        rows: the points of an image as (confidence, x, y), x and y in pixels of the stored image.

    Raises:
        UsageError: when a name cannot stand in the file or comes twice.
        ValueError: when a confidence does not lie in [0, 1].
    """
    _write(path, ((name, ";".join(map(_point, points))) for name, points in rows))


def _write(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    predictions: dict[str, str] = {}
    for name, prediction in rows:
        if not name or any(sign in name for sign in ',"\r\n'):
            raise UsageError(f"{name!r}: the challenge's files cannot hold this image name; rename the image")
        if name in predictions:
            raise UsageError(f"{name}: two images of one name cannot be told apart in {path.name}; rename one")
        predictions[name] = prediction
    cells = (dict(zip(_COLUMNS, row, strict=True)) for row in predictions.items())
    write_csv(path, _COLUMNS, cells, paths=("image_name",))


def _point(point: FoundPoint) -> str:
    confidence, x, y = point
    return f"{_confidence(confidence)} {x:.6g} {y:.6g}"


def _confidence(value: float) -> str:
    """Nine digits, so that no two float32 numbers become one."""
    if not 0 <= value <= 1:
        raise ValueError(f"a confidence lies in [0, 1], not at {value}")
    return f"{value:.9g}"
