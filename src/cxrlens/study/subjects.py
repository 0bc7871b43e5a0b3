"""The networks of a study: trained, with fully random weights, or with foreign weights under a random head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from cxrlens.errors import UsageError
from cxrlens.files import sha256_of
from cxrlens.inputs.dataset.layouts import AFFECTED, Item
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.quality_model import QualityModel, load
from cxrlens.models.card import ModelCard
from cxrlens.models.location import model_path
from cxrlens.models.model_file import load_model
from cxrlens.models.precision import Precision
from cxrlens.models.pretrained import pretrained_normalisation
from cxrlens.models.registry import build_network, find_architecture
from cxrlens.saliency.explain import Row, RowMaps, explain_rows_in_turn
from cxrlens.saliency.fusion import Fusion
from cxrlens.study.plan import StudyPlan, digest, trained_id

Weights: TypeAlias = Literal["trained", "random", "random_head"]

WEIGHTS_TITLES: Mapping[Weights, str] = {
    "trained": "trained",
    "random": "fully random",
    "random_head": "random head",
}


@dataclass(frozen=True)
class Subject:
    """One network.

    Attributes:
        architecture: a name of the registry.
        weights: where they come from.
        seed: which of the group's networks this is, from 0.
        source: the model file, or the weights under a random head.
        preprocessing: of its images.
        id: names it in the records; another file or seed has another id.
    """

    architecture: str
    weights: Weights
    seed: int
    source: str
    preprocessing: Preprocessing
    id: str

    @property
    def title(self) -> str:
        return f"{self.architecture}, {WEIGHTS_TITLES[self.weights]}, {self.seed}"

    def load(self, device: str, precision: Precision) -> QualityModel:
        """The network, the same each time."""
        if self.weights == "trained":
            return load(Path(self.source), device=device, precision=precision)
        with isolate_rng():
            torch.manual_seed(self.seed)
            network = build_network(self.architecture, weights=self.source, size=_size(self.preprocessing))
        card = ModelCard(architecture=self.architecture, preprocessing=self.preprocessing)
        return QualityModel(network, card, torch.device(device), precision=precision)


class Models:
    """Networks, loaded on first use."""

    def __init__(self, device: str, precision: Precision) -> None:
        self.device = device
        self._precision = precision
        self._models: dict[str, QualityModel] = {}

    def __getitem__(self, subject: Subject) -> QualityModel:
        if subject.id not in self._models:
            self._models[subject.id] = self._load(subject)
        return self._models[subject.id]

    def _load(self, subject: Subject) -> QualityModel:
        return subject.load(self.device, self._precision)


def explained_classes(plan: StudyPlan, items: Sequence[Item]) -> str | Tensor:
    """The target of `cxrlens.explain` that the plan names."""
    if plan.target != "true":
        return plan.target
    return torch.tensor([AFFECTED if item.label is None else item.label for item in items])


def explained(plan: StudyPlan, model: QualityModel, grey: Tensor, rows: Sequence[Row], target: str | Tensor) -> RowMaps:
    """The rows' maps of grey images [N, 1, h, w], made as the plan says."""
    return next(explained_in_turn(plan, model, grey, [(plan.fusion, rows)], target))


def explained_in_turn(
    plan: StudyPlan,
    model: QualityModel,
    grey: Tensor,
    wanted: Sequence[tuple[Fusion, Sequence[Row]]],
    target: str | Tensor,
) -> Iterator[RowMaps]:
    """The maps of grey images [N, 1, h, w] for the rows of each fusion, from the same passes."""
    images = model.preprocessing.normalized(grey.to(model.device))
    return explain_rows_in_turn(model.network, images, wanted, target=target, seed=plan.seed)


def subjects_of(subjects: Sequence[Subject], preprocessing: Preprocessing) -> list[Subject]:
    """The networks that see images of one kind."""
    return [subject for subject in subjects if subject.preprocessing == preprocessing]


def pairs_of(subjects: Sequence[Subject]) -> list[tuple[Subject, Subject]]:
    """The pairs of trained networks whose maps are compared: all that see images of one size."""
    trained = [subject for subject in subjects if subject.weights == "trained"]
    return [
        (first, second)
        for place, first in enumerate(trained)
        for second in trained[place + 1 :]
        if first.preprocessing == second.preprocessing
    ]


def pair_id(pair: tuple[Subject, Subject]) -> str:
    """Names two networks in the records."""
    return f"{pair[0].id}-{pair[1].id}"


def find_subjects(plan: StudyPlan, models: Mapping[str, Sequence[Path]]) -> list[Subject]:
    """All networks of the plan, the trained ones of ``models`` (by architecture) first.

    Raises:
        UsageError: when a model cannot be read or is of another architecture, or foreign weights are not at hand.
    """
    found: list[Subject] = []
    for architecture in plan.architectures:
        find_architecture(architecture)
        trained = [_trained(architecture, seed, path) for seed, path in enumerate(models.get(architecture, ()))]
        found += trained
        given = trained[0].preprocessing if trained else None
        for seed in plan.random.seeds:
            chosen = given or plan.random.preprocessing()
            id_ = digest("random", architecture, seed, chosen.model_dump_json())
            found.append(Subject(architecture, "random", seed, "none", chosen, id_))
        weights = plan.random_head.weights
        if plan.random_head.seeds:
            chosen = given or _of_weights(plan.random_head.preprocessing(), architecture, weights)
            # A download that fails does so before the work.
            build_network(architecture, weights=weights, size=_size(chosen))
        for seed in plan.random_head.seeds:
            id_ = digest("head", architecture, seed, weights, chosen.model_dump_json())
            found.append(Subject(architecture, "random_head", seed, weights, chosen, id_))
    if not found:
        raise UsageError(
            "the plan names no network: give trained models with --model, a training, or seeds of random weights"
        )
    return found


def _size(preprocessing: Preprocessing) -> tuple[int, int]:
    return preprocessing.height, preprocessing.width


def _of_weights(preprocessing: Preprocessing, architecture: str, weights: str) -> Preprocessing:
    """With the mean and the deviation of the images that the weights are for."""
    found = pretrained_normalisation(weights, find_architecture(architecture))
    return preprocessing.model_copy(update={"mean": found.mean, "std": found.std})


def _trained(architecture: str, seed: int, path: Path) -> Subject:
    file = model_path(path)
    _, card = load_model(path)
    if card.architecture != architecture:
        raise UsageError(f"{path}: is a {card.architecture}, the plan lists it under {architecture}; list it there")
    content = sha256_of(file)
    return Subject(architecture, "trained", seed, str(path), card.preprocessing, trained_id(content))
