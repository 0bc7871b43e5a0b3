"""The networks we know: how each is built, where its head sits, and its named stages for saliency."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import ParamSpec, cast

import torch
from torch import Tensor, nn
from torchvision import models as tv

from cxrlens import plugins
from cxrlens.errors import UsageError
from cxrlens.models import timm_networks, torchvision_networks
from cxrlens.models.architecture import STAGES, Architecture, LayerNames, Size, Stages, with_calm_head
from cxrlens.models.foreign_states import fitted, pads_as_tensorflow
from cxrlens.models.pretrained import NONE, pretrained_state
from cxrlens.models.weights_file import counted_faults, no_numbers, not_finite, unfit, without_wrappers

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "LayerNames",
    "Stages",
    "blank_network",
    "build_network",
    "file_name_of",
    "find_architecture",
    "stages_of",
]

_Given = ParamSpec("_Given")

_LIBRARIES: Mapping[str, Callable[[str], Architecture]] = {
    timm_networks.PREFIX: timm_networks.timm_architecture,
    torchvision_networks.PREFIX: torchvision_networks.torchvision_architecture,
}
"""Who knows the networks whose names begin so."""


def resnet_stages(network: nn.Module) -> Stages:
    """layer4's last block; combined: the first blocks of layer2, layer3, layer4, and layer4's last (Ozer et al.)."""
    blocks = cast("nn.Sequential", network.get_submodule("layer4"))
    last = f"layer4.{len(blocks) - 1}"
    return Stages(last, tuple(dict.fromkeys(("layer2.0", "layer3.0", "layer4.0", last))))


def efficientnet_stages(network: nn.Module) -> Stages:
    """The last activation; combined: the first module of each of the nine stages, and the last activation."""
    features = cast("nn.Sequential", network.get_submodule("features"))
    final = len(features) - 1
    last = f"features.{final}.2"
    return Stages(last, (*(f"features.{stage}.0" for stage in range(final + 1)), last))


def _efficientnet_b0(classes: int) -> nn.Module:
    return with_calm_head(tv.efficientnet_b0(num_classes=classes), classes)


def _resnet(name: str, build: Callable[..., nn.Module], weights: tv.WeightsEnum) -> Architecture:
    return Architecture(name, lambda n: build(num_classes=n), weights, "fc", resnet_stages, bf16_training_on_cpu=True)


ARCHITECTURES: Mapping[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        _resnet("resnet18", tv.resnet18, tv.ResNet18_Weights.IMAGENET1K_V1),
        _resnet("resnet34", tv.resnet34, tv.ResNet34_Weights.IMAGENET1K_V1),
        _resnet("resnet50", tv.resnet50, tv.ResNet50_Weights.IMAGENET1K_V2),
        Architecture(
            "efficientnet_b0",
            _efficientnet_b0,
            tv.EfficientNet_B0_Weights.IMAGENET1K_V1,
            "classifier.1",
            efficientnet_stages,
            bf16_training_on_cpu=False,
        ),
    )
}


def find_architecture(name: str) -> Architecture:
    """Look an architecture up by its name: one of `ARCHITECTURES`, ``timm:NAME``, ``torchvision:NAME``, or a plug-in's.

    Raises:
        UsageError: when the name is unknown, the near matches being listed; when timm is not installed; or when the
            package that gives it cannot be loaded.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    for prefix, find in _LIBRARIES.items():
        if name.startswith(prefix):
            return find(name.removeprefix(prefix))
        if name.lower().startswith(prefix):
            raise UsageError(f"unknown architecture '{name}': did you mean {name.lower()}? Such names are lower-case")
    plugged = plugins.find_plugin(plugins.ARCHITECTURES, name, Architecture)
    if isinstance(plugged, Architecture):
        if plugged.name != name:
            raise plugins.unfit(
                plugins.ARCHITECTURES,
                name,
                f"is an architecture that calls itself '{plugged.name}', by which model files would not find it again",
            )
        return _blamed(plugged)
    known = [*ARCHITECTURES, *plugins.plugin_names(plugins.ARCHITECTURES)]
    plain = name.lower().replace("-", "_")
    near = difflib.get_close_matches(plain, known, n=3, cutoff=0.5)
    if plain in torchvision_networks.torchvision_names():
        near.append(torchvision_networks.PREFIX + plain)
    meant = f"did you mean {' or '.join(near)}?" if near else "none is near"
    raise UsageError(f"unknown architecture '{name}': {meant} (known: {', '.join(known)}, torchvision:NAME, timm:NAME)")


