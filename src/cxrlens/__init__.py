"""Explainable quality control of chest radiographs.

The names below are the public surface; they are imported on first use, so that ``import cxrlens`` is cheap.
`cxrlens.api` has all of them, and two more whose names rooms of this package have: `cxrlens.api.study` and
`cxrlens.api.export`.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cxrlens.api.analysing import analyse
    from cxrlens.api.calibrating import calibrate
    from cxrlens.api.comparing import compare
    from cxrlens.api.explaining import explain_images
    from cxrlens.api.pointing import play_on_image, play_pointing_game
    from cxrlens.api.screening import screen
    from cxrlens.api.testing import test
    from cxrlens.api.training import train
    from cxrlens.evaluation.pointing_game import PointingResult, pointing_game
    from cxrlens.inspection.quality_model import QualityModel, load
    from cxrlens.inspection.result import Check
    from cxrlens.saliency.explain import explain

__version__ = version("cxrlens")

__all__ = [
    "Check",
    "PointingResult",
    "QualityModel",
    "__version__",
    "analyse",
    "calibrate",
    "compare",
    "explain",
    "explain_images",
    "load",
    "play_on_image",
    "play_pointing_game",
    "pointing_game",
    "screen",
    "test",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'cxrlens' has no attribute {name!r}")
    return getattr(importlib.import_module("cxrlens.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
