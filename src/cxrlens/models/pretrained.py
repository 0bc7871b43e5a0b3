"""Weights that a network begins with: what `weights` names, and how their images are to be normalised."""

from __future__ import annotations

import pickle
import sys
from contextlib import redirect_stdout
from pathlib import Path
from urllib.error import URLError

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torchvision import models as tv

from cxrlens.errors import UsageError
from cxrlens.models import timm_networks, torchvision_networks
from cxrlens.models.architecture import IMAGENET, NORMALISATION_KEY, Architecture, Normalisation, Size
from cxrlens.models.card import CARD_KEY, parse_card
from cxrlens.models.downloads import ADDRESSES, HUB, fetched_file, hub_file
from cxrlens.models.foreign_states import XRV_NORMALISATION, is_of_torchxrayvision
from cxrlens.models.named import is_name, named_model, near_names
from cxrlens.models.weights_file import read_checkpoint, read_weights, without_wrappers

NONE = "none"
IMAGENET_WEIGHTS = "imagenet"


def pretrained_state(weights: str, architecture: Architecture, size: Size | None) -> dict[str, Tensor]:
    """The state dict that ``weights`` names, as it is stored.

    Args:
        weights: "imagenet", "timm:NAME[.TAG]", "torchvision:NAME", "https://...#sha256=HEX",
            "hf:OWNER/NAME@COMMIT/FILE" or a path.
        architecture: of the network that they are for.
        size: (height, width) of its images.

    Raises:
        UsageError: when they cannot be had.
    """
    text = _named(weights, architecture)
    if text.startswith(timm_networks.PREFIX):
        name = text.removeprefix(timm_networks.PREFIX)
        if architecture.name.startswith(timm_networks.PREFIX) and not _is_of(name, architecture):
            raise UsageError(
                f"{text}: these weights are not of {architecture.name}; give `weights={architecture.name}`, or another "
                "architecture"
            )
        return timm_networks.timm_state(name, size)
    if text.startswith(torchvision_networks.PREFIX):
        named = torchvision_networks.torchvision_weights(text.removeprefix(torchvision_networks.PREFIX))
        return _downloaded(named, f"the weights {named}")
    if text == IMAGENET_WEIGHTS:
        assert architecture.weights is not None
        return _downloaded(architecture.weights, f"the ImageNet weights of {architecture.name}")
    return read_weights(_file(text))


def pretrained_normalisation(weights: str, architecture: Architecture) -> Normalisation:
    """How the images are normalised that the weights are for.

    Of a model file, and of a checkpoint of a training, that is what it says; of other files what is usual for the
    network, but for torchxrayvision's.

    Raises:
        UsageError: when there are no such weights, or a file cannot be read.
    """
    if weights == NONE:
        return IMAGENET
    text = _named(weights, architecture)
    if text.startswith(timm_networks.PREFIX):
        return timm_networks.timm_normalisation(text.removeprefix(timm_networks.PREFIX))
    if text.startswith(torchvision_networks.PREFIX):
        name = text.removeprefix(torchvision_networks.PREFIX)
        return torchvision_networks.weights_normalisation(torchvision_networks.torchvision_weights(name))
    if text == IMAGENET_WEIGHTS:
        return architecture.normalisation
    file = _file(text)
    of_card = _of_card(file)
    if of_card is not None:
        return of_card
    state, checkpoint = read_checkpoint(file)
    if NORMALISATION_KEY in checkpoint:  # of a training of this program
        said = checkpoint[NORMALISATION_KEY]
        return Normalisation(tuple(said["mean"]), tuple(said["std"]))
    state = without_wrappers(state, architecture.outline(2).state_dict())
    return XRV_NORMALISATION if is_of_torchxrayvision(state) else architecture.normalisation


def _named(weights: str, architecture: Architecture) -> str:
    """ "imagenet" by the name that the architecture has for it.

    Raises:
        UsageError: when it has none.
    """
    if weights != IMAGENET_WEIGHTS or architecture.weights is not None:
        return weights
    if not architecture.imagenet:
        raise UsageError(
            f"no ImageNet weights of {architecture.name} are known; give a file with `weights=PATH`, or `weights=none`"
        )
    return architecture.imagenet


def _is_of(weights: str, architecture: Architecture) -> bool:
    return weights.partition(".")[0] == architecture.name.removeprefix(timm_networks.PREFIX)


def _file(text: str) -> Path:
    """The file that weights are in: fetched, that of a kept model, or the one at a path.

    Raises:
        UsageError: when it cannot be had.
    """
    if text.startswith(ADDRESSES):
        return fetched_file(text)
    if text.startswith(HUB):
        return hub_file(text)
    scheme, mark, _ = text.partition("://")
    if mark:
        remedy = "give its path alone" if scheme.lower() == "file" else f"fetch it, or give {' or '.join(ADDRESSES)}"
        raise UsageError(f"{text}: weights are not fetched from {scheme}:// addresses; {remedy}")
    path = Path(text)
    named = named_model(path)
    if named == path and is_name(text) and not path.exists() and (near := near_names(text)):
        raise UsageError(
            f"{text}: no such weights file, and no model is kept under this name (did you mean "
            f"{' or '.join(repr(each) for each in near)}?); 'cxrlens model list' shows those that are"
        )
    return named


def _of_card(file: Path) -> Normalisation | None:
    """What a model file of this program says; None of any other file."""
    try:
        with safe_open(file, framework="pt") as stored:
            metadata = stored.metadata() or {}
    except (SafetensorError, OSError, ValueError):
        return None
    if CARD_KEY not in metadata:
        return None
    preprocessing = parse_card(metadata[CARD_KEY], str(file)).preprocessing
    return Normalisation(preprocessing.mean, preprocessing.std)


def _downloaded(weights: tv.WeightsEnum, title: str) -> dict[str, Tensor]:
    try:
        with redirect_stdout(sys.stderr):  # torch says there what it downloads; stdout is for results
            return dict(weights.get_state_dict(progress=False, check_hash=True, weights_only=True, map_location="cpu"))
    except (URLError, OSError, RuntimeError, pickle.UnpicklingError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise UsageError(
            f"{title} could not be downloaded ({error}); fetch {weights.url} on a machine with a network and put it "
            f"into {folder}, or give `weights=PATH` or `weights=none`"
        ) from error
