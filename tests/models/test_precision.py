"""Networks that multiply in bfloat16: what stays, what differs, and where it is refused."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import cxrlens
from cxrlens.errors import UsageError
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.models import precision
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.precision import multiply_in_bfloat16, resolve_precision
from cxrlens.models.registry import build_network
from cxrlens.saliency.explain import Row, explain_rows

CPU = torch.device("cpu")


def network_of(architecture: str) -> nn.Module:
    """With statistics as if it were trained."""
    torch.manual_seed(1)
    network = build_network(architecture).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.8, 1.2)
    return network


def images() -> Tensor:
    return torch.rand(2, 3, 75, 96, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("architecture", ["resnet18", "efficientnet_b0"])
def test_convolutions_alone_multiply_in_bfloat16(architecture: str) -> None:
    network = multiply_in_bfloat16(network_of(architecture))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.dtype == torch.bfloat16
        elif isinstance(module, nn.BatchNorm2d | nn.Linear):
            assert {each.dtype for each in module.parameters()} == {torch.float32}
    seen: list[torch.dtype] = []
    stage = next(module for name, module in network.named_modules() if name in ("layer2", "features.4"))
    stage.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    with torch.no_grad():
        logits = network(images())
    assert seen == [torch.bfloat16]
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float())  # logits have digits that bfloat16 has not


def test_a_product_is_that_of_rounded_factors_by_hand() -> None:
    """1.005 rounds to 1.0078125 in bfloat16, whose mantissa has 7 bits; the sum is rounded once more."""
    network = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Flatten(), nn.Linear(1, 1, bias=False))
    nn.init.constant_(network[0].weight, 1.005)
    nn.init.constant_(network[2].weight, 1.005)
    with torch.no_grad():
        found = multiply_in_bfloat16(network)(torch.full((1, 1, 1, 1), 1.005)).item()
    product = torch.tensor(1.0078125 * 1.0078125).bfloat16().item()
    assert found == pytest.approx(product * 1.005, rel=1e-6)


def test_maps_are_near_those_of_float32() -> None:
    network = network_of("resnet18")
    rows = [Row("normgrad_conv1x1", "combined"), Row("normgrad_scaling", "last"), Row("gradient", "input")]
    expected = explain_rows(network, images(), rows)
    found = explain_rows(multiply_in_bfloat16(copy.deepcopy(network)), images(), rows)
    assert found.resizes == expected.resizes
    for row, least in zip(rows, (0.99, 0.99, 0.9), strict=True):
        maps = torch.stack([expected.maps[row].flatten(), found.maps[row].flatten()])
        assert found.maps[row].dtype == torch.float32
        assert least < float(torch.corrcoef(maps)[0, 1]) < 1
    torch.testing.assert_close(found.logits, expected.logits, atol=0.05, rtol=0.02)


def test_a_copy_is_a_network_of_its_own() -> None:
    network = multiply_in_bfloat16(network_of("resnet18"))
    changed = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.zero_()
        assert not torch.equal(network(images()), changed(images()))


def test_a_precision_is_what_the_device_has_units_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for asked in ("has_bfloat16", "is_faster_in_bfloat16"):
        monkeypatch.setattr(precision, asked, lambda _device: False)
    assert resolve_precision("auto", CPU) == resolve_precision("f32", CPU) == "f32"
    with pytest.raises(UsageError, match=r"no units for bfloat16, .* leave the precision out"):
        resolve_precision("bf16", CPU)
    monkeypatch.setattr(precision, "has_bfloat16", lambda _device: True)
    for faster in (False, True):
        monkeypatch.setattr(precision, "is_faster_in_bfloat16", lambda _device, faster=faster: faster)
        assert resolve_precision("auto", CPU) == ("bf16" if faster else "f32")
        assert resolve_precision("bf16", CPU) == "bf16"
        assert resolve_precision("f32", CPU) == "f32"
    with pytest.raises(UsageError, match="unknown precision 'fp16': use auto, f32, bf16"):
        resolve_precision("fp16", CPU)


def test_a_model_is_loaded_in_a_precision_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda _device: True)
    card = ModelCard(architecture="resnet18", preprocessing=Preprocessing(height=75, width=96))
    save_model(tmp_path / "a.safetensors", network_of("resnet18"), card)
    plain = cxrlens.load(tmp_path / "a.safetensors", device="cpu")
    low = cxrlens.load(tmp_path / "a.safetensors", device="cpu", precision="bf16")
    assert (plain.precision, low.precision) == ("f32", "bf16")
    grey = images()[:, :1]
    first, second = plain.probabilities(grey), low.probabilities(grey)
    assert not torch.equal(first, second)
    torch.testing.assert_close(first, second, atol=0.02, rtol=0)
