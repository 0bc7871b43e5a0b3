"""The experiments of a study, in the order of its report; one file each."""

from __future__ import annotations

from cxrlens.study.experiments import (
    architectures,
    classification,
    comparisons,
    consistency,
    detection,
    faithfulness,
    froc,
    fusions,
    kinds,
    localisation,
    perturbation,
    pointing_game,
    published,
    randomisation,
    ranking,
    single_layers,
    smoothing,
    subgroups,
    tolerances,
    weights,
)
from cxrlens.study.experiments.base import Experiment

EXPERIMENTS: tuple[Experiment, ...] = (
    classification.EXPERIMENT,
    pointing_game.EXPERIMENT,
    published.EXPERIMENT,
    smoothing.EXPERIMENT,
    weights.EXPERIMENT,
    architectures.EXPERIMENT,
    tolerances.EXPERIMENT,
    localisation.EXPERIMENT,
    froc.EXPERIMENT,
    fusions.EXPERIMENT,
    subgroups.EXPERIMENT,
    kinds.EXPERIMENT,
    detection.EXPERIMENT,
    single_layers.EXPERIMENT,
    comparisons.EXPERIMENT,
    ranking.EXPERIMENT,
    consistency.EXPERIMENT,
    randomisation.EXPERIMENT,
    perturbation.EXPERIMENT,
    faithfulness.EXPERIMENT,
)
