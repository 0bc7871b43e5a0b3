"""A trained model with everything it needs: from a radiograph to a probability, a decision and maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from pydicom import Dataset
from torch import Tensor, nn

from cxrlens.devices import resolve_device
from cxrlens.errors import UsageError
from cxrlens.inputs.dataset.layouts import AFFECTED
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import Radiograph, from_array, read
from cxrlens.inputs.readers.display import remarks_on_picture
from cxrlens.inspection.model_facts import ModelIdentity
from cxrlens.inspection.result import ImageResult, InputMap, TieSeed
from cxrlens.models.calibration import Triage
from cxrlens.models.card import ModelCard
from cxrlens.models.location import model_path
from cxrlens.models.model_file import load_model
from cxrlens.models.precision import Precision, multiply_in_bfloat16, resolve_precision
from cxrlens.saliency.capture import find_layer
from cxrlens.saliency.explain import LAYER_CHOICES, Row, RowMaps, explain_rows, make_row, resolve_layers
from cxrlens.saliency.fusion import DEFAULT_FUSION, Fusion
from cxrlens.saliency.memory import is_out_of_memory
from cxrlens.saliency.methods import find_method
from cxrlens.saliency.resizing import DEFAULT_RESIZE, MapResize
from cxrlens.saliency.target import Target, as_logits

ImageInput: TypeAlias = str | Path | bytes | Dataset | Radiograph | npt.NDArray  # type: ignore[type-arg]

DEFAULT_METHOD = "normgrad_conv1x1"
DEFAULT_LAYERS = "combined"


class QualityModel:
    """A network with its card, on a device.

    Attributes:
        network: in evaluation mode, gives logits (normal, affected).
        card: of the model file.
        device: where it runs.
        identity: of the model file that it was loaded from.
        precision: "f32", or "bf16": see `multiply_in_bfloat16`, which is done with the network that is given.
    """

    def __init__(
        self,
        network: nn.Module,
        card: ModelCard,
        device: torch.device,
        identity: ModelIdentity | None = None,
        *,
        precision: Precision = "f32",
    ) -> None:
        if precision == "bf16":
            multiply_in_bfloat16(network)
        self.precision = precision
        self.network = network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.card = card
        self.device = device
        self.identity = identity or ModelIdentity(card.architecture)

    @property
    def preprocessing(self) -> Preprocessing:
        return self.card.preprocessing

    def logits(self, grey: Tensor) -> Tensor:
        """Grey images [N, 1, h, w] in [0, 1] at the input size -> the network's logits [N, 2] on the CPU."""
        try:
            with torch.no_grad():
                return as_logits(self.network(self._input(grey))).cpu()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise UsageError(
                f"{len(grey)} images of {self.preprocessing.size} at once do not fit into the memory of {self.device} "
                "with this model; use a smaller batch, or `device=cpu`"
            ) from error

    def probabilities(self, grey: Tensor) -> Tensor:
        """Grey images [N, 1, h, w] in [0, 1] at the input size -> probability of affected [N], see `probability_of`."""
        return self.probability_of(self.logits(grey))

    def probability_of(self, logits: Tensor) -> Tensor:
        """The probability of affected that this model gives for its network's logits [N, 1 or 2]: [N] on the CPU.

        The network's own softmax; by a calibrated model the calibrated probability at the site's prevalence, in
        float64, so that probabilities near 1 stay apart. NaN where a logit is not finite.
        """
        calibration = self.card.calibration
        found = affected_probability(logits).cpu()
        if calibration is not None:
            found = calibration.log_odds(affected_log_odds(logits)).sigmoid()
        return found.masked_fill(~as_logits(logits).isfinite().all(1).cpu(), torch.nan)

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

        They cover the whole input, padding included.
        """
        return explain_rows(self.network, self._input(grey), rows, target=target, fusion=fusion, seed=seed)

    def check_rows(self, rows: Sequence[Row], fusion: Fusion = DEFAULT_FUSION) -> None:
        """Refuse before any work a row that cannot be computed.

        Raises:
            UsageError: on an unknown method or layer, the near matches being listed, or on layer weights that do not
                fit the layers.
        """
        counts = []
        for row in rows:
            if not find_method(row.method).has_layers:
                continue
            shape = (3, self.preprocessing.height, self.preprocessing.width)
            names = resolve_layers(self.network, row.layers, shape)
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
        grid: str = DEFAULT_RESIZE.grid,
        interpolation: str = DEFAULT_RESIZE.interpolation,
        flip: bool = False,
        assess_any: bool = False,
    ) -> ImageResult:
        """Check one radiograph.

        The result of an image that surely is no frontal chest radiograph, or shows nothing, says so: its triage is
        "not_assessable", it has no decision and no maps. So does that of one for which the network gives no number.

        Args:
            image: a path, the bytes of a file, a DICOM data set, or an array [H, W] or [H, W, 3] (float in [0, 1],
                uint8 or uint16), bright = dense. Or a `Radiograph`; read one of a large JPEG with
                ``at_least=model.preprocessing.decoded_at_least`` to get the very probability of the other forms.
            methods: ids of the maps to draw.
            layers: "last", "combined", a module name, or several names, see `cxrlens.explain`.
            target: the class to explain, see `cxrlens.explain`.
            smooth: sigma of a Gaussian over the map at input size.
            grid: where a layer's cells lie, see `cxrlens.explain`; likewise ``interpolation`` and ``flip``.
            assess_any: judge the image whatever it shows, see `ImageResult.with_remarks`.

        Raises:
            UnreadableImageError: when the image cannot be read.
            UsageError: on an unknown method, layer, target, grid or interpolation, or an image of none of these kinds.
        """
        radiograph = as_radiograph(image, at_least=self.preprocessing.decoded_at_least)
        stored = radiograph.height, radiograph.width
        ids = [methods] if isinstance(methods, str) else methods
        rows = [make_row(id_, layers) for id_ in ids]
        grey = torch.from_numpy(self.preprocessing.resized(radiograph.pixels, stored))[None]
        fusion = Fusion(smooth=smooth, resize=MapResize(grid, interpolation), flip=flip)
        result = next(self.inspect(grey, [stored], rows, target=target, fusion=fusion))
        return result.with_remarks(radiograph.remarks, assess_any=assess_any)

    def inspect(
        self,
        grey: Tensor,
        stored: Sequence[tuple[int, int]],
        rows: Sequence[Row] = (),
        *,
        target: Target = "affected",
        fusion: Fusion = DEFAULT_FUSION,
        seed: int = 0,
        tie_seeds: Sequence[TieSeed] | None = None,
    ) -> Iterator[ImageResult]:
        """The results of a batch, from one pass; one after the other, as the maps of many rows take much memory.

        The result of an image for which the network gives no number says so, see `ImageResult.not_assessed`.

        Args:
            grey: [N, 1, h, w] in [0, 1] at the input size.
            stored: (height, width) of each stored image.
            rows: methods and layers of the maps; none are made without.
            target: the class to explain, see `cxrlens.explain`.
            seed: of methods that draw random numbers.
            tie_seeds: of each image, see `TieSeed`; by default 0.
        """
        explained = self.explain_rows(grey, rows, target=target, fusion=fusion, seed=seed) if rows else None
        logits = explained.logits if explained else self.logits(grey)
        seeds = [0] * len(stored) if tie_seeds is None else tie_seeds
        shown = grey.cpu().numpy()[:, 0]
        for index, probability in enumerate(self.probability_of(logits).tolist()):
            whole = input_maps(explained, index) if explained else []
            yield ImageResult.of(
                probability,
                self.card,
                self.identity,
                stored[index],
                whole,
                grey=shown[index],
                tie_seed=seeds[index],
            )

    def decision(self, probability: float) -> str:
        """ "affected" from the card's threshold on, else "normal"."""
        return self.card.decision(probability)

    def triage(self, probability: float) -> Triage | None:
        """ "retake" from the card's threshold on, "review" from the calibration's on, else "pass"; None without one.

        Of an image, `ImageResult.triage` holds, as its remarks count too.
        """
        return self.card.triage(probability)

    def _input(self, grey: Tensor) -> Tensor:
        return self.preprocessing.normalized(grey.to(self.device))


