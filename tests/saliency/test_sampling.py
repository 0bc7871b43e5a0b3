"""Input gradients, SmoothGrad, integrated gradients and RISE against captum and against direct sums; captum by name."""

from __future__ import annotations

import os
import sys

import pytest
import torch
from captum import attr
from captum.attr import InputXGradient, IntegratedGradients, Saliency
from tiny_networks import Tiny, resnet18, scaled
from torch import Tensor, nn

import cxrlens
from cxrlens.errors import UsageError
from cxrlens.saliency.methods import METHODS, find_method, sampling
from cxrlens.saliency.methods.sampling import random_masks


@pytest.fixture(autouse=True)
def _few_samples(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sampling, "_MASKS", 45)
    monkeypatch.setattr(sampling, "_NOISY", 6)


@pytest.mark.parametrize("target", [0, 1])
def test_gradients_equal_captums(target: int):
    network = resnet18()
    torch.manual_seed(40)
    images = torch.randn(2, 3, 48, 64)
    ids = ["gradient", "input_x_gradient", "integrated_gradients"]
    found = cxrlens.explain(network, images, methods=ids, target=target)
    path = IntegratedGradients(network).attribute(images, target=target, n_steps=32, method="riemann_middle")
    for id_, oracle in (
        ("gradient", Saliency(network).attribute(images.clone(), target=target)),
        ("input_x_gradient", InputXGradient(network).attribute(images.clone(), target=target)),
        ("integrated_gradients", path),
    ):
        torch.testing.assert_close(found[id_], scaled(oracle.detach().float().abs().sum(1)), rtol=0, atol=1e-4)


def test_smoothgrad_is_the_mean_gradient_under_noise():
    network = Tiny()
    images = torch.randn(2, 3, 18, 26)
    found = cxrlens.explain(network, images, methods="smoothgrad", seed=5)["smoothgrad"]
    stream = torch.Generator().manual_seed(5)
    total = torch.zeros_like(images)
    for _ in range(6):
        noise = torch.randn(3, 18, 26, generator=stream)
        for index, image in enumerate(images):
            noisy = (image + 0.15 * (image.max() - image.min()) * noise)[None].requires_grad_()
            total[index] += torch.autograd.grad(network(noisy)[0, 1], noisy)[0][0]
    torch.testing.assert_close(found, scaled(total.abs().sum(1)), rtol=0, atol=1e-5)


def test_rise_is_the_score_weighted_sum_of_its_masks():
    network = Tiny(seed=3)
    images = 3 * torch.randn(2, 3, 18, 26)
    found = cxrlens.explain(network, images, methods="rise", seed=5, target=torch.tensor([1, 0]))["rise"]
    stream = torch.Generator().manual_seed(5)
    masks = torch.cat(list(random_masks(45, 18, 26, stream, at_once=45)))
    expected = torch.zeros(2, 18, 26)
    for mask in masks:
        with torch.no_grad():
            probability = network(images * mask).softmax(1)
        expected += torch.stack([probability[0, 1], probability[1, 0]])[:, None, None] * mask
    torch.testing.assert_close(found, scaled(expected), rtol=0, atol=1e-4)


def test_masks_keep_half_are_shifted_and_seeded():
    masks = torch.cat(list(random_masks(400, 30, 45, torch.Generator().manual_seed(1), at_once=7)))
    assert masks.shape == (400, 30, 45)
    assert -1e-6 < masks.min() < 0.01
    assert 0.99 < masks.max() < 1 + 1e-6
    torch.testing.assert_close(masks.mean(0), torch.full((30, 45), 0.5), rtol=0, atol=0.1)
    (again,) = random_masks(400, 30, 45, torch.Generator().manual_seed(1), at_once=400)
    assert torch.equal(masks, again)


class Spot(nn.Module):
    """Affected when it is bright around one place."""

    def forward(self, images: Tensor) -> Tensor:
        evidence = images[:, :, 8:12, 30:36].mean((1, 2, 3))
        return torch.stack([-evidence, evidence], 1)


def test_rise_points_at_the_evidence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sampling, "_MASKS", 600)
    map_ = cxrlens.explain(Spot().eval(), torch.full((1, 3, 28, 56), 3.0), methods="rise")["rise"][0]
    row, column = divmod(int(map_.argmax()), 56)
    assert abs(row - 10) <= 4
    assert abs(column - 33) <= 8


