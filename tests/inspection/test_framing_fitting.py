"""How the judge of turned and cut pictures is fitted."""

from __future__ import annotations

import numpy as np
import pytest

from cxrlens.inspection.framing_fitting import fitted_framing, made_up
from cxrlens.models.framing import KINDS, TURNS, framing_features, thumbnail, thumbnail_features
from known_radiographs import known

SIZE = (96, 72)
OTHERS = known(20, SIZE, seed=3)


@pytest.fixture(scope="module")
def judge():
    return fitted_framing([thumbnail(picture) for picture in known(60, SIZE, seed=1)])


def test_each_kind_is_made_of_the_picture_alone() -> None:
    small = thumbnail(known(1, SIZE, seed=1)[0])
    kinds: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    for kind, picture in made_up(small):
        kinds[kind].append(picture)
    for turns, kind in enumerate(TURNS):
        np.testing.assert_array_equal(kinds[kind][0], np.rot90(small, turns))
        np.testing.assert_array_equal(kinds[kind][1], np.rot90(small[:, ::-1], turns))
        assert len(kinds[kind]) == len(kinds["upright"])
    corners = [small[:16, :16], small[:16, -16:], small[-16:, :16], small[-16:, -16:]]
    for corner in corners:
        assert any(np.array_equal(part, corner) for part in kinds["part"])


def test_others_of_the_kind_are_upright_and_turned_ones_are_not(judge) -> None:
    for picture in OTHERS:
        for turns, kind in enumerate(TURNS):
            features = framing_features(np.rot90(picture, turns))
            assert judge.likeliest(features) == kind
            assert (judge.of(features) < np.log(2)) == (kind == "upright")


def test_a_mirrored_picture_is_as_upright_as_another(judge) -> None:
    for picture in OTHERS:
        assert judge.likeliest(framing_features(picture[:, ::-1])) == "upright"


def test_parts_are_told(judge) -> None:
    found = [judge.likeliest(framing_features(picture[:24, :18])) for picture in OTHERS]
    assert found.count("part") >= 18


def test_the_fit_does_not_know_the_order_of_the_images_and_has_few_digits(judge) -> None:
    turned_round = fitted_framing([thumbnail(picture) for picture in known(60, SIZE, seed=1)[::-1]])
    features = np.stack([framing_features(picture) for picture in OTHERS])
    np.testing.assert_allclose(turned_round.of(features), judge.of(features), rtol=0.1, atol=1e-4)
    assert all(number == float(f"{number:.6g}") for row in judge.weights for number in row)


def test_pictures_that_are_all_alike_do_not_stop_it() -> None:
    flat = np.full((64, 64), 0.5)
    judge = fitted_framing([flat] * 5)
    assert np.isfinite(judge.of(thumbnail_features(flat)))
