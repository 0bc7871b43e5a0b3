"""The networks we know: how each is built, where its head sits, and its named stages for saliency."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision import models as tv

from cxrlens.errors import UsageError
from cxrlens.models.weights_file import not_finite, read_weights, unfit, without_wrappers

LayerNames = tuple[str, ...]


@dataclass(frozen=True)
class Architecture:
    """One network family member.

    Attributes:
        name: the id on the command line and in model files.
        build: makes the torchvision network for a number of classes, with random weights.
        weights: torchvision's ImageNet weights for it.
        head: module name of the linear layer that gives the logits.
        stages: gives the layers explained as "last" and as "combined" (see docs/methods.md).
        bf16_training_on_cpu: whether bfloat16 autocast makes a training step faster on a CPU with bfloat16 units.
    """

    name: str
    build: Callable[[int], nn.Module]
    weights: tv.WeightsEnum
    head: str
    stages: Callable[[nn.Module], Stages]
    bf16_training_on_cpu: bool


@dataclass(frozen=True)
class Stages:
    """Layers of a network, as module names: the one behind the pooling, and the ones the paper combines."""

    last: str
    combined: LayerNames


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
    """torchvision's network, its head drawn as `nn.Linear` draws it.

    torchvision draws the head from +-1 / sqrt(classes), which is meant for 1,000 classes: with two, 1,280 features
    give logits so large that a training from random weights begins with a loss of several units.
    """
    network = tv.efficientnet_b0(num_classes=classes)
    network.classifier[1].reset_parameters()
    return network


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
    """Look an architecture up by its name.

    Raises:
        UsageError: when the name is unknown; the near matches are listed.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    near = difflib.get_close_matches(name.lower().replace("-", "_"), ARCHITECTURES, n=3, cutoff=0.5)
    meant = f"did you mean {' or '.join(near)}?" if near else "none is near"
    raise UsageError(f"unknown architecture '{name}': {meant} (known: {', '.join(ARCHITECTURES)})")


def stages_of(network: nn.Module) -> Stages | None:
    """The stages of a torchvision ResNet or EfficientNet, whoever built it; None for any other network."""
    if isinstance(network, tv.ResNet):
        return resnet_stages(network)
    if isinstance(network, tv.EfficientNet):
        return efficientnet_stages(network)
    return None


def build_network(name: str, *, weights: str = "none", classes: int = 2) -> nn.Module:
    """Build a network with ``classes`` logits.

    Args:
        name: a key of `ARCHITECTURES`.
        weights: "none" (random), "imagenet" (torchvision's download, random head), or the path of a model file, a
            state dict (.safetensors, .pt, .pth) or a checkpoint that holds one; a head of another number of classes
            is left random.
        classes: number of logits.

    Raises:
        UsageError: on an unknown name, no network for the download, or a file that does not fit.
    """
    architecture = find_architecture(name)
    network = architecture.build(classes)
    if weights == "none":
        return network
    state = _imagenet_state(architecture) if weights == "imagenet" else read_weights(Path(weights))
    _load_but_head(network, state, architecture, weights)
    return network


def _imagenet_state(architecture: Architecture) -> dict[str, Tensor]:
    try:
        with redirect_stdout(sys.stderr):  # torch says there what it downloads; stdout is for results
            return dict(architecture.weights.get_state_dict(progress=False, check_hash=True))
    except (URLError, OSError, RuntimeError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise UsageError(
            f"the ImageNet weights of {architecture.name} could not be downloaded ({error}); fetch "
            f"{architecture.weights.url} on a machine with a network and put it into {folder}, "
            "or give `weights=PATH` or `weights=none`"
        ) from error


def _load_but_head(network: nn.Module, state: dict[str, Tensor], architecture: Architecture, source: str) -> None:
    own = network.state_dict()
    state = without_wrappers(state, own)
    faults = unfit(state, own, _optional(own, architecture))
    if faults:
        others = [other.name for other in ARCHITECTURES.values() if other != architecture and _fits(state, other)]
        theirs = f"; they are those of {others[0]}" if others else ""
        raise UsageError(
            f"{source}: these weights are not of {architecture.name}: {len(faults)} tensors are missing, too many or "
            f"of another shape (first: {faults[0]}){theirs}; give the weights of {architecture.name}"
        )
    broken = not_finite(state)
    if broken:
        raise UsageError(
            f"{source}: {len(broken)} of its {len(state)} tensors hold values that are no numbers (first: "
            f"{broken[0]}); take another copy of the file, or other weights"
        )
    fitting = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    network.load_state_dict(fitting, strict=False)


def _optional(own: Mapping[str, Tensor], architecture: Architecture) -> frozenset[str]:
    """The names of the head and of the batch counters, which older files lack."""
    counters = {key for key in own if key.endswith(".num_batches_tracked")}
    return frozenset({f"{architecture.head}.weight", f"{architecture.head}.bias", *counters})


def _fits(state: Mapping[str, Tensor], architecture: Architecture) -> bool:
    with torch.device("meta"):
        own = architecture.build(2).state_dict()
    return not unfit(without_wrappers(state, own), own, _optional(own, architecture))
