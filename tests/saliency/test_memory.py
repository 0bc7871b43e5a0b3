"""A batch that does not fit is halved, with the same maps; one image that does not fit is a sentence."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from tiny_networks import Tiny
from torch import Tensor

import cxrlens
from cxrlens.errors import UsageError
from cxrlens.saliency.explain import Row, explain_rows_in_turn
from cxrlens.saliency.fusion import Fusion
from cxrlens.saliency.resizing import PUBLISHED_RESIZE


class Small(Tiny):
    """Has memory for a few images at once."""

    room = 8

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.room:
            raise torch.OutOfMemoryError("out of memory: tried to allocate 2 GiB\nmore lines")
        return super().forward(images)


@pytest.mark.parametrize("target", ["affected", "predicted", torch.tensor([1, 0, 0, 1, 1, 0, 1])], ids=str)
@pytest.mark.parametrize("layers", ["features.3", ["features.0", "features.1", "features.3"]], ids=str)
def test_halves_give_the_maps_of_the_whole(layers: Any, target: Any, caplog: pytest.LogCaptureFixture):
    network = Small()
    images = torch.randn(7, 3, 18, 26)
    options: dict[str, Any] = {
        "methods": ["normgrad_conv1x1", "gradient", "smoothgrad"],
        "layers": layers,
        "target": target,
    }
    whole = cxrlens.explain(network, images, **options)
    network.room = 2
    with caplog.at_level(logging.WARNING):
        parts = cxrlens.explain(network, images, **options)
    assert "out of memory with 7 images at once; going on with 3" in caplog.text
    assert list(parts) == list(whole)
    for id_, maps in whole.items():
        torch.testing.assert_close(parts[id_], maps, rtol=0, atol=1e-4)
        assert torch.equal(parts.flat[id_], whole.flat[id_])
    torch.testing.assert_close(parts.logits, whole.logits)


def test_fusions_in_turn_are_halved_once(caplog: pytest.LogCaptureFixture):
    network, images = Small(), torch.randn(5, 3, 18, 26)
    row = Row("layer_cam", "features.1")
    wanted = [(Fusion(), [row]), (Fusion(flip=True, resize=PUBLISHED_RESIZE), [row])]
    whole = list(explain_rows_in_turn(network, images, wanted))
    network.room = 3
    with caplog.at_level(logging.WARNING):
        parts = list(explain_rows_in_turn(network, images, wanted))
    assert caplog.text.count("out of memory") == 1
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one.maps[row], other.maps[row], rtol=0, atol=1e-4)


def test_one_image_that_does_not_fit_is_a_sentence():
    network = Small()
    network.room = 0
    with pytest.raises(UsageError, match=r"one image of 18 x 26 px .* cpu \(out of memory: tried to allocate 2 GiB\)"):
        cxrlens.explain(network, torch.randn(3, 3, 18, 26), methods="grad_cam", layers="features.3")


def test_the_cpus_allocator_is_understood():
    class Full(Small):
        def forward(self, images: Tensor) -> Tensor:
            if len(images) > 2:
                raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
            return super().forward(images)

    assert cxrlens.explain(Full(), torch.randn(4, 3, 18, 26), methods="gradient")["gradient"].shape == (4, 18, 26)


def test_other_errors_pass():
    class Broken(Tiny):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        cxrlens.explain(Broken(), torch.randn(4, 3, 18, 26), methods="gradient")
