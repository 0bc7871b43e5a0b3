"""Which processors multiply bfloat16, and run networks faster in it."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest
import torch

from cxrlens import processor
from cxrlens.devices import has_bfloat16, is_faster_in_bfloat16

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("text", "is_there", "is_faster"),
    [
        ("processor : 0\nflags\t\t: fpu avx512_bf16 amx_bf16 amx_tile\n", True, True),
        ("processor : 0\nflags\t\t: fpu avx512_bf16\nbugs\t\t: amx_bf16\n", True, False),
        ("processor : 0\nflags\t\t: fpu avx512_fp16\n", False, False),
        ("processor : 0\nFeatures\t: fp asimd bf16 i8mm\n", True, True),  # ARM
        ("nothing of the kind", False, False),
    ],
)
def test_linux_tells(
    text: str, is_there: bool, is_faster: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    assert (has_bfloat16(CPU), is_faster_in_bfloat16(CPU)) == (is_there, is_faster)
    for function in (has_bfloat16, is_faster_in_bfloat16):
        assert not function(torch.device("mps"))


@pytest.mark.parametrize(
    ("units", "is_there", "is_faster"),
    [
        ([], False, False),
        (["avx512_bf16"], True, False),
        (["avx512_bf16", "amx_bf16"], True, True),
        (["bf16"], True, True),
    ],
)
def test_elsewhere_torch_does(
    units: list[str], is_there: bool, is_faster: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "none")
    capabilities = {"avx512_bf16": False, "avx512_fp16": True} | dict.fromkeys(units, True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert (has_bfloat16(CPU), is_faster_in_bfloat16(CPU)) == (is_there, is_faster)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert not processor.cpu_has_bfloat16()


def test_torch_has_the_names_that_it_is_asked_for() -> None:
    """Whether the units are there is the processor's, and an older Linux may not know what torch finds."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("another kind of processor")
    assert torch.cpu.get_capabilities().keys() >= {"avx512_bf16", "amx_bf16", "avx512_vnni", "avx_vnni"}
