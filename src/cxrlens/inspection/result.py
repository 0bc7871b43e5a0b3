"""The result of one image, the same for every command, the server and the Python interface."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from cxrlens.errors import NotAssessedError
from cxrlens.evaluation.pointing_game import find_peak
from cxrlens.inputs.geometry import Geometry
from cxrlens.inputs.readers import Pixels, as_doubts, doubts, refusals
from cxrlens.inspection.model_facts import ModelIdentity
from cxrlens.inspection.record import ImageTriage
from cxrlens.models.card import NOT_ASSESSED, ModelCard
from cxrlens.models.distance import ImageDistance
from cxrlens.saliency.recorded_resize import NO_RESIZE, RecordedResize

TieSeed: TypeAlias = int | tuple[int, ...]
"""Decides between the pixels that share a map's highest value."""


class InputMap(NamedTuple):
    """A map of a network's whole input, padding included: values float32 [H, W] in [0, 1], all zero where flat."""

    method: str
    layers: str
    values: Pixels
    flat: bool
    resize: RecordedResize = NO_RESIZE


@dataclass(frozen=True, eq=False)
class ImageMap:
    """The map of one image by one method at one choice of layers.

    Attributes:
        method: id of the method; ``layers`` "input" for a method that reads no layer.
        values: float32 [h, w] in [0, 1]: the image at the network's scale, without padding.
        flat: True where the map is constant on the image, hence all zero.
        resize: by which it was brought to the network's input.
        tie_seed: of the peak, see `TieSeed`.
    """

    method: str
    layers: str
    values: Pixels
    flat: bool
    resize: RecordedResize = NO_RESIZE
    tie_seed: TieSeed = 0

    @classmethod
    def cut(cls, whole: InputMap, geometry: Geometry, tie_seed: TieSeed = 0) -> ImageMap:
        """The part of a map that shows the image, scaled to [0, 1] again by its own range there.

        Args:
            geometry: leads from the stored image to the network's input.
        """
        values, flat = whole.values, whole.flat
        if geometry.is_padded:
            values = geometry.cut(values)
            low, high = values.min(), values.max()
            if not high - low > 4 * np.finfo(np.float32).eps * max(abs(low), abs(high)):
                values, flat = np.zeros_like(values), True
            else:
                values = (values - low) / (high - low)
        return cls(whole.method, whole.layers, np.ascontiguousarray(values), flat, whole.resize, tie_seed)

    @cached_property
    def peak(self) -> tuple[int, int] | None:
        """(row, column) of the highest value, in pixels of ``values``; None where flat."""
        if self.flat:
            return None
        found = find_peak(self.values, seed=self.tie_seed)
        return found.row, found.column


