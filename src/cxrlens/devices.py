"""Choosing the device a command runs on."""

from __future__ import annotations

import warnings

import torch

from cxrlens.errors import UsageError
from cxrlens.processor import cpu_has_bfloat16, cpu_is_faster_in_bfloat16


def resolve_device(name: str) -> torch.device:
    """ "auto" is the accelerator that torch finds, else the CPU; any other name must be there.

    Raises:
        UsageError: on an unknown or absent device.
    """
    if name == "auto":
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return found or torch.device("cpu")
    try:
        with warnings.catch_warnings(action="ignore"):  # of kinds that torch no longer has
            device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        there = _there()
        fails = name in there or f"{name}:0" in there
        reason = str(error).splitlines()[0].rstrip(".") if fails else f"torch finds {', '.join(there)} alone"
        raise UsageError(f"device '{name}' cannot be used ({reason}); try `device=auto` or `device=cpu`") from error
    return device


def _there() -> list[str]:
    """The devices that torch finds, by their full names."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is None:
        return ["cpu"]
    return ["cpu", *(f"{accelerator.type}:{index}" for index in range(torch.accelerator.device_count()))]


def device_names(name: str, count: int) -> list[str]:
    """Names of ``count`` devices: accelerators by number, or the CPU for so many processes.

    Raises:
        UsageError: when there are fewer accelerators.
    """
    first = resolve_device(name)
    if count == 1:
        return [str(first)]
    if first.type == "cpu":
        return ["cpu"] * count
    there = torch.accelerator.device_count()
    if there < count:
        raise UsageError(f"`devices={count}`: only {there} devices of the kind '{first.type}' are there; give fewer")
    return [f"{first.type}:{index}" for index in range(count)]


def has_bfloat16(device: torch.device) -> bool:
    """True where the device multiplies bfloat16 in hardware; without that, it is many times slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and cpu_has_bfloat16()


def is_faster_in_bfloat16(device: torch.device) -> bool:
    """True where networks run faster in bfloat16 than in float32."""
    return cpu_is_faster_in_bfloat16() if device.type == "cpu" else has_bfloat16(device)
