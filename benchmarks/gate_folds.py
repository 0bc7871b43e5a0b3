"""What is refused of patients that a distance does not know: ``python -m benchmarks.gate_folds DATA --patients FILE``.

Each radiograph of the data set, and what becomes of it when it is spoilt or seen otherwise, is judged by a distance
that knows nothing of its patient: of five parts of the patients three are fitted to, one has the limits chosen on it,
one is judged. The CSV file names the ``patient_group`` of each ``image_name``. Images are reduced to the `SIDE` of
`benchmarks.gate` first. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
from sklearn.model_selection import GroupKFold

from benchmarks.gate import FURTHER, OTHER_VIEWS, SIDE, SPOILT
from benchmarks.page import table
from cxrlens.evaluation.proportions import clopper_pearson_interval
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import Pixels, read
from cxrlens.inputs.resampling import resample
from cxrlens.inspection.distance_fitting import FeatureTable, fitted_distance
from cxrlens.models.distance import TrainingDistance

FOLDS = 5
WAYS = {"as it is": lambda pixels: pixels, **OTHER_VIEWS, **SPOILT, **FURTHER}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--patients", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", choices=list(WAYS), default=list(WAYS))
    options = parser.parse_args()
    preprocessing = Preprocessing(height=SIDE // 2, width=SIDE // 2)
    with options.patients.open(newline="", encoding="utf-8") as rows_:
        groups = {row["image_name"]: row["patient_group"] for row in csv.DictReader(rows_)}
    files = [file for file in sorted(options.data.rglob("*.jpg")) if file.name in groups]
    images = [resample(read(file, at_least=(SIDE, SIDE)).pixels, SIDE, SIDE) for file in files]
    patients = [groups[file.name] for file in files]
    folds = [judged for _, judged in GroupKFold(FOLDS, shuffle=True, random_state=0).split(files, groups=patients)]
    refused: dict[str, list[bool]] = defaultdict(list)
    for number, judged in enumerate(folds):
        limits = folds[(number + 1) % FOLDS]
        others = np.setdiff1d(np.arange(len(files)), np.concatenate([judged, limits]))
        tables = [_table([images[index] for index in chosen], preprocessing) for chosen in (others, limits)]
        distance = fitted_distance(tables[0], tables[1], options.data.name)
        assert distance is not None
        for name in options.kinds:
            refused[name] += [_is_refused(distance, WAYS[name](images[index]), preprocessing) for index in judged]
    rows = []
    for name, found in refused.items():
        interval = clopper_pearson_interval(sum(found), len(found))
        share = f"{np.mean(found):.3f} ({interval.low:.3f} to {interval.high:.3f})"
        rows.append([name, len(found), sum(found), share])
    print(f"{len(set(patients))} patients, {len(files)} images")  # noqa: T201
    print(table(["kind", "images", "refused", "share refused"], rows))  # noqa: T201


def _table(images: list[Pixels], preprocessing: Preprocessing) -> FeatureTable:
    return FeatureTable(preprocessing, (preprocessing.resized(image)[0] for image in images))


def _is_refused(distance: TrainingDistance, pixels: Pixels, preprocessing: Preprocessing) -> bool:
    return distance.of(preprocessing.shown(preprocessing.resized(pixels)[0])).value > 1


if __name__ == "__main__":
    main()
