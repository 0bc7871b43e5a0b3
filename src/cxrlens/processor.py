"""What the processor multiplies, without torch where the system tells."""

from __future__ import annotations

import re
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def cpu_has_bfloat16() -> bool:
    """True where the processor multiplies bfloat16 in hardware."""
    return not _units().isdisjoint({"avx512_bf16", "amx_bf16", "bf16"})


def cpu_is_faster_in_bfloat16() -> bool:
    """True where networks run faster in bfloat16 than in float32 on the processor.

    On x86 that takes the units for matrices (AMX). AVX-512's instructions for bfloat16 alone are not enough: with these
    ResNet-34 took 1.4 to 1.8 times the time of float32 on one processor and half of it on another, by torch 2.14 as by
    OpenVINO 2026.4 (docs/export.md).
    """
    return not _units().isdisjoint({"amx_bf16", "bf16"})


def cpu_multiplies_int8() -> bool:
    """True where the processor sums products of 8-bit integers in 32 bits; older ones take 16, which may overflow."""
    return not _units().isdisjoint({"avx512_vnni", "avx_vnni", "asimddp"})


def _units() -> set[str]:
    """By Linux's names, which torch has as well; elsewhere those that torch finds, none where it is not installed."""
    try:
        found = re.search(r"^(?:flags|Features)\s*:(.*)$", _CPUINFO.read_text(), re.MULTILINE)
    except OSError:
        return _found_by_torch()
    return set(found[1].split()) if found else set()


def _found_by_torch() -> set[str]:
    try:
        import torch
    except ImportError:
        return set()
    return {name for name, is_there in torch.cpu.get_capabilities().items() if is_there}
