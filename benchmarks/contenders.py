"""What is compared: our engine, three libraries, and the published procedure."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from cxrlens.models.registry import Stages, stages_of
from cxrlens.saliency.capture import Captured
from cxrlens.saliency.explain import Row, default_rows, explain_rows
from cxrlens.saliency.fusion import Fusion, combine, scale
from cxrlens.saliency.hooks import forward_hooks
from cxrlens.saliency.methods import DEFAULT_METHODS, find_method
from cxrlens.saliency.resizing import PUBLISHED_RESIZE, resized

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from captum.attr import LayerGradCam
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    from torchcam.methods import GradCAM as TorchCam

GRAD_CAM = [Row("grad_cam", "last")]
SEVEN = default_rows(DEFAULT_METHODS, "both")
PUBLISHED = Fusion(resize=PUBLISHED_RESIZE)


def forward(network: nn.Module, images: Tensor) -> Callable[[], object]:
    def run() -> Tensor:
        with torch.no_grad():
            return network(images)

    return run


def ours(network: nn.Module, images: Tensor, rows: list[Row]) -> Callable[[], object]:
    return lambda: explain_rows(network, images, rows)


def pytorch_grad_cam(network: nn.Module, images: Tensor) -> Callable[[], object]:
    layer = network.get_submodule(_stages(network).last)
    targets = [ClassifierOutputTarget(1)] * len(images)

    def run() -> object:
        with GradCAM(network, [layer]) as cam:
            return cam(images, targets)

    return run


def torch_cam(network: nn.Module, images: Tensor) -> Callable[[], object]:
    """Its maps come at the layer's size; they are resampled as ours are."""
    last = _stages(network).last
    inputs = images.clone().requires_grad_()  # it needs a graph from the input on

    def run() -> object:
        with TorchCam(network, target_layer=last) as extractor:
            (maps,) = extractor(1, network(inputs))
        return resized(maps, (images.shape[2], images.shape[3]), None, PUBLISHED_RESIZE)

    return run


def captum(network: nn.Module, images: Tensor) -> Callable[[], object]:
    """Its maps come at the layer's size; they are resampled as ours are."""
    method = LayerGradCam(network, network.get_submodule(_stages(network).last))

    def run() -> object:
        maps = method.attribute(images, target=1, relu_attributions=True)
        return scale(resized(maps[:, 0], (images.shape[2], images.shape[3]), None, PUBLISHED_RESIZE))

    return run


def published(network: nn.Module, image: Tensor) -> Callable[[], object]:
    """The seven rows as the reference scripts make them: for each a full forward and a full backward of one image.

    The maps themselves are computed by our functions, which flatters it.
    """
    stages = _stages(network)

    def run() -> object:
        maps = []
        for row in SEVEN:
            names = [stages.last] if row.layers == "last" else list(stages.combined)
            pairs = _full_pass(network, image, names)
            function = find_method(row.method).function
            size = (image.shape[2], image.shape[3])
            layer_maps = [function(pair) for pair in pairs]
            maps.append(scale(combine(layer_maps, [None] * len(pairs), size, PUBLISHED))[0])
        return maps

    return run


def _full_pass(network: nn.Module, image: Tensor, names: list[str]) -> list[Captured]:
    network.zero_grad()
    outputs: list[Tensor] = []
    gradients: list[Tensor] = []

    def see(_name: str, _inputs: object, output: Tensor) -> Tensor:
        outputs.append(output.detach().clone())
        output.register_hook(gradients.append)  # type: ignore[no-untyped-call]
        return output.clone()

    with forward_hooks({name: network.get_submodule(name) for name in names}, see):
        network(image)[:, 1].sum().backward()
    return [Captured(a, g) for a, g in zip(outputs, reversed(gradients), strict=True)]


def _stages(network: nn.Module) -> Stages:
    stages = stages_of(network)
    assert stages is not None
    return stages