def load(path: str | Path, *, device: str = "auto", precision: str = "f32") -> QualityModel:
    """Load a model file, or the best model of a run directory.

    Args:
        path: of the file or directory.
        device: "auto", "cpu", "cuda" ...
        precision: in which convolutions multiply: "f32"; "bf16", faster where there are units for it, with other last
            digits (docs/export.md says what that changes); or "auto", the fastest that the device has units for.

    Raises:
        UsageError: when the file is missing, damaged or of an unknown architecture, or the device is not there or lacks
            the precision.
    """
    if not isinstance(path, str | PathLike) or not str(path).strip():
        raise UsageError(f"`path` should be that of a model file or a run folder, or a kept model's name, not {path!r}")
    network, card = load_model(Path(path))
    there = resolve_device(device)
    identity = ModelIdentity.of_file(model_path(Path(path)))
    return QualityModel(network, card, there, identity, precision=resolve_precision(precision, there))


def affected_probability(logits: Tensor) -> Tensor:
    """The network's own probability, softmax of two logits or sigmoid of one: [N, 1 or 2] -> float32 [N]."""
    return as_logits(logits).float().softmax(1)[:, AFFECTED]


def affected_log_odds(logits: Tensor) -> Tensor:
    """The logit of `affected_probability`, float64 [N] on the CPU: exact also where that is 0 or 1."""
    normal, affected = as_logits(logits).cpu().double().unbind(1)
    return affected - normal


def input_maps(explained: RowMaps, index: int) -> list[InputMap]:
    """The maps of one image of a batch."""
    return [
        InputMap(
            row.method, row.layers, maps[index].cpu().numpy(), bool(explained.flat[row][index]), explained.resizes[row]
        )
        for row, maps in explained.maps.items()
    ]


def as_radiograph(image: ImageInput, *, at_least: tuple[int, int] | None = None) -> Radiograph:
    """An image in any form that `QualityModel.check` takes, as a radiograph; ``at_least`` as in `read`.

    Raises:
        UsageError: when it is none of them.
        UnreadableImageError: when the image cannot be read.
    """
    if isinstance(image, Radiograph):
        return image
    if isinstance(image, str | Path | bytes | Dataset):
        return read(image, at_least=at_least)
    if np.ndim(image) == 0:
        raise UsageError(
            "an image is a path, the bytes of a file, a DICOM data set of pydicom or an array [H, W] or [H, W, 3], not "
            f"of the type {type(image).__name__}"
        )
    found = from_array(image)
    return replace(found, remarks=remarks_on_picture(found.pixels, found.height, found.width))
