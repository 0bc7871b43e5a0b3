"""Networks that multiply in bfloat16, which some processors and all recent GPUs do many times faster than float32."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from cxrlens.devices import has_bfloat16, is_faster_in_bfloat16
from cxrlens.errors import UsageError

Precision: TypeAlias = Literal["f32", "bf16"]
PRECISION_CHOICES: tuple[str, ...] = ("auto", *get_args(Precision))


def resolve_precision(name: str, device: torch.device) -> Precision:
    """ "auto" is the fastest of the device; any other name must be one that it has units for.

    Raises:
        UsageError: on an unknown precision, or one without units.
    """
    if name == "int8":
        raise UsageError(
            "torch multiplies in f32 or bf16, not in int8; leave the precision out, or export the model with "
            "'cxrlens export --int8 DATA' and give the .onnx file"
        )
    if name not in PRECISION_CHOICES:
        raise UsageError(f"unknown precision '{name}': use {', '.join(PRECISION_CHOICES)}")
    is_there = has_bfloat16(device)
    if name == "bf16" and not is_there:
        raise UsageError(
            f"device '{device}' has no units for bfloat16, which would make it many times slower; leave the precision "
            "out, or take f32"
        )
    return "bf16" if name == "bf16" or (name == "auto" and is_faster_in_bfloat16(device)) else "f32"


def multiply_in_bfloat16(network: nn.Module) -> nn.Module:
    """Make a network's convolutions keep their weights and multiply in bfloat16, in place.

    All else stays as it is: batch norms keep float32 weights and statistics, and linear layers multiply in float32, so
    that logits have all their digits. Layer norms, which take no two types, are given what they work in.
    """
    for module in network.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            module.to(torch.bfloat16)
        elif not isinstance(module, nn.Linear | nn.LayerNorm) or module.weight is None:
            continue
        module.register_forward_pre_hook(_take_own_type)
    return network


def _take_own_type(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return tuple(each.to(weight.dtype) if isinstance(each, Tensor) else each for each in inputs)