@dataclass(frozen=True, eq=False)
class ImageResult:
    """The result of one radiograph by a model.

    Attributes:
        probability: of *affected*, in [0, 1]; NaN where the model gives none, see `QualityModel.probability_of`. Of an
            image that is `not_assessed` it means nothing.
        card: of the model; its thresholds make decision and triage.
        model: which model it was.
        geometry: leads from the stored image, whose height and width it has, to the maps.
        explanations: the maps, in the order in which they were asked for; the first one is the result's own.
        remarks: sentences on what looks wrong in the picture or was not taken as the file says, see
            `Radiograph.remarks`, and a `Refusal` where the image lies too far from those that the model knows; none of
            one in order.
        away: how far it lies from those; None where the model cannot tell.
    """

    probability: float
    card: ModelCard
    model: ModelIdentity
    geometry: Geometry
    explanations: tuple[ImageMap, ...] = ()
    remarks: tuple[str, ...] = ()
    away: ImageDistance | None = None

    @classmethod
    def of(
        cls,
        probability: float,
        card: ModelCard,
        model: ModelIdentity,
        stored: tuple[int, int],
        maps: Iterable[InputMap] = (),
        *,
        grey: Pixels | None = None,
        tie_seed: TieSeed = 0,
    ) -> ImageResult:
        """The result of an image of the stored (height, width), from what a network gives for it.

        Where that is no number there are no maps. What its distance speaks against is told by `with_remarks`.

        Args:
            grey: what the network was shown, [h, w] in [0, 1]; its distance is not known without.
        """
        geometry = card.preprocessing.geometry(*stored)
        explanations = tuple(ImageMap.cut(whole, geometry, tie_seed) for whole in maps)
        away = None if grey is None else card.distance_of(grey)
        result = cls(probability, card, model, geometry.without_padding(), explanations, away=away)
        return result.with_maps() if result.not_assessed else result

    @property
    def not_assessed(self) -> str:
        """Why the image cannot be judged, as sentences: its `refusals`, or that the model gives no number; else ""."""
        if self.refusals:
            return " ".join(self.refusals)
        return "" if 0 <= self.probability <= 1 else NOT_ASSESSED

    @property
    def decision(self) -> str:
        """ "affected" from the card's threshold on, else "normal".

        Raises:
            NotAssessedError: when the image cannot be judged, see `not_assessed`.
        """
        if self.not_assessed:
            raise NotAssessedError(self.not_assessed)
        return self.card.decision(self.probability)

    @property
    def triage(self) -> ImageTriage | None:
        """ "not_assessable" of an image that is `not_assessed`, whatever the model; else by a calibrated model "pass",
        "review" or "retake" (which is "affected"), and None by another.

        An image with `doubts` is at least to be reviewed: of what is not displayed, a probability says nothing.
        """
        return "not_assessable" if self.not_assessed else triage_of(self.card, self.probability, self.remarks)

    @property
    def reason(self) -> str:
        """Of the decision: part of a sentence, such as "probability 0.93 is at or above the retake threshold 0.62".

        Of an image that cannot be judged, why: see `not_assessed`.
        """
        return self.not_assessed or reason_of(self.card, self.probability, self.remarks)

    @property
    def refusals(self) -> tuple[str, ...]:
        """Those of the remarks by which the image cannot be judged, see `Refusal`."""
        return refusals(self.remarks)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Those of the remarks by which the picture may not be displayed as it was meant; see `Note`."""
        return doubts(self.remarks)

    @property
    def distance(self) -> float | None:
        """From the radiographs that the model knows, above 1 where it cannot judge; None where it cannot tell."""
        return None if self.away is None else self.away.value

    @property
    def is_flagged(self) -> bool:
        """True where a reader should look at the image: affected, to be reviewed, not assessed, or with doubts."""
        doubtful = bool(self.not_assessed) or bool(self.doubts)
        return doubtful or self.decision == "affected" or self.triage == "review"

    @property
    def height(self) -> int:
        """Of the stored image as seen upright, in pixels; likewise `width`."""
        return self.geometry.height

    @property
    def width(self) -> int:
        return self.geometry.width

    @property
    def map(self) -> ImageMap | None:
        """The first map; None where none was made."""
        return self.explanations[0] if self.explanations else None

    @property
    def method(self) -> str:
        """Id of the first map, "" without one; likewise `layers`."""
        return self.map.method if self.map else ""

    @property
    def layers(self) -> str:
        return self.map.layers if self.map else ""

    @property
    def resize(self) -> RecordedResize:
        """The resize of the first map; without a word where there is none."""
        return self.map.resize if self.map else NO_RESIZE

    @cached_property
    def maps(self) -> dict[str, Pixels]:
        """Per method id, float32 [height, width] in [0, 1], in pixels of the radiograph."""
        return {map_.method: self.geometry.backward_map(map_.values) for map_ in self.explanations}

    @property
    def flat(self) -> tuple[str, ...]:
        """Ids of the methods whose map is constant on the radiograph, hence all zero."""
        return tuple(map_.method for map_ in self.explanations if map_.flat)

    @property
    def peak(self) -> tuple[int, int] | None:
        """(row, column) of the first map's highest point, in pixels of the radiograph; None if it is flat or none."""
        if self.map is None or self.map.peak is None:
            return None
        return self.geometry.backward_pixel(*self.map.peak)

    @cached_property
    def contours(self) -> tuple[tuple[tuple[float, float], ...], ...]:
        """Closed polygons around what exceeds half the first map's maximum, points (x, y) in pixels of the radiograph.

        See `cxrlens.inspection.contours.half_maximum_contours`; none where the map is flat.
        """
        from cxrlens.inspection.contours import half_maximum_contours  # matplotlib takes long to import

        return half_maximum_contours(self.map.values, self.geometry) if self.map else ()

    def with_maps(self, *maps: ImageMap) -> ImageResult:
        """The same result with these of its maps, or with none."""
        return replace(self, explanations=maps)

    def with_remarks(self, remarks: Sequence[str], *, assess_any: bool = False) -> ImageResult:
        """The same result of an image of which this is remarked, beside its distance where that is too large.

        Where it thereby cannot be judged it has no maps.

        Args:
            assess_any: judge it all the same; each refusal is a doubt then.
        """
        known = self.card.distance
        refusal = known.refusal(self.away) if known is not None and self.away is not None else None
        said = (*remarks, *([refusal] if refusal else ()))
        result = replace(self, remarks=as_doubts(said) if assess_any else said)
        return result.with_maps() if result.not_assessed else result

    def fields(self) -> dict[str, Any]:
        """The fields that stand for a result in results.jsonl, the server's answers and DICOM; see `ImageRecord`."""
        is_judged = not self.not_assessed
        return {
            "reason": self.reason,
            "probability": self.probability if is_judged else None,
            "decision": self.decision if is_judged else None,
            "triage": self.triage,
            "height": self.height,
            "width": self.width,
            "method": self.method,
            "layers": self.layers,
            **asdict(self.resize),
            "flat": bool(self.flat),
            "peak": self.peak,
            "contours": self.contours,
            "distance": self.distance,
            "remarks": self.remarks,
            "doubts": self.doubts,
            "refusals": self.refusals,
        }


