"""The saliency engine against a plain forward pass, three libraries and the published procedure."""

from __future__ import annotations

import copy
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
VARIANT_CASES = ((224, 8), (64, 2))  # in the usual run, and in the quick one
MEMORY_CASE = (448, 4)


@dataclass(frozen=True)
class Timed:
    """Median milliseconds per image.

    Attributes:
        milliseconds: by contender.
        variants: of the seven rows with other memory formats and number types; empty where they did not take part.
    """

    architecture: str
    size: int
    batch: int
    milliseconds: dict[str, float]
    variants: dict[str, float]

    def ratio(self, over: str, under: str) -> float:
        return self.milliseconds[over] / self.milliseconds[under]


def time_all(*, quick: bool, repeats: int, progress: Callable[[str], None]) -> list[Timed]:
    """Every network, size and batch; all contenders of a case take turns, the slow ones in fewer rounds."""
    found = []
    for architecture in ARCHITECTURES:
        for size, batch in QUICK_CASES if quick else CASES:
            network, images = subject(architecture, size, batch, torch.channels_last)
            runs = {"forward": c.forward(network, images), **_explainers(network, images)}
            runs["published"] = c.published(network, images[:1])
            variants = _variants(network, images) if (size, batch) in VARIANT_CASES else {}
            slow = dict.fromkeys(("published", *variants), max(1, repeats // 2))
            seconds = medians({**runs, **variants}, repeats, slow)
            each = {name: 1e3 * value / (1 if name == "published" else batch) for name, value in seconds.items()}
            timed = Timed(
                architecture, size, batch, {name: each[name] for name in runs}, {name: each[name] for name in variants}
            )
            found.append(timed)
            progress(f"{architecture} {size} px, batch {batch}: " + ", ".join(
                f"{name} {value:.1f} ms" for name, value in each.items()))  # fmt: skip
            gc.collect()
    return found


def memory_all(*, quick: bool) -> dict[str, dict[str, float]]:
    """MiB saved for autograd, by network and contender; batch 4 at 448 px."""
    size, batch = (64, 2) if quick else MEMORY_CASE
    found = {}
    for architecture in ARCHITECTURES:
        network, images = subject(architecture, size, batch, torch.channels_last)
        c.ours(network, images, c.GRAD_CAM)()  # the trial of the closed form
        runs = _explainers(network, images)
        weights = [*network.parameters(), *network.buffers()]
        found[architecture] = {name: saved_bytes(run, weights) / 2**20 for name, run in runs.items()}
    return found


def subject(architecture: str, size: int, batch: int, layout: torch.memory_format) -> tuple[nn.Module, Tensor]:
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


def _variants(network: nn.Module, images: Tensor) -> dict[str, Callable[[], object]]:
    """The seven rows as they are not run by default: in torch's first memory format, and under autocast."""
    plain = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    usual = c.ours(network, images, c.SEVEN)

    def half() -> object:
        with torch.autocast("cpu", torch.bfloat16):
            return usual()

    return {
        "contiguous": c.ours(plain, images.contiguous(), c.SEVEN),
        "channels_last, bfloat16 autocast": half,
    }
