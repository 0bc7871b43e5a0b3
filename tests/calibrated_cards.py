"""A calibration for tests of models and of what they decide."""

from __future__ import annotations

from typing import Any

from cxrlens.models.calibration import Agreement, Calibration, CalibrationData, Estimate

ESTIMATE = Estimate(value=0.5, low=0.25, high=0.75)


def a_calibration(**changes: Any) -> Calibration:
    values: dict[str, Any] = {
        "temperature": 2.0,
        "source_share": 0.5,
        "prevalence": 0.1,
        "review_threshold": 0.05,
        "retake_target": "specificity of at least 0.95",
        "review_target": "sensitivity of at least 0.95",
        "threshold_interval": ESTIMATE,
        "review_interval": Estimate(value=0.05, low=None, high=None),
        "data": CalibrationData(name="site", split="dev", images=20, affected=8),
        "auc": ESTIMATE,
        "before": Agreement(nll=0.7, brier=0.2, ece=0.1, mean_probability=0.6),
        "after": Agreement(nll=0.5, brier=0.15, ece=0.05, mean_probability=0.4),
        "expected": {"ppv": ESTIMATE},
        "apparent": {"ppv": ESTIMATE},
        "folds": 8,
        "seed": 0,
        "remarks": ("A remark.",),
        "source_sha256": "0" * 64,
    }
    return Calibration.model_validate({**values, **changes})