def with_remarks(
    results: Sequence[ImageResult], remarks: Sequence[Sequence[str]] | None, *, assess_any: bool = False
) -> list[ImageResult]:
    """The results of images, each with the remarks on its image, by default none, and on its distance."""
    both = zip(results, [()] * len(results) if remarks is None else remarks, strict=True)
    return [result.with_remarks(of_image, assess_any=assess_any) for result, of_image in both]


Check = ImageResult
"""The name under which `QualityModel.check` has always given its result."""


def triage_of(card: ModelCard, probability: float, remarks: Sequence[str] = ()) -> ImageTriage | None:
    """The triage of a calibrated model, None by another; with doubts among its remarks an image never passes, and with
    a `Refusal` it is "not_assessable", whatever the model.

    Raises:
        NotAssessedError: when the probability is no number in [0, 1].
    """
    triage = card.triage(probability)
    if refusals(remarks):
        return "not_assessable"
    return "review" if triage == "pass" and doubts(remarks) else triage


def reason_of(card: ModelCard, probability: float, remarks: Sequence[str] = ()) -> str:
    """One sentence part, such as "probability 0.93 is at or above the retake threshold 0.62".

    Where an image is reviewed for the doubts among its remarks alone, they are part of it.

    Raises:
        NotAssessedError: when the probability is no number in [0, 1].
    """
    card.decision(probability)
    if card.calibration is None:
        return _compared(probability, card.threshold, "threshold")
    review = card.calibration.review_threshold
    triage = card.triage(probability)
    if triage == "retake":
        return _compared(probability, card.threshold, "retake threshold")
    if triage == "pass":
        below = _compared(probability, review, "retake threshold" if review == card.threshold else "review threshold")
        said = " ".join(doubts(remarks)).rstrip(".")
        return f"{below}, but there are doubts about the picture: {said}" if said else below
    below = _compared(probability, card.threshold, "retake threshold")
    return f"{below}, but at or above the review threshold {_short(review, probability)}"


def _compared(probability: float, threshold: float, name: str) -> str:
    where = "at or above" if probability >= threshold else "below"
    return f"probability {_short(probability, threshold)} is {where} the {name} {_short(threshold, probability)}"


def _short(value: float, other: float) -> str:
    """Three decimals, or as many as it takes to tell it from the other value, and from 0 and 1 where it is neither."""
    taken = {_rounded(bound, 3) for bound in (0.0, 1.0) if bound != value}
    for decimals in range(3, 17):
        text = _rounded(value, decimals)
        if text not in taken and (text != _rounded(other, decimals) or value == other):
            return text
    return repr(value)


def _rounded(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".")