@pytest.mark.parametrize("id_", ["smoothgrad", "integrated_gradients", "rise", "gradient", "guided_backprop"])
def test_a_batch_equals_its_images_one_by_one_and_is_seeded(id_: str):
    network = Tiny(seed=6)
    images = torch.randn(3, 3, 18, 26)
    together = cxrlens.explain(network, images, methods=id_)[id_]
    alone = torch.cat([cxrlens.explain(network, image[None], methods=id_)[id_] for image in images])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-3)
    torch.testing.assert_close(cxrlens.explain(network, images, methods=id_)[id_], together)
    if id_ in ("smoothgrad", "rise"):
        assert not torch.equal(cxrlens.explain(network, images, methods=id_, seed=1)[id_], together)


def test_every_registered_method_runs_on_any_network_and_is_in_its_place():
    images = torch.randn(2, 3, 18, 26)
    found = cxrlens.explain(Tiny(seed=7), images, methods=list(METHODS), layers="features.1")
    for id_, maps in found.items():
        assert maps.shape == (2, 18, 26), id_
        assert not found.flat[id_].any(), id_


@pytest.mark.parametrize(
    ("name", "own"),
    [("Saliency", "gradient"), ("InputXGradient", "input_x_gradient"), ("LayerGradCam", "linear_approximation")],
)
def test_captum_by_name_equals_ours(name: str, own: str):
    network = Tiny(seed=8)
    images = torch.randn(2, 3, 18, 26)
    id_ = f"captum:{name}"
    found = cxrlens.explain(network, images, methods=[id_, own], layers="features.3")
    torch.testing.assert_close(found[id_], found[own], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["Occlusion", "FeatureAblation", "GradientShap", "ShapleyValueSampling", "KernelShap"])
def test_captums_perturbations_are_given_what_they_need(name: str):
    network, images = Tiny(seed=8, classes=1), torch.randn(2, 3, 18, 26)
    found = cxrlens.explain(network, images, methods=f"captum:{name}")
    assert found[f"captum:{name}"].shape == (2, 18, 26)
    state, environment = torch.get_rng_state(), dict(os.environ)
    again = cxrlens.explain(network, images, methods=f"captum:{name}")
    assert torch.equal(torch.get_rng_state(), state)
    assert dict(os.environ) == environment
    torch.testing.assert_close(again[f"captum:{name}"], found[f"captum:{name}"])


@pytest.mark.parametrize(
    ("name", "message"),
    [("Salienci", "Saliency"), ("NeuronGradient", "no attribution class"), ("NoiseTunnel", "no attribution class")],
)
def test_captum_classes_that_do_not_fit_are_refused(name: str, message: str):
    with pytest.raises(UsageError, match=message):
        find_method(f"captum:{name}")


def test_captums_own_refusal_is_one_sentence():
    with pytest.raises(UsageError, match="captum's DeepLift cannot explain this network"):
        cxrlens.explain(resnet18(), torch.rand(1, 3, 32, 32), methods="captum:DeepLift")
    with pytest.raises(UsageError, match="one layer at a time"):
        cxrlens.explain(resnet18(), torch.rand(1, 3, 32, 32), methods="captum:LayerGradCam", layers="combined")


@pytest.mark.parametrize("name", ["InputXGradient", "GuidedGradCam"])
def test_grey_networks_get_magnitudes_from_captum(name: str):
    network = Tiny(seed=8)
    network.features[0] = nn.Conv2d(1, 6, 3, stride=2, padding=1)
    images = torch.randn(2, 1, 18, 26)
    found = cxrlens.explain(network.eval(), images, methods=f"captum:{name}", layers="features.3")
    attribution = getattr(attr, name)
    built = attribution(network, network.features[3]) if name == "GuidedGradCam" else attribution(network)
    expected = built.attribute(images.clone(), target=1).detach()[:, 0].abs()
    assert (expected > 0).any()
    torch.testing.assert_close(found[f"captum:{name}"], scaled(expected), rtol=0, atol=1e-5)


def test_captum_out_of_memory_goes_on_with_half_the_batch(monkeypatch: pytest.MonkeyPatch):
    class Narrow(Tiny):
        def forward(self, images: Tensor) -> Tensor:
            if len(images) > 2:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            return super().forward(images)

    images = torch.randn(4, 3, 18, 26)
    found = cxrlens.explain(Narrow(seed=8), images, methods="captum:Saliency")
    expected = cxrlens.explain(Tiny(seed=8), images, methods="captum:Saliency")
    torch.testing.assert_close(found["captum:Saliency"], expected["captum:Saliency"])


def test_without_captum_it_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(UsageError, match="pip install captum"):
        find_method("captum:Saliency")
