"""What the commands do, as functions: each takes paths, text and numbers, and gives its result as a dataclass.

The names are imported on first use. docs/api.md shows them in use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cxrlens.analysis.run import AnalysisResult
    from cxrlens.api.analysing import analyse
    from cxrlens.api.calibrating import calibrate
    from cxrlens.api.comparing import compare
    from cxrlens.api.explaining import explain_images
    from cxrlens.api.exporting import export
    from cxrlens.api.pointing import play_on_image, play_pointing_game
    from cxrlens.api.screening import screen
    from cxrlens.api.studying import study
    from cxrlens.api.testing import test
    from cxrlens.api.training import train
    from cxrlens.calibration.run import CalibrateResult
    from cxrlens.comparison.run import CompareResult
    from cxrlens.evaluation.pointing_game import PointingResult, pointing_game
    from cxrlens.explanation.run import ExplainResult
    from cxrlens.export.run import ExportResult
    from cxrlens.inspection.quality_model import QualityModel, load
    from cxrlens.inspection.result import Check
    from cxrlens.pointing.run import PointingGameResult, SingleResult
    from cxrlens.saliency.explain import explain
    from cxrlens.screening.run import ScreenResult
    from cxrlens.study.report import StudyResult
    from cxrlens.testing.run import ScoreResult
    from cxrlens.training.fitting import TrainingResult

__all__ = [
    "AnalysisResult",
    "CalibrateResult",
    "Check",
    "CompareResult",
    "ExplainResult",
    "ExportResult",
    "PointingGameResult",
    "PointingResult",
    "QualityModel",
    "ScoreResult",
    "ScreenResult",
    "SingleResult",
    "StudyResult",
    "TrainingResult",
    "analyse",
    "calibrate",
    "compare",
    "explain",
    "explain_images",
    "export",
    "load",
    "play_on_image",
    "play_pointing_game",
    "pointing_game",
    "screen",
    "study",
    "test",
    "train",
]

HOMES = {
    "AnalysisResult": "cxrlens.analysis.run",
    "CalibrateResult": "cxrlens.calibration.run",
    "Check": "cxrlens.inspection.result",
    "CompareResult": "cxrlens.comparison.run",
    "ExplainResult": "cxrlens.explanation.run",
    "ExportResult": "cxrlens.export.run",
    "PointingGameResult": "cxrlens.pointing.run",
    "PointingResult": "cxrlens.evaluation.pointing_game",
    "QualityModel": "cxrlens.inspection.quality_model",
    "ScoreResult": "cxrlens.testing.run",
    "ScreenResult": "cxrlens.screening.run",
    "SingleResult": "cxrlens.pointing.run",
    "StudyResult": "cxrlens.study.report",
    "TrainingResult": "cxrlens.training.fitting",
    "analyse": "cxrlens.api.analysing",
    "calibrate": "cxrlens.api.calibrating",
    "compare": "cxrlens.api.comparing",
    "explain": "cxrlens.saliency.explain",
    "explain_images": "cxrlens.api.explaining",
    "export": "cxrlens.api.exporting",
    "load": "cxrlens.inspection.quality_model",
    "play_on_image": "cxrlens.api.pointing",
    "play_pointing_game": "cxrlens.api.pointing",
    "pointing_game": "cxrlens.evaluation.pointing_game",
    "screen": "cxrlens.api.screening",
    "study": "cxrlens.api.studying",
    "test": "cxrlens.api.testing",
    "train": "cxrlens.api.training",
}
"""Where each name is defined."""


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'cxrlens.api' has no attribute {name!r}")
    return getattr(importlib.import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
