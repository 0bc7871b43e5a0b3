"""State dicts whose names or shapes are those of another program's same network, made to fit ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from torch import Tensor
from torchvision.models.vision_transformer import interpolate_embeddings

from cxrlens.models.architecture import Normalisation

XRV_NORMALISATION = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""With which `fitted` makes torchxrayvision's networks see what they were trained on."""

_XRV_REACH = 1024
"""torchxrayvision shows its networks grey values in [-1024, 1024]."""
_XRV_ENDS = {"features.conv0.weight": "classifier.weight", "conv1.weight": "fc.weight"}
"""The first convolution and the head of its DenseNets, and of its ResNets."""
_XRV_FINDINGS = 18
_XRV_THRESHOLDS = "op_threshs"

_SIDE_HEADS = ("aux1.", "aux2.", "AuxLogits.")
_POSITIONS = "encoder.pos_embedding"


def is_of_torchxrayvision(state: Mapping[str, Tensor]) -> bool:
    """True of the weights of a network of torchxrayvision: one input channel, and 18 findings or their thresholds."""
    return _xrv_input(state) is not None


def _xrv_input(state: Mapping[str, Tensor]) -> str | None:
    """The name of the first convolution's weight; None of a network that is not torchxrayvision's."""
    for name, head_name in _XRV_ENDS.items():
        first, head = state.get(name), state.get(head_name)
        one_channel = first is not None and first.ndim == 4 and first.shape[1] == 1
        if one_channel and (_XRV_THRESHOLDS in state or (head is not None and len(head) == _XRV_FINDINGS)):
            return name
    return None


def fitted(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict in the names and shapes of a network, where it is known how; else as it is.

    - older files of DenseNets (``denselayer1.norm.1``), and torchvision's side heads, which nothing here has;
    - torchxrayvision's DenseNets and ResNets: their one input channel becomes three that sum up to it, scaled so that
      the network, of images normalised by `XRV_NORMALISATION`, sees what it was trained on; the padding of its
      convolutions too;
    - EfficientNets in the names of efficientnet_pytorch (``_blocks.0._depthwise_conv``), for timm's;
    - torchvision's vision transformers for images of another size, whose embedded positions are interpolated.

    Args:
        own: the network's state dict.
    """
    found = {_without_dots(name): value for name, value in state.items()}
    if not any(name.startswith(_SIDE_HEADS) for name in own):
        found = {name: value for name, value in found.items() if not name.startswith(_SIDE_HEADS)}
    if pads_as_tensorflow(found) and "conv_stem.weight" in own:
        names = _names_by_order(own)
        found = {names.get(name, name): value for name, value in found.items()}
    first = _xrv_input(found)
    if first is not None and first in own:
        channels = own[first].shape[1]
        found.pop(_XRV_THRESHOLDS, None)
        found[first] = (found[first] * (_XRV_REACH / channels)).repeat(1, channels, 1, 1)
    if _POSITIONS in own and _POSITIONS in found and own[_POSITIONS].shape != found[_POSITIONS].shape:
        found = _of_other_size(found, own)
    return found


def pads_as_tensorflow(state: Mapping[str, Tensor]) -> bool:
    """True of an EfficientNet in the names of efficientnet_pytorch, whose network pads as TensorFlow's does.

    In timm's networks of the same shapes that pad evenly, without ``tf_`` in their names, it would see a shifted image.
    """
    return "_conv_stem.weight" in state


def _without_dots(name: str) -> str:
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name)


def _names_by_order(own: Mapping[str, Tensor]) -> dict[str, str]:
    """timm's name of each tensor of efficientnet_pytorch's network.

    Both number the norms of a block; one counts blocks through, the other within stages.
    """
    blocks = list(dict.fromkeys(match[0] for name in own if (match := re.match(r"blocks\.\d+\.\d+", name))))
    modules = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    for place, block in enumerate(blocks):
        for theirs, ours in _modules_of_block(f"{block}.conv_pwl.weight" in own):
            modules[f"_blocks.{place}.{theirs}"] = f"{block}.{ours}"
    parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return {f"{theirs}.{part}": f"{ours}.{part}" for theirs, ours in modules.items() for part in parts}


def _modules_of_block(is_expanded: bool) -> Iterator[tuple[str, str]]:
    yield from (("_se_reduce", "se.conv_reduce"), ("_se_expand", "se.conv_expand"), ("_depthwise_conv", "conv_dw"))
    if is_expanded:
        yield from (("_expand_conv", "conv_pw"), ("_bn0", "bn1"), ("_bn1", "bn2"))
        yield from (("_project_conv", "conv_pwl"), ("_bn2", "bn3"))
    else:
        yield from (("_bn1", "bn1"), ("_project_conv", "conv_pw"), ("_bn2", "bn2"))


def _of_other_size(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    patch = own["conv_proj.weight"].shape[-1]
    side = round((own[_POSITIONS].shape[1] - 1) ** 0.5)
    try:
        return dict(interpolate_embeddings(side * patch, patch, state))
    except ValueError:  # it will be said that it does not fit
        return state
