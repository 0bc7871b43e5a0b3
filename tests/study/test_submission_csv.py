"""The challenge's result files, byte for byte, and read back the way the challenge's programs do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxrlens.errors import UsageError
from cxrlens.study.submission_csv import write_classification, write_localization


def test_the_classification_file(tmp_path: Path):
    path = tmp_path / "classification.csv"
    write_classification(path, [("08001.jpg", 0.9), ("08002.jpg", 0.0), ("08003.jpg", 1)])
    assert path.read_bytes() == b"image_name,prediction\n08001.jpg,0.9\n08002.jpg,0\n08003.jpg,1\n"


def test_the_localization_file(tmp_path: Path):
    path = tmp_path / "new" / "localization.csv"
    write_localization(path, [("a b.jpg", [(0.9, 1000, 500), (0.25, 200.5, 400)]), ("08002.jpg", [])])
    assert path.read_bytes() == b"image_name,prediction\na b.jpg,0.9 1000 500;0.25 200.5 400\n08002.jpg,\n"


def test_the_files_can_be_read_by_splitting_at_commas_semicolons_and_blanks(tmp_path: Path):
    rng = np.random.default_rng(0)
    points = {f"{i:05}.jpg": np.column_stack([rng.random(i % 3), 3000 * rng.random((i % 3, 2))]) for i in range(12)}
    path = tmp_path / "localization.csv"
    write_localization(path, ((name, map(tuple, some.tolist())) for name, some in points.items()))
    header, *lines = path.read_text().split("\n")
    assert header == "image_name,prediction"
    assert lines.pop() == ""
    for line, (name, expected) in zip(lines, points.items(), strict=True):
        read_name, prediction = line.split(",")
        assert read_name == name
        read = [list(map(float, point.split(" "))) for point in prediction.split(";") if prediction]
        assert np.reshape(read, (-1, 3)) == pytest.approx(expected, rel=1e-5)


def test_near_probabilities_stay_in_order(tmp_path: Path):
    path = tmp_path / "classification.csv"
    values = np.float32([1e-7, 0.5, np.nextafter(np.float32(0.5), np.float32(1)), 1 - 2.0**-24, 1])
    write_classification(path, [(f"{i}.png", float(value)) for i, value in enumerate(values)])
    read = [float(line.split(",")[1]) for line in path.read_text().splitlines()[1:]]
    assert np.float32(read).tolist() == values.tolist()


@pytest.mark.parametrize("names", [["a,b.jpg"], ['a"b.jpg'], ["a\nb.jpg"], [""], ["a.jpg", "a.jpg"]])
def test_names_that_the_format_cannot_hold_are_refused_and_nothing_is_written(tmp_path: Path, names: list[str]):
    path = tmp_path / "classification.csv"
    with pytest.raises(UsageError, match="rename"):
        write_classification(path, [(name, 0.5) for name in names])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
def test_what_is_no_confidence_is_refused(tmp_path: Path, value: float):
    with pytest.raises(ValueError, match="confidence"):
        write_classification(tmp_path / "classification.csv", [("a.jpg", value)])
    with pytest.raises(ValueError, match="confidence"):
        write_localization(tmp_path / "localization.csv", [("a.jpg", [(value, 1, 2)])])
    assert list(tmp_path.iterdir()) == []
