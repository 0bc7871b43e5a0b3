"""The networks of timm, and the weights that it names."""

from __future__ import annotations

import difflib
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from cxrlens.errors import UsageError
from cxrlens.models.architecture import Architecture, Normalisation, Size, with_calm_head

PREFIX = "timm:"


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise UsageError("'timm:...' needs the package timm; install it with: pip install 'cxrlens[timm]'") from error
    return timm


@cache
def timm_architecture(name: str) -> Architecture:
    """One of timm's networks.

    Raises:
        UsageError: when timm is not installed, or has none of that name; the near matches are listed.
    """
    timm = _timm()
    bare, _, tag = name.partition(".")
    known = timm.list_models()
    if tag and bare in known:
        raise UsageError(
            f"'{PREFIX}{name}' names weights of {PREFIX}{bare}; give {PREFIX}{bare} as the architecture and "
            f"`weights={PREFIX}{name}`"
        )
    if ":" in name or "/" in name or not timm.is_model(name):
        near = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=3, cutoff=0.5)
        meant = f"near matches: {', '.join(PREFIX + each for each in near)}" if near else "none is near"
        raise UsageError(
            f"timm {timm.__version__} has no network '{name}'; {meant} (list them with timm.list_models(), or update "
            "timm)"
        )
    settings = timm.get_pretrained_cfg(name) or timm.models.PretrainedCfg()
    return Architecture(
        PREFIX + name,
        partial(_build, name),
        sized=partial(_build_sized, name) if settings.fixed_input_size else None,
        image_size=tuple(settings.input_size[-2:]),
        imagenet=PREFIX + name,
        normalisation=_normalisation(settings),
    )


def timm_normalisation(name: str) -> Normalisation:
    """Of the images that weights NAME[.TAG] are for.

    Raises:
        UsageError: when there are no such weights.
    """
    return _normalisation(_settings(name))


def timm_state(name: str, size: Size | None) -> dict[str, Tensor]:
    """The weights NAME[.TAG] as timm loads them (safetensors or weights only), made to fit images of a size.

    The head is left out, but where it is one of two classes.

    Raises:
        UsageError: when there are none of that name, or they cannot be had.
    """
    settings = _settings(name)
    architecture = timm_architecture(name.partition(".")[0])
    sized = {} if architecture.sized is None else {"img_size": size or architecture.image_size}
    try:
        with torch.random.fork_rng(devices=[]):
            network = _timm().create_model(name, pretrained=True, num_classes=2, **sized)
    except Exception as error:  # of timm, of the hub, of the network: each has errors of its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"the weights {PREFIX}{name} could not be had ({reason}); run this once on a machine with a network and "
            "copy its cache (~/.cache/huggingface and ~/.cache/torch), or give `weights=PATH` or `weights=none`"
        ) from error
    kept = () if settings.num_classes != 2 else architecture.head_tensors
    return {
        key: value for key, value in network.state_dict().items() if key not in architecture.head_tensors or key in kept
    }


def _settings(name: str) -> Any:
    """What timm knows of weights."""
    timm = _timm()
    bare = name.partition(".")[0]
    timm_architecture(bare)
    try:
        settings = timm.get_pretrained_cfg(name)
    except RuntimeError:
        settings = None
    if settings is None or not settings.has_weights:
        own = [each for each in timm.list_pretrained() if each.partition(".")[0] == bare]
        near = own or difflib.get_close_matches(name, timm.list_pretrained(), n=3, cutoff=0.5)
        meant = f"there are {', '.join(PREFIX + each for each in near)}" if near else "there are none for this network"
        raise UsageError(f"timm {timm.__version__} has no weights '{name}'; {meant}")
    return settings


def _normalisation(settings: Any) -> Normalisation:
    return Normalisation(tuple(settings.mean), tuple(settings.std))


def _build(name: str, classes: int, **settings: Any) -> nn.Module:
    network: nn.Module = _timm().create_model(name, pretrained=False, num_classes=classes, **settings)
    return with_calm_head(network, classes)


def _build_sized(name: str, classes: int, size: Size) -> nn.Module:
    return _build(name, classes, img_size=size)
