"""A trained model with everything it needs: from a radiograph to a probability, a decision and maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy.typing as npt
import torch
from pydicom import Dataset
from torch import Tensor, nn

from cxrlens.devices import resolve_device
from cxrlens.evaluation.pointing_game import find_peak
from cxrlens.inputs.dataset.layouts import AFFECTED
from cxrlens.inputs.geometry import Geometry
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import Pixels, Radiograph, from_array, read
from cxrlens.inspection.result import Check
from cxrlens.models.calibration import Triage
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import load_model
from cxrlens.saliency.capture import find_layer
from cxrlens.saliency.explain import (
    DEFAULT_FUSION,
    LAYER_CHOICES,
    Fusion,
    Row,
    RowMaps,
    explain_rows,
    make_row,
    resolve_layers,
)
from cxrlens.saliency.fusion import scale
from cxrlens.saliency.methods import find_method
from cxrlens.saliency.target import Target, as_logits

ImageInput: TypeAlias = str | Path | bytes | Dataset | Radiograph | npt.NDArray  # type: ignore[type-arg]

DEFAULT_METHOD = "normgrad_conv1x1"
DEFAULT_LAYERS = "combined"


class QualityModel:
    """A network with its card, on a device.

    Attributes:
        network: in evaluation mode, gives logits (normal, affected).
        card: what the model file says.
        device: where it runs.
    """

    def __init__(self, network: nn.Module, card: ModelCard, device: torch.device) -> None:
        self.network = network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.card = card
        self.device = device

    @property
    def preprocessing(self) -> Preprocessing:
        return self.card.preprocessing

    def logits(self, grey: Tensor) -> Tensor:
        """Grey images [N, 1, h, w] in [0, 1] at the input size -> the network's logits [N, 2] on the CPU."""
        with torch.no_grad():
            return as_logits(self.network(self._input(grey))).cpu()

    def probabilities(self, grey: Tensor) -> Tensor:
        """Grey images [N, 1, h, w] in [0, 1] at the input size -> probability of affected [N], see `probability_of`."""
        return self.probability_of(self.logits(grey))

    def probability_of(self, logits: Tensor) -> Tensor:
        """The probability of affected that this model gives for its network's logits [N, 1 or 2]: [N] on the CPU.

        The network's own softmax; by a calibrated model the calibrated probability at the site's prevalence, in
        float64, so that probabilities near 1 stay apart.
        """
        if self.card.calibration is None:
            return affected_probability(logits).cpu()
        return self.card.calibration.log_odds(affected_log_odds(logits)).sigmoid()

    def explain_rows(
        self,
        grey: Tensor,
        rows: Sequence[Row],
        *,
        target: Target = "affected",
        fusion: Fusion = DEFAULT_FUSION,
        seed: int = 0,
    ) -> RowMaps:
        """Maps of grey images [N, 1, h, w] for each (method, layers) row, from one pass; see `cxrlens.explain`.

        They cover the whole input: `picture_maps` cuts its padding away.
        """
        return explain_rows(self.network, self._input(grey), rows, target=target, fusion=fusion, seed=seed)

    def check_rows(self, rows: Sequence[Row], fusion: Fusion = DEFAULT_FUSION) -> None:
        """Find out before any work whether every row can be computed.

        Raises:
            UsageError: on an unknown method or layer, the near matches being listed, or on layer weights that do not
                fit the layers.
        """
        counts = []
        for row in rows:
            if not find_method(row.method).has_layers:
                continue
            names = resolve_layers(self.network, row.layers)
            for name in names:
                find_layer(self.network, name, also=(*LAYER_CHOICES, "both"))
            counts.append(len(names))
        fusion.check(counts)

    def check(
        self,
        image: ImageInput,
        *,
        methods: str | Sequence[str] = DEFAULT_METHOD,
        layers: str | Sequence[str] = DEFAULT_LAYERS,
        target: Target = "affected",
        smooth: float | None = None,
    ) -> Check:
        """Check one radiograph.

        Args:
            image: a path, the bytes of a file, a DICOM data set, or an array [H, W] or [H, W, 3] (float in [0, 1],
                uint8 or uint16), bright = dense. Or a `Radiograph`; read one of a large JPEG with
                ``at_least=model.preprocessing.decoded_at_least`` to get the very probability of the other forms.
            methods: ids of the maps to draw.
            layers: "last", "combined", a module name, or several names, see `cxrlens.explain`.
            target: the class to explain, see `cxrlens.explain`.
            smooth: sigma of a Gaussian over the map at input size.

        Raises:
            UnreadableImageError: when the image cannot be read.
            UsageError: on an unknown method, layer or target.
        """
        radiograph = as_radiograph(image, at_least=self.preprocessing.decoded_at_least)
        ids = [methods] if isinstance(methods, str) else list(methods)
        rows = [make_row(id_, layers) for id_ in ids]
        grey = self.preprocessing.resized(radiograph.pixels, (radiograph.height, radiograph.width))
        result = self.explain_rows(torch.from_numpy(grey)[None], rows, target=target, fusion=Fusion(smooth=smooth))
        geometry = self.preprocessing.geometry(radiograph.height, radiograph.width)
        maps, flags = picture_maps(result, 0, geometry)
        inner = geometry.without_padding()
        flat = tuple(row.method for row in rows if flags[row])
        peak = None
        if rows and not flags[rows[0]]:
            found = find_peak(maps[rows[0]], seed=0)
            peak = inner.backward_pixel(found.row, found.column)
        probability = float(self.probability_of(result.logits)[0])
        return Check(
            probability=probability,
            decision=self.decision(probability),
            maps={row.method: inner.backward_map(maps[row]) for row in rows},
            peak=peak,
            flat=flat,
            triage=self.triage(probability),
        )

    def decision(self, probability: float) -> str:
        """ "affected" from the card's threshold on, else "normal"."""
        return self.card.decision(probability)

    def triage(self, probability: float) -> Triage | None:
        """ "retake" from the card's threshold on, "review" from the calibration's on, else "pass"; None without one."""
        return self.card.triage(probability)

    def _input(self, grey: Tensor) -> Tensor:
        return self.preprocessing.normalized(grey.to(self.device))


