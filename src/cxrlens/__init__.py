"""Explainable quality control of chest radiographs.

The names below are the public surface; they are imported on first use, so that ``import cxrlens`` is cheap.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cxrlens.evaluation.pointing_game import PointingResult, pointing_game
    from cxrlens.inspection.quality_model import QualityModel, load
    from cxrlens.inspection.result import Check
    from cxrlens.saliency.explain import explain

__version__ = version("cxrlens")

__all__ = ["Check", "PointingResult", "QualityModel", "__version__", "explain", "load", "pointing_game"]

_HOMES = {
    "Check": "cxrlens.inspection.result",
    "PointingResult": "cxrlens.evaluation.pointing_game",
    "QualityModel": "cxrlens.inspection.quality_model",
    "explain": "cxrlens.saliency.explain",
    "load": "cxrlens.inspection.quality_model",
    "pointing_game": "cxrlens.evaluation.pointing_game",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cxrlens' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
