"""What `QualityModel.check` finds in one radiograph."""

from __future__ import annotations

from dataclasses import dataclass

from cxrlens.inputs.readers import Pixels
from cxrlens.models.calibration import Triage


@dataclass(frozen=True)
class Check:
    """What a model says of one radiograph.

    Attributes:
        probability: of *affected*, in [0, 1]; see `QualityModel.probability_of`.
        decision: "affected" or "normal".
        maps: per method id, float32 [height, width] in [0, 1], in pixels of the radiograph.
        peak: (row, column) of the first method's highest point, in pixels of the radiograph; None if its map is flat.
        flat: ids of the methods whose map is constant on the radiograph, hence all zero.
        triage: "pass", "review" or "retake" by a calibrated model ("retake" is "affected"); None by another.
    """

    probability: float
    decision: str
    maps: dict[str, Pixels]
    peak: tuple[int, int] | None
    flat: tuple[str, ...]
    triage: Triage | None = None
