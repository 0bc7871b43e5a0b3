"""The processor and accelerators that torch sees."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import torch

from cxrlens.devices import has_bfloat16, is_faster_in_bfloat16, resolve_device
from cxrlens.doctor.finding import DoctorFinding
from cxrlens.errors import UsageError

_SECTION = "devices"


def devices(wanted: str) -> Iterator[DoctorFinding]:
    """Each one, tried with a small convolution, and whether the ``wanted`` one is there."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cpu = torch.device("cpu")
    slower = "bfloat16 slower than float32" if has_bfloat16(cpu) else "no bfloat16 units, hence float32"
    units = "bfloat16 units" if is_faster_in_bfloat16(cpu) else slower
    yield _tried("cpu", f"{available} processors, {torch.get_num_threads()} threads, {units}")
    if torch.accelerator.is_available():
        kind = torch.accelerator.current_accelerator()
        assert kind is not None
        for index in range(torch.accelerator.device_count()):
            yield _tried(f"{kind.type}:{index}", _described(kind.type, index))
    else:
        remedy = "training is many times faster with a GPU that torch supports"
        if shutil.which("nvidia-smi"):
            remedy = "an NVIDIA driver is there: install torch with CUDA, see https://pytorch.org/get-started/locally"
        yield DoctorFinding(_SECTION, "accelerator", "note", f"torch {torch.__version__} sees none", remedy)
    try:
        resolve_device(wanted)
    except UsageError as error:
        yield DoctorFinding(_SECTION, wanted, "problem", str(error))


def _described(kind: str, index: int) -> str:
    if kind != "cuda":
        return "there"
    properties = torch.cuda.get_device_properties(index)
    bfloat16 = "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no bfloat16"
    return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, {bfloat16}"


def _tried(device: str, detail: str) -> DoctorFinding:
    """The mean of ones is one."""
    try:
        ones = torch.ones(1, 3, 8, 8, device=device)
        found = torch.nn.functional.conv2d(ones, torch.full((1, 3, 3, 3), 1 / 27, device=device)).cpu()
        fault = None if torch.allclose(found, torch.ones_like(found), atol=1e-2) else "it computes wrong numbers"
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        fault = f"it does not compute: {str(error).splitlines()[0].rstrip('.')}"
    if fault is None:
        return DoctorFinding(_SECTION, device, "ok", detail)
    remedy = "install the torch that fits this machine and its driver, or use --device cpu"
    return DoctorFinding(_SECTION, device, "problem", f"{detail}, but {fault}", remedy)
