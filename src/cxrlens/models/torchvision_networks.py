"""torchvision's classification networks, and the weights that it names."""

from __future__ import annotations

import difflib
from functools import cache, partial
from typing import Any

import torchvision
from torch import nn
from torchvision import models as tv

from cxrlens.errors import UsageError
from cxrlens.models.architecture import Architecture, Normalisation, Size, with_calm_head

PREFIX = "torchvision:"

_OF_ONE_SIZE = {"vit_": "image_size", "maxvit_": "input_size"}
"""Networks that are built for one size of images, by how their names begin, and what their builders call it."""

_WITH_SIDE_HEADS = ("googlenet", "inception_v3")
"""Networks with further heads in training, which are left out, and that change the normalisation of their images."""


def torchvision_names() -> list[str]:
    """The classification networks of this torchvision."""
    return list(tv.list_models(module=tv))


@cache
def torchvision_architecture(name: str) -> Architecture:
    """One of torchvision's classification networks.

    Raises:
        UsageError: when there is none of that name; the near matches are listed.
    """
    known = torchvision_names()
    if name not in known:
        near = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=3, cutoff=0.5)
        meant = f"near matches: {', '.join(PREFIX + each for each in near)}" if near else "none is near"
        raise UsageError(
            f"torchvision {torchvision.__version__} has no classification network '{name}'; {meant} "
            "(list them with torchvision.models.list_models())"
        )
    option = next((option for begin, option in _OF_ONE_SIZE.items() if name.startswith(begin)), "")
    default: tv.WeightsEnum = tv.get_model_weights(name).DEFAULT
    (side,) = default.transforms().crop_size
    return Architecture(
        PREFIX + name,
        partial(_build, name),
        default,
        sized=partial(_build_sized, name, option) if option else None,
        image_size=(side, side),
        normalisation=weights_normalisation(default),
    )


def torchvision_weights(name: str) -> tv.WeightsEnum:
    """Weights by torchvision's name, such as ResNet34_Weights.IMAGENET1K_V1.

    Raises:
        UsageError: when there are none; the near matches are listed.
    """
    try:
        found = tv.get_weight(name)
    except (ValueError, KeyError, AttributeError) as error:
        known = [str(each) for network in torchvision_names() for each in tv.get_model_weights(network)]
        of_network = [str(each) for each in tv.get_model_weights(name)] if name in torchvision_names() else []
        near = of_network or difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        meant = f"near matches: {', '.join(PREFIX + each for each in near)}" if near else "none is near"
        raise UsageError(f"torchvision {torchvision.__version__} has no weights '{name}'; {meant}") from error
    assert isinstance(found, tv.WeightsEnum)
    return found


def weights_normalisation(weights: tv.WeightsEnum) -> Normalisation:
    """The mean and the deviation of the images that weights are for."""
    transform: Any = weights.transforms()
    return Normalisation(tuple(transform.mean), tuple(transform.std))


def _build(name: str, classes: int, **settings: Any) -> nn.Module:
    if name in _WITH_SIDE_HEADS:
        settings |= {"aux_logits": False, "transform_input": True, "init_weights": True}
    network: nn.Module = tv.get_model(name, weights=None, num_classes=classes, **settings)
    return with_calm_head(network, classes)


def _build_sized(name: str, option: str, classes: int, size: Size) -> nn.Module:
    if option == "image_size" and size[0] != size[1]:
        raise ValueError("it takes squares")
    return _build(name, classes, **{option: size[0] if option == "image_size" else size})
