"""The distance from the training images: its features, its form, and the card that holds it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import mahalanobis
from torch.nn import functional

from cxrlens.errors import UsageError
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import Refusal, refusals
from cxrlens.models.card import ModelCard, parse_card
from cxrlens.models.distance import (
    ImageDistance,
    Mahalanobis,
    TrainingDistance,
    image_features,
    layout_features,
    texture_features,
)
from cxrlens.models.model_file import load_model, save_model
from known_radiographs import a_distance

SIZES = [(64, 48), (37, 90), (5, 7), (3, 2), (1, 9)]


def a_picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    rows, columns = np.mgrid[: size[0], : size[1]]
    spot = np.exp(-(((rows - 0.7 * size[0]) / size[0]) ** 2 + ((columns - 0.2 * size[1]) / size[1]) ** 2) / 0.1)
    return 0.2 + 0.5 * spot + 0.1 * np.random.default_rng(seed).random(size)


@pytest.mark.parametrize("size", SIZES)
def test_the_layout_is_the_pooled_image_by_its_own_mean_and_deviation(size: tuple[int, int]) -> None:
    picture = a_picture(size)
    pooled = functional.adaptive_avg_pool2d(torch.from_numpy(picture)[None, None], 4).flatten().numpy()
    np.testing.assert_allclose(layout_features(picture), (pooled - pooled.mean()) / (pooled.std() + 0.01))


@given(st.floats(0.5, 2), st.floats(-0.1, 0.3))
def test_brightness_and_contrast_are_no_part_of_the_layout(contrast: float, brightness: float) -> None:
    picture = a_picture((40, 33))
    layout, moved = layout_features(picture), layout_features(contrast * picture + brightness)
    np.testing.assert_allclose(np.corrcoef(moved, layout)[0, 1], 1)
    np.testing.assert_allclose(
        moved.std(), layout.std(), rtol=0.1
    )  # but for what keeps a flat image from dividing by 0
    np.testing.assert_allclose(layout_features(picture + brightness), layout)


def test_a_turned_image_has_a_turned_layout_and_an_inverted_one_its_negative() -> None:
    picture = a_picture((36, 52))
    layout = layout_features(picture).reshape(4, 4)
    np.testing.assert_allclose(layout_features(np.rot90(picture)).reshape(4, 4), np.rot90(layout))
    np.testing.assert_allclose(layout_features(1 - picture), -layout.ravel())


def test_the_texture_is_that_of_differences_and_theirs_of_pixels_and_of_means_of_two() -> None:
    nothing = np.log(1e-4)
    columns = np.tile([0.0, 0.4], (8, 4))  # steps of 0.4 along rows, back and forth; none along columns, nor of means
    expected = [np.log(0.4001), nothing, np.log(0.8001), nothing, *[nothing] * 4]
    np.testing.assert_allclose(texture_features(columns), expected)
    edge = np.kron([[0.0, 0.4]], np.ones((8, 4)))  # one step of seven, and of three; two kinks of six, and of two
    shares = [1 / 7, 2 / 6, 1 / 3, 2 / 2]
    expected = [each for share in shares for each in (np.log(0.4 * share + 1e-4), nothing)]
    np.testing.assert_allclose(texture_features(edge), expected)


@pytest.mark.parametrize("size", SIZES)
def test_a_transposed_image_has_the_texture_of_rows_for_that_of_columns(size: tuple[int, int]) -> None:
    picture = a_picture(size)
    found = texture_features(picture).reshape(4, 2)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(texture_features(picture.T).reshape(4, 2), found[:, ::-1])


@pytest.mark.parametrize("stored", [(90, 40), (40, 90), (64, 64), (300, 3)])
def test_the_padding_of_a_letterbox_does_not_count(stored: tuple[int, int]) -> None:
    preprocessing = Preprocessing(height=48, width=64, resize="letterbox")
    whole = preprocessing.resized(a_picture(stored).astype(np.float32))[0]
    shown = preprocessing.shown(whole)
    np.testing.assert_array_equal(shown, preprocessing.geometry(*stored).cut(whole))
    assert preprocessing.shown(np.zeros_like(whole)).shape == whole.shape
    stretched = Preprocessing(height=48, width=64)
    assert stretched.shown(whole).shape == whole.shape


def test_the_form_is_mahalanobis_distance_in_units_of_the_root_of_the_features() -> None:
    random = np.random.default_rng(1)
    factor, centre, points = random.normal(size=(5, 5)), random.normal(size=5), random.normal(size=(7, 5))
    form = Mahalanobis(centre=tuple(centre), whitening=tuple(map(tuple, factor)))
    expected = [mahalanobis(point, centre, factor.T @ factor) / np.sqrt(5) for point in points]
    np.testing.assert_allclose(form.of(points), expected)
    np.testing.assert_allclose(form.of(points[2]), expected[2])  # one alone is as among others


def test_what_lies_beyond_a_limit_is_refused_and_the_sentence_says_by_what() -> None:
    distance = a_distance()
    assert distance.refusal(ImageDistance(layout=1.0, texture=0.3)) is None
    turned = distance.refusal(ImageDistance(layout=2.345, texture=3.0))
    assert isinstance(turned, Refusal)
    assert refusals([turned]) == (turned,)
    assert "laid out otherwise" in turned
    assert "distance 3, limit 1; of 40 other radiographs 0 lie beyond it" in turned
    noisy = distance.refusal(ImageDistance(layout=0.5, texture=1.001))
    assert noisy is not None
    assert "fine structure" in noisy


def test_a_distance_is_that_of_each_kind_by_its_own_limit() -> None:
    distance, picture = a_distance(), a_picture((48, 64)).astype(np.float32)
    features = image_features(picture)
    found = distance.of(picture)
    for kind, value in (("layout", found.layout), ("texture", found.texture)):
        part = getattr(distance, kind)
        assert value == pytest.approx(float(part.of(features[kind])) / part.limit)
    assert found.value == max(found.layout, found.texture)


CARD = ModelCard(architecture="resnet18", preprocessing=Preprocessing(height=64, width=48))


def test_a_model_file_keeps_the_distance_to_its_last_digit(tmp_path: Path, build_lively: Any) -> None:
    card = CARD.model_copy(update={"distance": a_distance()})
    save_model(tmp_path / "model.safetensors", build_lively("resnet18"), card)
    _, loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.distance == card.distance


def test_a_card_without_a_distance_does_not_name_it() -> None:
    assert "distance" not in json.loads(CARD.to_metadata())
    assert parse_card(CARD.to_metadata(), "a.safetensors").distance is None


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("layout", "centre", 3), None, "layout.centre[3]"),
        (("texture", "whitening", 0), [1.0], "8 rows of as many numbers"),
        (("layout", "limit"), 0, "layout.limit should be above 0"),
        (("layout", "limit"), float("nan"), "finite"),
        (("texture", "whitening", 2, 2), float("inf"), "finite"),
        (("held_out", "images"), 0, "held_out.images"),
        (("held_out", "low"), -1, "held_out.low"),
        (("texture",), a_distance().layout.model_dump(), "texture should be one of 8 features, not 16"),
        (("more",), 1, "more"),
    ],
)
def test_broken_numbers_are_refused_when_the_file_is_loaded(path: tuple[Any, ...], value: Any, said: str) -> None:
    fields = json.loads(CARD.model_copy(update={"distance": a_distance()}).to_metadata())
    inner = fields["distance"]
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(UsageError, match=r"a\.safetensors: its model card cannot be read") as refused:
        parse_card(json.dumps(fields), "a.safetensors")
    assert said in str(refused.value)


def test_an_image_is_looked_at_in_the_levels_of_8_bits() -> None:
    picture = a_picture((40, 33)).astype(np.float32)
    kept = np.rint(picture * 255).astype(np.uint8).astype(np.float32) / 255
    for kind, features in image_features(kept).items():
        np.testing.assert_array_equal(image_features(picture)[kind], features)


def test_the_distance_takes_few_bytes() -> None:
    assert len(a_distance().model_dump_json()) < 20_000
    assert TrainingDistance.model_validate_json(a_distance().model_dump_json()) == a_distance()
