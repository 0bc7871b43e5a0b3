"""The exported graph: probability and maps of prepared images, by forward operations alone."""

from __future__ import annotations

from torch import Tensor, nn

from cxrlens.models.card import ModelCard
from cxrlens.saliency.joint_graph.map_graph import MapGraph


class ExportedGraph(nn.Module):
    """A network with its preprocessing, its probability and its maps.

    Args:
        maps: of the network, float32.
        card: of the model; preprocessing and calibration become part of the graph.
    """

    def __init__(self, maps: MapGraph, card: ModelCard) -> None:
        super().__init__()
        self.maps = maps
        self._card = card

    def forward(self, grey: Tensor) -> tuple[Tensor, ...]:
        """Grey images [N, 1, h, w] in [0, 1] at the input size -> logits [N, 2], probability, map, flat, map, flat ...

        The probability of affected, float64 [N], is that of `QualityModel.probability_of`; a map, float32 [N, h, w] in
        [0, 1], that of `cxrlens.explain`, padding included; flat, bool [N], tells which are constant.
        """
        logits, maps, flat = self.maps(self._card.preprocessing.normalized(grey))
        log_odds = logits[:, 1].double() - logits[:, 0].double()
        if self._card.calibration is not None:
            log_odds = self._card.calibration.log_odds(log_odds)
        return logits, log_odds.sigmoid(), *(each for pair in zip(maps, flat, strict=True) for each in pair)
