"""`ImageResult`: peak, maps and contours by hand, of an image that is neither square nor free of padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

import cxrlens
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.model_facts import ModelFacts, ModelIdentity
from cxrlens.inspection.record import ImageRecord
from cxrlens.inspection.result import ImageMap, ImageResult, InputMap
from cxrlens.models.card import ModelCard

STORED = (60, 120)  # of the input's 40 x 40 it takes rows 10 to 29: a pixel of the map is 3 x 3 stored ones
CARD = ModelCard(
    architecture="resnet18", preprocessing=Preprocessing(height=40, width=40, resize="letterbox"), threshold=0.4
)
MODEL = ModelIdentity("model.safetensors")


def whole(method: str = "grad_cam", *, flat: bool = False) -> InputMap:
    """A map whose padding is highest, with an object far from the diagonal in the image."""
    values = np.ones((40, 40), np.float32)
    image = values[10:30]
    image[:] = 0.2
    if not flat:
        image[4:7, 30:36] = 0.6
        image[5, 33] = 0.7
    return InputMap(method, "last", values, False)


def result(*maps: InputMap, probability: float = 0.75) -> ImageResult:
    return ImageResult.of(probability, CARD, MODEL, STORED, maps)


def test_maps_are_of_the_image_alone_and_scaled_by_its_range() -> None:
    (map_,) = result(whole()).explanations
    assert (map_.values.shape, map_.values.dtype) == ((20, 40), np.float32)
    expected = np.zeros((20, 40))
    expected[4:7, 30:36] = (0.6 - 0.2) / (0.7 - 0.2)
    expected[5, 33] = 1
    np.testing.assert_allclose(map_.values, expected, atol=1e-6)
    assert map_.peak == (5, 33)
    assert not map_.flat


def test_peak_and_maps_are_in_stored_pixels() -> None:
    found = result(whole())
    assert (found.height, found.width) == STORED
    assert found.peak == (16, 100)  # (5 + 0.5) * 3 - 0.5, (33 + 0.5) * 3 - 0.5
    assert found.maps.keys() == {"grad_cam"}
    stored = found.maps["grad_cam"]
    assert (stored.shape, stored.dtype) == (STORED, np.float32)
    values = torch.from_numpy(found.explanations[0].values)[None, None]
    other = functional.interpolate(values, STORED, mode="bilinear", align_corners=False)[0, 0]
    np.testing.assert_allclose(stored, other, atol=1e-5)
    assert np.unravel_index(stored.argmax(), STORED) == found.peak
    assert found.maps is found.maps  # made once


def test_contours_are_in_stored_pixels() -> None:
    (polygon,) = result(whole()).contours
    x, y = np.array(polygon).T
    # Half the maximum lies 0.5 / 0.8 of the way from a background pixel to the object.
    way = 0.5 / 0.8
    for found, first, last in ((x, 30, 35), (y, 4, 6)):
        expected = (first - 1 + way + 0.5) * 3 - 0.5, (last + 1 - way + 0.5) * 3 - 0.5
        assert (found.min(), found.max()) == pytest.approx(expected, abs=0.06)


def test_a_flat_map_has_no_peak_and_no_contours() -> None:
    found = result(whole("a", flat=True), whole("b"))
    assert (found.flat, found.peak, found.contours) == (("a",), None, ())
    assert not found.maps["a"].any()
    other = found.with_maps(found.explanations[1])
    assert (other.flat, other.method, other.peak) == ((), "b", (16, 100))
    assert other.fields() | {"flat": True} != found.fields()


def test_a_tie_falls_by_its_seed() -> None:
    values = np.zeros((40, 40), np.float32)
    values[12:20, 5:30] = 1
    tied = InputMap("m", "last", values, False)
    geometry = CARD.preprocessing.geometry(*STORED)
    peaks = {ImageMap.cut(tied, geometry, seed).peak for seed in (0, (0, 1), (0, 2), (3, 7))}
    assert len(peaks) > 1
    assert all(peak is not None and 2 <= peak[0] < 10 and 5 <= peak[1] < 30 for peak in peaks)
    assert ImageMap.cut(tied, geometry).peak == ImageMap.cut(tied, geometry, 0).peak


@pytest.mark.parametrize("probability", [0.1, 0.4, 0.9])
def test_the_fields_are_those_of_a_record(probability: float) -> None:
    found = result(whole(), probability=probability)
    assert found.decision == ("affected" if probability >= 0.4 else "normal")
    assert found.is_flagged == (probability >= 0.4)
    assert found.triage is None
    record = ImageRecord(name="a.png", **found.fields())
    assert record.model_dump(include=found.fields().keys()) == found.fields()
    assert (record.probability, record.peak, record.flat) == (probability, (16, 100), False)
    assert "threshold 0.4" in record.reason


def test_without_maps_there_is_neither_method_nor_place() -> None:
    found = result()
    assert (found.map, found.method, found.layers, found.peak, found.contours) == (None, "", "", None, ())
    assert (found.maps, found.flat) == ({}, ())
    ImageRecord(name="a.png", **found.fields())


def test_the_public_name_is_the_same_class() -> None:
    assert cxrlens.Check is ImageResult


def test_the_facts_of_a_model_are_those_of_its_file(tmp_path) -> None:
    file = tmp_path / "other.safetensors"
    file.write_bytes(b"abc")
    link = tmp_path / "model.safetensors"
    link.symlink_to(file)
    facts = ModelFacts.now(ModelIdentity.of_file(link), CARD, method="m", layers="last")
    assert facts.model == "other.safetensors"
    assert facts.model_sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (facts.threshold, facts.review_threshold, facts.method, facts.layers) == (0.4, None, "m", "last")
    assert (facts.cxrlens_version, bool(facts.created)) == (cxrlens.__version__, True)
    assert MODEL.sha256 == ""
    assert (ModelIdentity.of_file(link).label, MODEL.label) == (tmp_path.name, MODEL.name)
