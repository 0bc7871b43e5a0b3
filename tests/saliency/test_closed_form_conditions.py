"""The closed form under autocast, from threads, and when its network is gone; all layer methods under autocast."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from tiny_networks import LAYER_METHODS, PLACED, Tiny, efficientnet_b0, resnet18
from torch import Tensor, nn

import cxrlens
from cxrlens.saliency import pooled_head
from cxrlens.saliency.capture import capture
from waiting import PATIENCE

BFLOAT16 = 2.0**-7  # relative: twice the rounding of one of its numbers, which has 8 binary digits
NETWORKS = [(Tiny, "features.3"), (resnet18, "layer4.1"), (efficientnet_b0, "features.8.2")]


@pytest.mark.parametrize(("build", "layer"), NETWORKS)
def test_under_autocast_the_closed_form_equals_autograd(
    build: Any, layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Autograd rounds its gradient to bfloat16, the closed form does not; the activations are the same ones."""
    network = build()
    torch.manual_seed(70)
    images = torch.randn(2, 3, 64, 96)
    with torch.autocast("cpu", torch.bfloat16):
        _, first = capture(network, images, [layer], 1)
        assert pooled_head.run_closed_form(network, images, layer) is not None
        monkeypatch.setattr(torch.autograd, "grad", None)  # from here on a backward pass would fail
        _, second = capture(network, images, [layer], 1)
    torch.testing.assert_close(second[layer].activation, first[layer].activation, rtol=0, atol=0)
    largest = float(first[layer].gradient.abs().max())
    assert largest > 0
    torch.testing.assert_close(second[layer].gradient, first[layer].gradient, rtol=BFLOAT16, atol=0)


class Meeting(Tiny):
    """Forward passes wait in the middle for each other, so that those of several threads overlap."""

    barrier: threading.Barrier | None = None

    def tail(self, features: Tensor) -> Tensor:
        if self.barrier is not None:
            self.barrier.wait(PATIENCE)
        return super().tail(features)


@pytest.mark.parametrize("known", [False, True], ids=["first pass", "closed form"])
def test_threads_share_a_network(known: bool) -> None:
    """Three threads with images and targets of their own, judging the head at once or all in closed form."""
    torch.manual_seed(71)
    batches = [torch.randn(2, 3, 16, 20), torch.randn(3, 3, 24, 12), torch.randn(1, 3, 20, 32)]
    targets = [0, 1, "predicted"]
    other = Meeting(seed=1)
    alone = [capture(other, images, ["features.3"], target) for images, target in zip(batches, targets, strict=True)]
    for _ in range(5):
        network = Meeting(seed=1)
        if known:
            capture(network, batches[0], ["features.3"], 1)
            assert pooled_head.run_closed_form(network, batches[0], "features.3") is not None
        network.barrier = threading.Barrier(3)
        found: dict[int, Any] = {}

        def work(index: int, network: nn.Module = network, found: dict[int, Any] = found) -> None:
            for _ in range(3):
                found[index] = capture(network, batches[index], ["features.3"], targets[index])

        threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for index, (logits, captured) in enumerate(alone):
            torch.testing.assert_close(found[index][0], logits)
            torch.testing.assert_close(found[index][1]["features.3"].activation, captured["features.3"].activation)
            torch.testing.assert_close(found[index][1]["features.3"].gradient, captured["features.3"].gradient)


@pytest.mark.parametrize("methods", [LAYER_METHODS, ["guided_grad_cam"], ["captum:LayerGradCam"]], ids=str)
def test_a_network_that_was_explained_can_go(methods: list[str]) -> None:
    network = Tiny()
    for _ in range(2):
        cxrlens.explain(network, torch.rand(1, 3, 16, 20), methods=methods, layers="features.3")
    gone = weakref.ref(network)
    del network
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    "layers", ["features.0", "features.1", "features.2", "features.3", ["features.0", "features.3"]]
)
def test_autocast_maps_of_every_method_stay_close_to_float32(layers: Any) -> None:
    """The maps are finite, and their values and ranks follow those of float32.

    They follow least where a layer feeds a ReLU: values that bfloat16 rounds across 0 open or close its gradient.
    """
    network = Tiny(seed=4)
    torch.manual_seed(72)
    images = torch.randn(2, 3, 48, 64)
    usual = cxrlens.explain(network, images, methods=PLACED, layers=layers)
    with torch.autocast("cpu", torch.bfloat16):
        half = cxrlens.explain(network, images, methods=PLACED, layers=layers)
    for id_ in PLACED:
        assert half[id_].dtype == torch.float32
        assert half[id_].isfinite().all(), id_
        assert torch.equal(half.flat[id_], usual.flat[id_]), id_
        for index in torch.nonzero(~usual.flat[id_])[:, 0].tolist():
            pair = half[id_][index].flatten().numpy(), usual[id_][index].flatten().numpy()
            assert np.corrcoef(*pair)[0, 1] > 0.98, id_
            assert stats.spearmanr(*pair).statistic > 0.95, id_