def load(path: str | Path, *, device: str = "auto") -> QualityModel:
    """Load a model file, or the best model of a run directory.

    Raises:
        UsageError: when the file is missing, damaged or of an unknown architecture, or the device is not there.
    """
    network, card = load_model(Path(path))
    return QualityModel(network, card, resolve_device(device))


def affected_probability(logits: Tensor) -> Tensor:
    """The network's own probability, softmax of two logits or sigmoid of one: [N, 1 or 2] -> float32 [N]."""
    return as_logits(logits).float().softmax(1)[:, AFFECTED]


def affected_log_odds(logits: Tensor) -> Tensor:
    """The logit of `affected_probability`, float64 [N] on the CPU: exact also where that is 0 or 1."""
    normal, affected = as_logits(logits).cpu().double().unbind(1)
    return affected - normal


def cut_to_picture(maps: Tensor, flat: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Maps [N, H, W] of the network's whole input, and which are flat [N], for the picture alone: [N, h, w] and [N].

    Where there is padding, what a map shows there is dropped, and each map is scaled to [0, 1] again by its range on
    the picture; one that is constant on the picture is flat. The images of the maps share the geometry's window.
    """
    if not geometry.is_padded:
        return maps, flat
    scaled, constant = scale(geometry.cut(maps))
    return scaled, flat | constant


def picture_maps(result: RowMaps, index: int, geometry: Geometry) -> tuple[dict[Row, Pixels], dict[Row, bool]]:
    """The maps of one image of a batch without padding, float32 [h, w] by row, and which rows are flat."""
    maps, flat = {}, {}
    for row, all_ in result.maps.items():
        map_, constant = cut_to_picture(all_[index : index + 1], result.flat[row][index : index + 1], geometry)
        maps[row], flat[row] = map_[0].cpu().numpy(), bool(constant[0])
    return maps, flat


def as_radiograph(image: ImageInput, *, at_least: tuple[int, int] | None = None) -> Radiograph:
    """Whatever `QualityModel.check` accepts, as a radiograph; ``at_least`` as in `cxrlens.inputs.readers.read`."""
    if isinstance(image, Radiograph):
        return image
    if isinstance(image, str | Path | bytes | Dataset):
        return read(image, at_least=at_least)
    return from_array(image)
