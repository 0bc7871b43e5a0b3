"""Pictures that a model knows, and its distance from them, for tests of what it refuses."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.distance_fitting import FeatureTable, fitted_distance
from cxrlens.models.distance import TrainingDistance


def known(count: int, size: tuple[int, int], seed: int) -> npt.NDArray[np.float32]:
    """Two dark fields in a bright frame, more or less off the middle, with some noise: [count, h, w] in [0, 1]."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    found = []
    for down, right, depth, noise in random.uniform((-0.1, -0.1, 0.3, 0.01), (0.1, 0.1, 0.6, 0.03), (count, 4)):
        fields = [
            np.exp(-(((rows - down + 0.2) / 0.5) ** 2 + ((columns - right - x) / 0.3) ** 2)) for x in (-0.45, 0.45)
        ]
        found.append(0.8 - depth * np.maximum(*fields) + 0.15 * rows + noise * random.normal(size=size))
    return np.clip(found, 0, 1).astype(np.float32)


@cache
def a_distance(height: int = 64, width: int = 48) -> TrainingDistance:
    """From 60 such pictures of this size, its limits chosen on 40 others."""
    tables = [
        FeatureTable(Preprocessing(height=height, width=width), known(count, (height, width), seed))
        for count, seed in ((60, 1), (40, 2))
    ]
    distance = fitted_distance(tables[0], tables[1], "known")
    assert distance is not None
    return distance
