"""How a distance from the training images is fitted, and how its limits are chosen."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import beta
from sklearn.covariance import LedoitWolf

from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.distance_fitting import (
    FEWEST,
    FeatureTable,
    distance_of_one_set,
    fitted_distance,
    upper_limit,
    upper_limit_of_surprise,
    widened,
)
from cxrlens.models.distance import FEATURES, TrainingDistance
from known_radiographs import known

SIZE = (48, 60)
STRETCH = Preprocessing(height=SIZE[0], width=SIZE[1])


def table(count: int, seed: int) -> FeatureTable:
    return FeatureTable(STRETCH, known(count, SIZE, seed))


@cache
def of_known() -> TrainingDistance | None:
    return fitted_distance(table(60, seed=1), table(40, seed=2), "data")


@pytest.mark.parametrize(("n", "beyond", "factor"), [(10, 0.01, 3.981), (30, 0.05, 2.220), (100, 0.01, 2.684)])
def test_the_limit_is_a_tolerance_limit_of_the_logarithms(n: int, beyond: float, factor: float) -> None:
    """Factors of one-sided tolerance limits as printed (Natrella, Experimental Statistics, 1963, table A-7)."""
    away = np.exp(np.random.default_rng(n).normal(0.3, 0.05, n))
    logs = np.log(away)
    assert np.log(upper_limit(away, beyond)) == pytest.approx(logs.mean() + factor * logs.std(ddof=1), abs=2e-4)


def test_no_more_than_the_share_lies_beyond_the_limit_of_a_long_tail() -> None:
    away = np.concatenate([np.full(990, 1.0), np.linspace(50, 59, 10)])
    limit = upper_limit(away, 0.004)
    assert limit == 55
    assert (away > limit).mean() == 0.004


def test_the_form_whitens_by_the_shrunk_covariance() -> None:
    training = table(60, seed=1)
    distance = fitted_distance(training, table(40, seed=2), "data")
    assert distance is not None
    for kind, part in (("layout", distance.layout), ("texture", distance.texture)):
        features = training.of(kind)
        spread = features.std(0)
        covariance = LedoitWolf(assume_centered=True).fit((features - features.mean(0)) / spread).covariance_
        expected = np.linalg.inv(covariance * np.outer(spread, spread))
        whitening = np.array(part.whitening)
        np.testing.assert_allclose(whitening.T @ whitening, expected, rtol=2e-2, atol=2e-2 * np.abs(expected).max())
        np.testing.assert_allclose(part.centre, features.mean(0))
        assert 0.3 < part.of(features).mean() < 1  # 1 but for the shrinkage


def test_the_facts_are_those_of_the_images() -> None:
    distance = of_known()
    assert distance is not None
    assert (distance.fitted.images, distance.fitted.split) == (60, "train")
    held_out = distance.held_out
    assert (held_out.images, held_out.split, held_out.beyond, held_out.low) == (40, "dev", 0, 0)
    assert held_out.high == pytest.approx(beta.ppf(0.975, 1, 40))
    others = [distance.of(picture).value for picture in known(40, SIZE, seed=2)]
    assert max(others) <= 1


@pytest.mark.parametrize("spoil", [np.rot90, lambda picture: 1 - picture, lambda picture: picture[::-1], np.zeros_like])
def test_others_of_the_kind_pass_and_spoiled_ones_are_refused(spoil) -> None:
    distance = of_known()
    assert distance is not None
    for picture in known(20, SIZE, seed=3):
        assert distance.refusal(distance.of(picture)) is None
        assert distance.refusal(distance.of(spoil(picture))) is not None


def test_noise_and_blur_are_told_by_the_texture() -> None:
    distance = of_known()
    assert distance is not None
    noise = np.random.default_rng(0).normal(0, 0.1, SIZE)
    for picture in known(5, SIZE, seed=3):
        for spoiled in (np.clip(picture + noise, 0, 1), gaussian_filter(picture, 3)):
            assert distance.of(spoiled).texture > 1


def test_images_that_are_all_alike_do_not_stop_it() -> None:
    same = FeatureTable(STRETCH, np.full((FEWEST, *SIZE), 0.5, np.float32))
    distance = fitted_distance(same, same, "data")
    assert distance is not None
    assert distance.of(np.full(SIZE, 0.5)).value <= 1
    assert distance.of(known(1, SIZE, seed=0)[0]).value > 1


def test_of_too_few_images_there_is_none() -> None:
    few, enough = table(FEWEST - 1, seed=1), table(FEWEST, seed=2)
    assert fitted_distance(few, enough, "data") is None
    assert fitted_distance(enough, few, "data") is None
    assert distance_of_one_set(table(2 * FEWEST - 1, seed=1), "data", "dev") is None


def test_limits_are_widened_for_a_site_and_never_lowered() -> None:
    distance = of_known()
    assert distance is not None
    same = widened(distance, table(40, seed=5), "site", "test")
    assert all(same.parts[kind].limit >= part.limit for kind, part in distance.parts.items())
    assert (same.fitted, same.held_out.data, same.held_out.split) == (distance.fitted, "site", "test")
    odd = FeatureTable(STRETCH, known(40, SIZE, seed=6)[:, :, ::-1] ** 2)
    wide = widened(distance, odd, "site", "test")
    assert max(wide.of(picture).value for picture in known(40, SIZE, seed=6)[:, :, ::-1] ** 2) <= 1
    assert wide.layout.centre == distance.layout.centre
    assert widened(distance, table(FEWEST - 1, seed=5), "site", "test") == distance


def test_limits_of_one_set_rest_on_fits_without_the_image() -> None:
    images = table(60, seed=1)
    distance = distance_of_one_set(images, "site", "dev")
    assert distance is not None
    assert (distance.fitted.images, distance.held_out.images) == (60, 60)
    both = fitted_distance(images, images, "site")
    assert both is not None
    assert distance.layout.whitening == both.layout.whitening
    assert distance.texture.whitening == both.texture.whitening
    assert distance.framing is not None
    assert both.framing is not None
    assert distance.framing.weights == both.framing.weights
    for kind in FEATURES:
        # an image lies nearer to a fit that knows it
        assert distance.parts[kind].limit >= both.parts[kind].limit
        assert kind == "framing" or distance.parts[kind].limit > both.parts[kind].limit


def test_the_limit_of_a_surprise_is_that_of_the_log_odds() -> None:
    log_odds = np.random.default_rng(7).normal(-6, 2, 30)
    limit = upper_limit_of_surprise(np.logaddexp(0, log_odds), 0.05)
    assert np.log(np.expm1(limit)) == pytest.approx(log_odds.mean() + 2.220 * log_odds.std(ddof=1), abs=2e-3)
    outlier = np.append(np.logaddexp(0, log_odds), 900.0)
    assert upper_limit_of_surprise(outlier, 0.001) >= 900
    assert np.isfinite(upper_limit_of_surprise(np.zeros(5), 0.001))


def test_the_limit_of_the_framing_is_never_above_a_probability_of_5_percent() -> None:
    distance = of_known()
    assert distance is not None
    assert distance.framing is not None
    surprises = distance.framing.of(table(40, seed=2).of("framing"))
    assert upper_limit_of_surprise(surprises) < distance.framing.limit
    assert np.exp(-distance.framing.limit) == pytest.approx(0.05)
