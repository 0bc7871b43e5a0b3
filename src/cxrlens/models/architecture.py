"""What is known of a network before it is built: how it is made, where its head sits, and its layers for saliency."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import torch
from torch import nn
from torchvision import models as tv

from cxrlens.errors import UsageError
from cxrlens.inputs.preprocessing import IMAGENET_MEAN, IMAGENET_STD

LayerNames = tuple[str, ...]
Size: TypeAlias = tuple[int, int]
"""(height, width) of a network's input, in pixels."""

STAGES = "cxrlens_stages"
"""Attribute of a network that holds its `Stages`, where its architecture declares them; copies of it keep them."""


@dataclass(frozen=True)
class Stages:
    """Layers of a network, as module names: the one behind the pooling, and the ones the paper combines."""

    last: str
    combined: LayerNames


@dataclass(frozen=True)
class Normalisation:
    """What is subtracted from grey values in [0, 1], and what they are divided by then, per channel."""

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


IMAGENET = Normalisation()

NORMALISATION_KEY = "normalisation"
"""Of the checkpoints of a training: mean and deviation of its network's images."""


_WIDEST_HEAD = 2.0  # times the deviation that `nn.Linear` draws from


def with_calm_head(network: nn.Module, classes: int) -> nn.Module:
    """The network, its random head drawn as `nn.Linear` draws it where it was drawn far more widely.

    EfficientNets and their kin draw it from +-1 / sqrt(classes), which is meant for 1,000 classes: with two, 1,280
    features give logits so large that a training begins with a loss of several units, and may never learn.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear) and module.out_features == classes and not module.weight.is_meta:
            usual = (3 * module.in_features) ** -0.5
            if float(module.weight.detach().std()) > _WIDEST_HEAD * usual:
                module.reset_parameters()
    return network


@dataclass(frozen=True)
class Architecture:
    """One network family member. A name and how it is built are enough; all else is found in the network.

    Attributes:
        name: the id on the command line and in model files.
        build: makes the network for a number of classes, with random weights. It takes images [N, 3, H, W] and gives
            logits [N, classes].
        weights: torchvision's ImageNet weights for it; None = none are known.
        head: module name of the linear layer that gives the logits; "" = it is what changes with the number of classes.
        stages: gives the layers explained as "last" and as "combined" (see docs/methods.md); None = they are found by a
            pass through the network.
        bf16_training_on_cpu: whether bfloat16 autocast makes a training step faster on a CPU with bfloat16 units.
        sized: as ``build``, for images of one (height, width), where the network is made for one; else None.
        image_size: the one that it is made for, where no other is asked for.
        imagenet: what `weights` "imagenet" stands for, where ``weights`` does not say it.
        normalisation: of the images that its published weights are for.
    """

    name: str
    build: Callable[[int], nn.Module]
    weights: tv.WeightsEnum | None = None
    head: str = ""
    stages: Callable[[nn.Module], Stages] | None = None
    bf16_training_on_cpu: bool = False
    sized: Callable[[int, Size], nn.Module] | None = None
    image_size: Size = (224, 224)
    imagenet: str = ""
    normalisation: Normalisation = IMAGENET

    def make(self, classes: int, size: Size | None = None) -> nn.Module:
        """The network with random weights, for a number of classes and images of a (height, width).

        Raises:
            UsageError: when it takes no images of that size.
        """
        if self.sized is None:
            network = self.build(classes)
        else:
            network = self._of_size(self.sized, classes, size or self.image_size)
        if self.stages is not None:
            setattr(network, STAGES, self.stages(network))
        return network

    def outline(self, classes: int, size: Size | None = None) -> nn.Module:
        """As `make`, where it can be on torch's meta device: modules and shapes, no numbers."""
        try:
            with torch.device("meta"):
                return self.make(classes, size)
        except (NotImplementedError, RuntimeError):  # its own building asks for numbers
            with torch.random.fork_rng(devices=[]):
                return self.make(classes, size)

    @cached_property
    def head_tensors(self) -> Mapping[str, int]:
        """The head's tensors by their names in the state dict, and the dimension of each that counts the classes."""
        if self.head:
            return {f"{self.head}.{part}": 0 for part in ("weight", "bias")}
        few, more = (self.outline(classes).state_dict() for classes in (2, 3))
        found = {}
        for name, value in few.items():
            if name in more and value.shape != more[name].shape:
                pairs = zip(value.shape, more[name].shape, strict=True)
                found[name] = next(dim for dim, (one, other) in enumerate(pairs) if one != other)
        return found

    def classes_of(self, network: nn.Module) -> int:
        """How many logits a network of this architecture gives."""
        own = network.state_dict()
        return next(own[name].shape[dim] for name, dim in self.head_tensors.items() if name in own)

    def check(self, network: nn.Module, size: Size, classes: int) -> None:
        """Make sure that a network takes images of a (height, width), and gives one logit a class.

        Raises:
            UsageError: when it does not.
        """
        was_training = network.training
        try:
            with torch.no_grad():
                output = network.eval()(torch.zeros(1, 3, *size))
        except Exception as error:
            raise UsageError(self._wrong_size(size, error)) from error
        finally:
            network.train(was_training)
        found = list(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        if found != [1, classes]:
            raise UsageError(
                f"{self.name} gives {found} for one image, not the logits [1, {classes}] of a classification network; "
                "choose another architecture"
            )

    def _of_size(self, build: Callable[[int, Size], nn.Module], classes: int, size: Size) -> nn.Module:
        try:
            return build(classes, size)
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            raise UsageError(self._wrong_size(size, error)) from error

    def _wrong_size(self, size: Size, error: Exception) -> str:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return (
            f"{self.name} takes no images of {size[1]} x {size[0]} px ({reason}); it was made for "
            f"{self.image_size[1]} x {self.image_size[0]} px: give `image_size={self.image_size[0]}`"
        )
