"""The exported graph: probability and last-layer map of prepared images, without a backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cxrlens.inputs.dataset.layouts import AFFECTED
from cxrlens.models.card import ModelCard
from cxrlens.saliency.capture import Captured
from cxrlens.saliency.fusion import scale, upsample
from cxrlens.saliency.hooks import forward_hooks
from cxrlens.saliency.methods import SaliencyMethod
from cxrlens.saliency.target import as_logits, as_rows


class ExportedGraph(nn.Module):
    """A network behind a pooled linear head with its preprocessing, its probability and one map.

    Args:
        network: in evaluation mode, float32 on the CPU.
        card: of the model; preprocessing and calibration become part of the graph.
        method: a method that reads a layer.
        layer: name of the layer before the pooling.
        linear: the head, see `pooled_head.HeadPass`.
    """

    weight: Tensor

    def __init__(
        self, network: nn.Module, card: ModelCard, method: SaliencyMethod, layer: str, linear: nn.Linear
    ) -> None:
        super().__init__()
        self.network = network
        self._card = card
        self._method = method
        self._layer = layer
        self.register_buffer("weight", as_rows(linear.weight.detach())[AFFECTED].clone(), persistent=False)

    def forward(self, grey: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Grey images [N, 1, h, w] in [0, 1] at the input size -> logits [N, 2], probability, map, flat.

        The probability of affected, float64 [N], is that of `QualityModel.probability_of`; the map, float32
        [N, h, w] in [0, 1], that of `cxrlens.explain`, padding included; flat, bool [N], tells which are constant.
        """
        logits, activation = self._run(self._card.preprocessing.normalized(grey))
        log_odds = logits[:, 1].double() - logits[:, 0].double()
        if self._card.calibration is not None:
            log_odds = self._card.calibration.log_odds(log_odds)
        height, width = activation.shape[2:]
        gradient = (self.weight / (height * width))[None, :, None, None].expand_as(activation)
        raw = self._method.function(Captured(activation, gradient))
        maps, flat = scale(upsample(raw, (grey.shape[2], grey.shape[3])))
        flat = flat | ~logits[:, AFFECTED].isfinite()
        return logits, log_odds.sigmoid(), torch.where(flat[:, None, None], 0.0, maps), flat

    def _run(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The logits [N, 2], and the activation of the layer."""
        seen: list[Tensor] = []

        def see(_name: str, _inputs: tuple[Any, ...], output: Any) -> None:
            seen.append(output)

        with forward_hooks({self._layer: self.network.get_submodule(self._layer)}, see):
            logits = as_logits(self.network(images))
        (activation,) = seen
        return logits, activation
