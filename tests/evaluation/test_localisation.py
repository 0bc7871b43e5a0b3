"""Scores of whole maps against scikit-learn, against sums by hand, and at their edges; always on non-square maps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from torch import Tensor

from cxrlens.evaluation.localisation import (
    ObjectPixels,
    ascending,
    energy_inside,
    otsu_iou,
    otsu_threshold,
    pixel_average_precision,
)


def example(seed: int, levels: int = 0) -> tuple[Tensor, Tensor]:
    """Random maps, with ties when there are few levels, and masks with objects off the diagonal."""
    torch.manual_seed(seed)
    maps = torch.rand(4, 9, 17)
    if levels:
        maps = (maps * levels).floor() / levels
    masks = torch.zeros(4, 9, 17, dtype=torch.bool)
    masks[0, 1:3, 11:15] = True
    masks[1, 6:, :2] = True
    masks[2] = torch.rand(9, 17) > 0.7
    return maps, masks  # the last image has no object


def otsu_by_trial(values: np.ndarray) -> float:
    """The best of all splits between bins, by the variance between the classes, from the definition."""
    low, width = values.min(), np.ptp(values).astype(np.float64) / 256
    centres = low + width * (np.minimum(((values - low) / np.ptp(values) * 256).astype(int), 255) + 0.5)
    best, threshold = -1.0, low
    for split in range(1, 256):
        edge = low + width * split
        lower, upper = centres[centres < edge], centres[centres >= edge]
        if len(lower) and len(upper):
            between = len(lower) * len(upper) * (lower.mean() - upper.mean()) ** 2
            if between > best * (1 + 1e-9):
                best, threshold = between, edge
    return float(threshold)


@pytest.mark.parametrize("levels", [0, 2, 5])
@pytest.mark.parametrize("seed", range(5))
def test_average_precision_equals_scikit_learns(seed: int, levels: int):
    maps, masks = example(seed, levels)
    found = pixel_average_precision(maps, masks)
    for index in range(3):
        expected = average_precision_score(masks[index].flatten().numpy(), maps[index].flatten().numpy())
        assert float(found[index]) == pytest.approx(expected, abs=1e-9)
    assert math.isnan(found[3])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=30))
def test_average_precision_of_any_small_map(pixels):
    values = torch.tensor([[[float(v + 1) for v, _ in pixels]]])
    mask = torch.tensor([[[m for _, m in pixels]]])
    found = float(pixel_average_precision(values, mask)[0])
    if not mask.any():
        assert math.isnan(found)
    else:
        expected = average_precision_score(mask.flatten().numpy(), values.flatten().numpy())
        assert found == pytest.approx(expected, abs=1e-9)


def test_energy_by_hand():
    maps = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 0.0, 0.0]]]).repeat(3, 1, 1)
    masks = torch.tensor([[[0, 0, 1], [0, 1, 0]], [[1, 1, 1], [1, 1, 1]], [[0, 0, 0], [0, 0, 0]]], dtype=torch.bool)
    found = energy_inside(maps, masks)
    assert found[:2].tolist() == pytest.approx([0.3, 1.0])
    assert math.isnan(found[2])


@pytest.mark.parametrize("seed", range(3))
def test_otsu_is_the_best_of_all_splits(seed: int):
    torch.manual_seed(seed)
    low, high = 0.2 + 0.05 * torch.randn(2, 9, 12), 0.8 + 0.05 * torch.randn(2, 9, 5)
    maps = torch.cat([low, high], 2)
    found = otsu_threshold(maps)
    for index in range(2):
        assert float(found[index]) == pytest.approx(otsu_by_trial(maps[index].double().numpy().ravel()), abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 70), min_size=2, max_size=40).filter(lambda values: len(set(values)) > 1))
def test_otsu_of_any_small_map(values):
    """Values on the edges of bins, many of one value, and most bins without any."""
    map_ = torch.tensor(values, dtype=torch.float32)[None, None]
    assert float(otsu_threshold(map_)[0]) == pytest.approx(otsu_by_trial(map_.numpy().ravel()), abs=1e-5)


@pytest.mark.parametrize("levels", [0, 5])
def test_values_in_order_may_be_given_and_are_not_taken_for_others(levels: int):
    maps, masks = example(3, levels)
    maps[1, :, 5:] = -0.0  # is zero
    ordered = ascending(maps)
    assert ordered.tolist() == [sorted(map_.flatten().tolist()) for map_ in maps]
    for score in (pixel_average_precision, otsu_iou):
        torch.testing.assert_close(score(maps, masks, ordered=ordered), score(maps, masks), equal_nan=True)
    torch.testing.assert_close(otsu_threshold(maps, ordered=ordered), otsu_threshold(maps))


def test_iou_is_of_the_pixels_above_the_threshold():
    maps, masks = example(11, 6)
    thresholds, found = otsu_threshold(maps), otsu_iou(maps, masks)
    for index in range(3):
        marked = maps[index] > thresholds[index]
        expected = (marked & masks[index]).sum() / (marked | masks[index]).sum()
        assert float(found[index]) == pytest.approx(float(expected))


def test_iou_of_two_clear_classes_is_exact():
    torch.manual_seed(0)
    maps = 0.1 * torch.rand(2, 9, 17)
    maps[:, 2:5, 10:14] += 0.8
    masks = torch.zeros(2, 9, 17, dtype=torch.bool)
    masks[0, 2:5, 10:14] = True
    masks[1, 2:5, 12:16] = True
    assert otsu_iou(maps, masks).tolist() == pytest.approx([1.0, 6 / 18])


@pytest.mark.parametrize("score", [energy_inside, pixel_average_precision, otsu_iou])
def test_scores_are_of_one_image_each_and_a_zero_map_scores_nothing(score):
    maps, masks = example(7)
    together = score(maps, masks)
    for index in range(4):
        torch.testing.assert_close(
            score(maps[index : index + 1], masks[index : index + 1])[0], together[index], equal_nan=True
        )
    assert score(torch.zeros(1, 9, 17), masks[:1]).tolist() == [0.0]


@pytest.mark.parametrize("score", [energy_inside, pixel_average_precision, otsu_iou])
def test_a_map_on_the_object_beats_its_mirror_image(score):
    masks = torch.zeros(1, 9, 17, dtype=torch.bool)
    masks[0, 1:4, 12:16] = True
    rows, columns = torch.arange(9)[:, None], torch.arange(17)
    maps = torch.exp(-((rows - 2) ** 2 + (columns - 13.5) ** 2) / 8.0)[None]
    assert float(score(maps, masks)) > 3 * float(score(maps.flip(2), masks))
    assert float(score(maps, masks)) > 0.4


def test_object_pixels_are_those_of_the_masks_and_serve_many_maps():
    maps, masks = example(3, levels=4)
    objects = ObjectPixels.of(masks)
    assert objects.counts == (8, 6, int(masks[2].sum()), 0)
    for map_, mask, values in zip(maps, masks, objects.values(maps), strict=True):
        assert torch.equal(values, map_[mask])
    for score in (energy_inside, pixel_average_precision, otsu_iou):
        for some in (maps, 1 - maps, maps.transpose(1, 2).contiguous().transpose(1, 2)):
            assert torch.equal(score(some, objects).nan_to_num(-1), score(some, masks).nan_to_num(-1))
        assert score(maps, objects).dtype == torch.float64
        with pytest.raises(ValueError, match="4 images"):
            score(maps[:2], objects)
        assert score(maps[:0], masks[:0]).shape == (0,)


@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1e20])
def test_scores_do_not_depend_on_the_maps_scale(scale: float):
    maps, masks = example(4)
    for score in (energy_inside, pixel_average_precision, otsu_iou):
        torch.testing.assert_close(score(maps * scale, masks), score(maps, masks), rtol=1e-5, atol=0, equal_nan=True)


def test_sums_are_kept_in_double_precision():
    maps = torch.full((1, 500, 700), 0.1)
    masks = torch.zeros(1, 500, 700, dtype=torch.bool)
    masks[:, 20:420, 300:] = True
    assert float(energy_inside(maps, masks)) == pytest.approx(160_000 / 350_000, rel=1e-12)