@cache
def _blamed(architecture: Architecture) -> Architecture:
    """A plug-in's architecture, whose errors name its package."""
    group, name = plugins.ARCHITECTURES, architecture.name

    def made(build: Callable[_Given, nn.Module]) -> Callable[_Given, nn.Module]:
        guarded = plugins.guarded(group, name, build)

        def make(*args: _Given.args, **kwargs: _Given.kwargs) -> nn.Module:
            network: object = guarded(*args, **kwargs)
            if not isinstance(network, nn.Module):
                raise plugins.unfit(group, name, f"gives {type(network).__name__}, which should be a torch module")
            return network

        return make

    return replace(
        architecture,
        build=made(architecture.build),
        sized=architecture.sized and made(architecture.sized),
        stages=architecture.stages and plugins.guarded(group, name, architecture.stages),
    )


def stages_of(network: nn.Module) -> Stages | None:
    """The declared stages of a network; None of one whose layers are to be found.

    They are those that its architecture declares, and of a torchvision ResNet or EfficientNet, whoever built it, known.
    """
    declared = getattr(network, STAGES, None)
    if isinstance(declared, Stages):
        return declared
    if isinstance(network, tv.ResNet):
        return resnet_stages(network)
    if isinstance(network, tv.EfficientNet):
        return efficientnet_stages(network)
    return None


def file_name_of(name: str) -> str:
    """An architecture's name as a part of the names of files."""
    return re.sub(r"[^\w.-]", "-", name)


def build_network(name: str, *, weights: str = NONE, classes: int = 2, size: Size | None = None) -> nn.Module:
    """Build a network with ``classes`` logits.

    Args:
        name: see `find_architecture`.
        weights: "none" (random); "imagenet" (a download, random head); "timm:NAME[.TAG]", "torchvision:NAME",
            "https://...#sha256=HEX" or "hf:OWNER/NAME@COMMIT/FILE"; or the path of a model file, a state dict
            (.safetensors, .pt, .pth) or a checkpoint that holds one. A head of another number of classes is left
            random.
        classes: number of logits.
        size: (height, width) of the images, which some networks are built for and others do not take; None = whatever
            the network is made for, unchecked.

    Raises:
        UsageError: on an unknown name, a size that the network does not take, no network for a download, or a file that
            does not fit.
    """
    architecture = find_architecture(name)
    network = architecture.make(classes, size)
    if size is not None and name not in ARCHITECTURES:
        architecture.check(network, size, classes)
    if weights != NONE:
        _load_but_head(network, pretrained_state(weights, architecture, size), architecture, weights)
    return network


def blank_network(architecture: Architecture, classes: int, size: Size) -> nn.Module:
    """A network whose weights are to be replaced, all of them: none are drawn where that can be left out.

    It is on the meta device, if it is one of `ARCHITECTURES`: others may hold tensors that no file has.
    """
    if architecture.name in ARCHITECTURES:
        with torch.device("meta"):
            return architecture.make(classes, size)
    with torch.random.fork_rng(devices=[]):
        return architecture.make(classes, size)


def _load_but_head(network: nn.Module, state: dict[str, Tensor], architecture: Architecture, source: str) -> None:
    own = network.state_dict()
    state = without_wrappers(state, own)
    evenly_padded = architecture.name.removeprefix(f"{timm_networks.PREFIX}efficientnet_")
    if evenly_padded != architecture.name and pads_as_tensorflow(state):
        raise UsageError(
            f"{source}: these are weights of a network that pads images as TensorFlow does, {architecture.name} pads "
            f"them otherwise; train {timm_networks.PREFIX}tf_efficientnet_{evenly_padded}"
        )
    state = fitted(state, own)
    faults = unfit(state, own, _optional(own, architecture))
    if faults:
        others = [other.name for other in ARCHITECTURES.values() if other != architecture and _fits(state, other)]
        theirs = f"; they are those of {others[0]}" if others else ""
        raise UsageError(
            f"{source}: these weights are not of {architecture.name}: {counted_faults(faults)}{theirs}; "
            f"give the weights of {architecture.name}"
        )
    broken = not_finite(state)
    if broken:
        raise UsageError(f"{source}: {no_numbers(broken, len(state))}; take another copy of the file, or other weights")
    fitting = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    network.load_state_dict(fitting, strict=False)


def _optional(own: Mapping[str, Tensor], architecture: Architecture) -> frozenset[str]:
    """The names of the head and of the batch counters, which older files lack."""
    counters = {key for key in own if key.endswith(".num_batches_tracked")}
    return frozenset({*architecture.head_tensors, *counters})


def _fits(state: Mapping[str, Tensor], architecture: Architecture) -> bool:
    own = architecture.outline(2).state_dict()
    return not unfit(without_wrappers(state, own), own, _optional(own, architecture))
