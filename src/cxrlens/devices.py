"""Choosing the device a command runs on."""

from __future__ import annotations

import torch

from cxrlens.errors import UsageError


def resolve_device(name: str) -> torch.device:
    """ "auto" is the accelerator that torch finds, else the CPU; any other name must be there.

    Raises:
        UsageError: on an unknown or absent device.
    """
    if name == "auto":
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return found or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UsageError(f"device '{name}' cannot be used ({reason}); try `device=auto` or `device=cpu`") from error
    return device


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


def cpu_has_bfloat16() -> bool:
    """True where the CPU multiplies bfloat16 in hardware; without that, bfloat16 autocast is many times slower."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
