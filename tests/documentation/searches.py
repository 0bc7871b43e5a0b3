"""What docs/training.md uses of Optuna and of Ray Tune, for one training each: what they do is theirs to test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any


class _Trial:
    """Suggests the lowest of all values."""

    number = 0

    def __init__(self) -> None:
        self.params: dict[str, float] = {}
        self.reported: list[tuple[float, int]] = []

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        self.params[name] = low
        return low

    def report(self, value: float, step: int) -> None:
        self.reported.append((value, step))

    def should_prune(self) -> bool:
        return False


class _Study:
    def optimize(self, objective: Callable[[_Trial], float], *, n_trials: int) -> None:
        trial = _Trial()
        value = objective(trial)
        assert value == max(reported for reported, _ in trial.reported)
        self.best_params = trial.params


def optuna() -> ModuleType:
    made: Any = ModuleType("optuna")
    made.TrialPruned = type("TrialPruned", (Exception,), {})
    made.create_study = lambda *, direction, storage, study_name, load_if_exists: _Study()
    return made


class _Tuner:
    def __init__(
        self,
        trainable: Callable[[Mapping[str, Any]], Mapping[str, float]],
        *,
        param_space: Mapping[str, Any],
        tune_config: SimpleNamespace,
    ) -> None:
        self._trainable = trainable
        self._values = param_space
        self._metric = tune_config.metric

    def fit(self) -> Any:
        assert self._trainable(self._values).keys() == {self._metric}
        return SimpleNamespace(get_best_result=lambda: SimpleNamespace(config=self._values))


def ray() -> ModuleType:
    """Whose ``tune`` takes the first of all values."""
    made: Any = ModuleType("ray")
    made.tune = SimpleNamespace(
        with_resources=lambda trainable, resources: trainable,
        loguniform=lambda low, high: low,
        choice=lambda values: values[0],
        TuneConfig=SimpleNamespace,
        Tuner=_Tuner,
    )
    return made
