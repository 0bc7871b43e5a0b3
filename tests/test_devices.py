"""The device that a command runs on, and what is said of one that is not there."""

from __future__ import annotations

import pytest
import torch

from cxrlens.devices import device_names, resolve_device
from cxrlens.errors import UsageError
from unwarned import heard


def test_the_processor_is_always_there() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert device_names("cpu", 3) == ["cpu"] * 3


ABSENT = ("mps", "meta", "xla", "hpu", "xpu", "mtia", "vulkan", "mkldnn", "opengl", "privateuseone", "cuda", "cuda:1")


@pytest.mark.parametrize("name", [*ABSENT, "cuda:x", "cpu:-1", "gpu", ""])
def test_a_device_that_is_not_there_is_refused_in_one_sentence(
    name: str, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    if name.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("it is there")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    with pytest.raises(UsageError) as caught:
        resolve_device(name)
    remedy = "try `device=auto` or `device=cpu`"
    assert str(caught.value) == f"device '{name}' cannot be used (torch finds cpu alone); {remedy}"
    assert heard(recwarn.list) == []


def test_of_a_device_that_is_there_and_fails_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: all devices are busy.\nCompile with ...")

    monkeypatch.setattr(torch, "zeros", fails)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    for name in ("cuda", "cuda:1"):
        with pytest.raises(
            UsageError, match=rf"device '{name}' cannot be used \(CUDA error: all devices are busy\); try"
        ):
            resolve_device(name)
    with pytest.raises(
        UsageError, match=r"device 'cuda:2' cannot be used \(torch finds cpu, cuda:0, cuda:1 alone\); try"
    ):
        resolve_device("cuda:2")
