"""The saliency engine against a plain forward pass, three libraries and the published procedure."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks import contenders as c
from benchmarks.timing import lively, medians, saved_bytes
from cxrlens.models.registry import build_network

ARCHITECTURES = ("resnet34", "efficientnet_b0")
CASES = ((224, 8), (224, 1), (600, 8), (600, 1))
QUICK_CASES = ((64, 2), (64, 1))
MEMORY_CASE = (448, 4)


@dataclass(frozen=True)
class Timed:
    """Median milliseconds per image by contender."""

    architecture: str
    size: int
    batch: int
    milliseconds: dict[str, float]

    def ratio(self, over: str, under: str) -> float:
        return self.milliseconds[over] / self.milliseconds[under]


def time_all(*, quick: bool, repeats: int, progress: Callable[[str], None]) -> list[Timed]:
    """Every network, size and batch."""
    found = []
    for architecture in ARCHITECTURES:
        for size, batch in QUICK_CASES if quick else CASES:
            network, images = _subject(architecture, size, batch, torch.channels_last)
            runs = {"forward": c.forward(network, images), **_explainers(network, images)}
            seconds = medians(runs, repeats)
            milliseconds = {name: 1e3 * value / batch for name, value in seconds.items()}
            turns = max(1, repeats // 2) if batch == 1 else 1
            published = medians({"published": c.published(network, images[:1])}, turns)
            milliseconds["published"] = 1e3 * published["published"]
            found.append(Timed(architecture, size, batch, milliseconds))
            progress(f"{architecture} {size} px, batch {batch}: " + ", ".join(
                f"{name} {value:.1f} ms" for name, value in milliseconds.items()))  # fmt: skip
            gc.collect()
    return found


def memory_all(*, quick: bool) -> dict[str, dict[str, float]]:
    """MiB saved for autograd, by network and contender; batch 4 at 448 px."""
    size, batch = (64, 2) if quick else MEMORY_CASE
    found = {}
    for architecture in ARCHITECTURES:
        network, images = _subject(architecture, size, batch, torch.channels_last)
        c.ours(network, images, c.GRAD_CAM)()  # the trial of the closed form
        runs = _explainers(network, images)
        weights = [*network.parameters(), *network.buffers()]
        found[architecture] = {name: saved_bytes(run, weights) / 2**20 for name, run in runs.items()}
    return found


def variants(*, quick: bool, repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds per image of the seven rows with other memory formats and number types, batch 8 at 224 px."""
    size, batch = (64, 2) if quick else (224, 8)
    found = {}
    for architecture in ARCHITECTURES:
        network, images = _subject(architecture, size, batch, torch.contiguous_format)
        last = torch.channels_last
        usual = c.ours(network, images, c.SEVEN)
        seconds = medians({"contiguous": usual}, repeats)
        network.to(memory_format=last)
        usual = c.ours(network, images.to(memory_format=last), c.SEVEN)

        def half(usual: Callable[[], object] = usual) -> object:
            with torch.autocast("cpu", torch.bfloat16):
                return usual()

        seconds |= medians({"channels_last": usual, "channels_last, bfloat16 autocast": half}, min(repeats, 3))
        found[architecture] = {name: 1e3 * value / batch for name, value in seconds.items()}
    return found


def _subject(architecture: str, size: int, batch: int, layout: torch.memory_format) -> tuple[nn.Module, Tensor]:
    """A seeded network and random images for it, both in the memory format."""
    torch.manual_seed(0)
    network = lively(build_network(architecture), size).to(memory_format=layout)
    return network, torch.randn(batch, 3, size, size).to(memory_format=layout)


def _explainers(network: nn.Module, images: Tensor) -> dict[str, Callable[[], object]]:
    """Whoever makes maps of a batch: ours, and the libraries."""
    return {
        "Grad-CAM": c.ours(network, images, c.GRAD_CAM),
        "seven rows": c.ours(network, images, c.SEVEN),
        "pytorch-grad-cam": c.pytorch_grad_cam(network, images),
        "torch-cam": c.torch_cam(network, images),
        "captum": c.captum(network, images),
    }
