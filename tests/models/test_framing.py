"""Whether a picture is a whole chest that stands upright: features, judge, and what is said of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.nn import functional

from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.models.card import ModelCard, parse_card
from cxrlens.models.distance import NO_FRAMING, ImageDistance, TrainingDistance
from cxrlens.models.framing import FRAMING_FEATURES, KINDS, Framing, framing_features, thumbnail
from known_radiographs import a_distance, known

SIZE = (96, 72)


def planted(kind: str, feature: int, weight: float, intercept: float = 0.0) -> Framing:
    """A judge that looks at one feature alone."""
    weights = np.zeros((len(KINDS), FRAMING_FEATURES))
    weights[KINDS.index(kind), feature] = weight
    intercepts = [intercept if each == kind else 0.0 for each in KINDS]
    return Framing(weights=tuple(map(tuple, weights)), intercepts=tuple(intercepts))


def test_the_value_is_the_surprise_at_an_upright_chest() -> None:
    features = np.zeros((3, FRAMING_FEATURES))
    features[:, 5] = [0.0, 1.0, -2.0]
    judge = planted("clockwise", 5, weight=3.0, intercept=0.5)
    scores = np.exp([0.5, 3.5, -5.5])  # of clockwise; that of each of the other four is 1
    np.testing.assert_allclose(judge.of(features), np.log(4 + scores))
    np.testing.assert_allclose(judge.of(features[1]), np.log(4 + scores[1]))
    assert judge.likeliest(features[1]) == "clockwise"
    assert judge.likeliest(features[2]) == "upright"


def test_a_certain_judge_stays_a_number() -> None:
    features = np.zeros(FRAMING_FEATURES)
    features[0] = 1.0
    assert planted("upright", 0, weight=2000.0).of(features) == 0
    assert planted("part", 0, weight=2000.0).of(features) == 2000


@pytest.mark.parametrize("size", [(64, 64), (130, 77), (300, 64), (9, 200)])
def test_the_features_are_means_of_cells_and_logarithms_of_steps(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).random(size)
    small = functional.adaptive_avg_pool2d(torch.from_numpy(picture)[None, None], 64)
    np.testing.assert_allclose(thumbnail(picture), small[0, 0])
    means = functional.adaptive_avg_pool2d(small, 8).flatten().numpy()
    steps = [functional.adaptive_avg_pool2d(small.diff(dim=axis).abs(), 4).flatten() for axis in (3, 2)]
    edges = np.log(torch.cat(steps).numpy() + 1e-3)
    expected = [(means - means.mean()) / (means.std() + 0.01), edges - edges.mean()]
    np.testing.assert_allclose(framing_features(picture), np.concatenate(expected), atol=1e-9)
    assert framing_features(picture).shape == (FRAMING_FEATURES,)


@given(st.floats(0.5, 2), st.floats(-0.1, 0.3))
def test_brightness_does_not_count_and_contrast_hardly(contrast: float, brightness: float) -> None:
    picture = known(1, SIZE, seed=0)[0].astype(float)
    features, moved = framing_features(picture), framing_features(contrast * picture + brightness)
    np.testing.assert_allclose(framing_features(picture + brightness), features, atol=1e-9)
    assert np.corrcoef(moved, features)[0, 1] > 0.99


def test_a_flat_picture_has_features() -> None:
    np.testing.assert_allclose(framing_features(np.full((3, 2), 0.4)), 0, atol=1e-9)


def shown_of(seed: int) -> np.ndarray:
    return known(1, SIZE, seed=seed)[0]


def test_a_turned_picture_is_refused_with_the_way_to_turn_it_back() -> None:
    distance = a_distance(*SIZE)
    turned = {1: "by 90 degrees anticlockwise; turn it back", 2: "stand on its head", 3: "by 90 degrees clockwise"}
    for seed in range(5):
        upright = shown_of(seed)
        for mirrored in (upright, upright[:, ::-1]):
            assert distance.refusal(distance.of(mirrored)) is None
            for turns, words in turned.items():
                found = distance.of(np.rot90(mirrored, turns))
                assert found.framing is not None
                assert found.framing > 1
                assert words in str(distance.refusal(found))


def test_a_part_of_a_chest_is_refused() -> None:
    distance = a_distance(*SIZE)
    corner = shown_of(3)[:24, -18:]
    found = distance.of(np.kron(corner, np.ones((4, 4), np.float32)))
    assert found.framing is not None
    assert found.framing > 1
    assert distance.refusal(found) is not None


def test_nothing_is_claimed_that_turning_back_does_not_mend() -> None:
    distance = a_distance(*SIZE)
    inverted = np.rot90(1 - shown_of(4))
    assert distance.of(inverted).seems == ""
    assert "laid out otherwise" in str(distance.refusal(distance.of(inverted)))


def test_what_is_the_matter_is_named_by_its_kind() -> None:
    distance = a_distance()
    said = {
        "laid out otherwise": ImageDistance(layout=0.3, texture=2.0, framing=1.1),
        "fine structure": ImageDistance(layout=0.3, texture=2.0, framing=0.9),
        "seems to be so": ImageDistance(layout=0.3, texture=0.2, framing=1.1, seems="It seems to be so"),
    }
    for words, found in said.items():
        assert words in str(distance.refusal(found))
        assert f"(distance {found.value:.3g}, limit 1; of 40 other radiographs" in str(distance.refusal(found))
    assert distance.refusal(ImageDistance(layout=0.3, texture=0.2, framing=1.0)) is None


def older(distance: TrainingDistance) -> dict[str, object]:
    """A card's fields as a version wrote them that did not judge the framing."""
    card = ModelCard(architecture="resnet18", preprocessing=Preprocessing(height=64, width=48), distance=distance)
    fields: dict[str, dict[str, object]] = json.loads(card.to_metadata())
    del fields["distance"]["framing"]
    return fields


def test_an_older_file_works_without_and_says_so() -> None:
    fields = older(a_distance(*SIZE))
    card = parse_card(json.dumps(fields), "a.safetensors")
    assert card.distance is not None
    assert str(card.distance).endswith(NO_FRAMING)
    assert NO_FRAMING not in str(a_distance(*SIZE))
    assert json.loads(card.to_metadata()) == fields
    new, old = a_distance(*SIZE).of(shown_of(0)), card.distance.of(shown_of(0))
    assert (old.layout, old.texture, old.framing) == (new.layout, new.texture, None)
    assert set(card.distance.parts) == {"layout", "texture"}


def test_broken_numbers_are_refused() -> None:
    with pytest.raises(ValidationError, match=f"5 intercepts and as many rows of {FRAMING_FEATURES} numbers"):
        Framing(weights=((0.0,),) * 5, intercepts=(0.0,) * 5)
    with pytest.raises(ValidationError, match="finite"):
        planted("part", 0, weight=float("nan"))
