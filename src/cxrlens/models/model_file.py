"""The model file: weights as safetensors with a card (architecture, preprocessing, scores) in its metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from cxrlens.data.preprocessing import Preprocessing
from cxrlens.errors import UsageError
from cxrlens.files import replacing
from cxrlens.models.calibration import Calibration, Triage
from cxrlens.models.registry import build_network, find_architecture

_CARD_KEY = "cxrlens"


class ModelCard(BaseModel):
    """What a model file says of itself; everything needed to use the weights rightly.

    Attributes:
        format: version of this card's layout. Fields that a version of cxrlens does not know are refused by it, and
            written only where they are used; the number rises when a known field changes its meaning.
        architecture: a name of the registry.
        classes: class name of each logit.
        preprocessing: what is done to a radiograph before the network sees it.
        threshold: probability of *affected* (calibrated, where there is a calibration) from which on an image is called
            affected.
        training: recipe, data and seed it was trained with.
        dev_scores: scores on the dev images when the model was saved.
        calibration: how probabilities are corrected, and what was found of the thresholds; None = not calibrated.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    architecture: str
    classes: tuple[str, ...] = ("normal", "affected")
    preprocessing: Preprocessing
    threshold: float = Field(default=0.5, ge=0, le=1)
    training: dict[str, Any] = Field(default_factory=dict)
    dev_scores: dict[str, float | None] = Field(default_factory=dict)
    calibration: Calibration | None = None
    cxrlens_version: str = ""
    created: str = ""

    @model_validator(mode="after")
    def _thresholds_are_in_order(self) -> ModelCard:
        if self.calibration is not None and self.calibration.review_threshold > self.threshold:
            raise ValueError("calibration.review_threshold should not lie above threshold")
        return self

    def decision(self, probability: float) -> Literal["normal", "affected"]:
        """ "affected" from the threshold on, else "normal"."""
        return "affected" if probability >= self.threshold else "normal"

    def triage(self, probability: float) -> Triage | None:
        """ "retake" from the threshold on, "review" from the calibration's on, else "pass"; None without one."""
        if self.calibration is None:
            return None
        if probability >= self.threshold:
            return "retake"
        return "review" if probability >= self.calibration.review_threshold else "pass"


def save_model(path: Path, network: nn.Module, card: ModelCard) -> None:
    """Write a model file under a temporary name, then rename it."""
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    unused = {"calibration"} if card.calibration is None else None
    with replacing(path) as partial:
        # Not safetensors' save_file: it makes a file that only its owner may read, whatever the umask says.
        partial.write_bytes(save(state, metadata={_CARD_KEY: card.model_dump_json(exclude=unused)}))


def model_path(path: Path) -> Path:
    """The model file itself, or that of a run directory.

    Raises:
        UsageError: when there is none.
    """
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        raise UsageError(
            f"{path}: no such model file; 'cxrlens train' writes one as model.safetensors in its run folder"
        )
    return path


def load_model(path: Path) -> tuple[nn.Module, ModelCard]:
    """Read a model file; the network is in evaluation mode on the CPU.

    Raises:
        UsageError: when the file is missing, cut short, of another program, or does not fit its architecture.
    """
    path = model_path(path)
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            state: dict[str, torch.Tensor] = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise UsageError(f"{path}: is damaged or no model file ({error}); copy it again or train anew") from error
    if _CARD_KEY not in metadata:
        raise UsageError(
            f"{path}: holds weights but no cxrlens model card; as a start for training give it to --weights"
        )
    try:
        card = ModelCard.model_validate_json(metadata[_CARD_KEY])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{path}: its model card cannot be read ({where}: {first['msg']}); update cxrlens?") from error
    try:
        find_architecture(card.architecture)
    except UsageError as error:
        raise UsageError(f"{path}: {error}; update cxrlens?") from error
    with torch.device("meta"):  # no random weights are drawn, only to be replaced
        network = build_network(card.architecture, classes=len(card.classes))
    own = network.state_dict()
    unfit = [key for key in own if key not in state or state[key].shape != own[key].shape]
    unfit += [key for key in state if key not in own]
    if unfit:
        raise UsageError(
            f"{path}: its weights are not those of the {card.architecture} that it names ({len(unfit)} tensors "
            f"differ, first: {unfit[0]}); the file is not usable"
        )
    network.load_state_dict({key: state[key].to(own[key].dtype, copy=True) for key in own}, assign=True)
    return network.eval(), card
