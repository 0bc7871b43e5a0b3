"""Scores in the records against maps made one by one and scored with other libraries, and against pointing-game."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage
from sklearn.metrics import average_precision_score
from small_study import PREPROCESSING, RecordedStudy

from cxrlens.evaluation.similarity import ssim
from cxrlens.inputs.annotations.ground_truth import object_mask
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.readers import image_size, read
from cxrlens.inspection.quality_model import load
from cxrlens.pointing.run import PointingSettings, play_folder
from cxrlens.saliency.explain import Row
from cxrlens.saliency.fusion import Fusion
from cxrlens.study.experiments.consistency import SCORES
from cxrlens.study.results import Results

LAYERED = [Row("grad_cam", "last"), Row("normgrad_conv1x1", "combined")]
ROWS = [*LAYERED, Row("input_x_gradient", "input")]


@pytest.fixture(scope="module")
def results(made: RecordedStudy) -> Results:
    return made.results


@pytest.fixture(scope="module")
def masks(results: Results) -> npt.NDArray[np.bool_]:
    """[n, 64, 80]."""
    items = [results.data.annotated[index] for index in results.indices]
    return np.stack([object_mask(item, *image_size(item.path), PREPROCESSING) for item in items])


@pytest.fixture(scope="module")
def maps(results: Results, models: list[Path]) -> npt.NDArray[np.float64]:
    """[rows, seeds, n, 64, 80], each image explained by itself."""
    found = np.zeros((len(ROWS), len(models), results.n, 64, 80))
    for seed, path in enumerate(models):
        model = load(path, device="cpu")
        for place, index in enumerate(results.indices):
            grey = torch.from_numpy(PREPROCESSING.resized(read(results.data.annotated[index].path).pixels))[None]
            for number, row in enumerate(ROWS):
                found[number, seed, place] = model.explain_rows(grey, [row], target="affected").maps[row][0].numpy()
    return found


def distances(maps: npt.NDArray[np.float64], masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """From the highest pixel to the nearest object's; NaN where several pixels are as high."""
    found = np.full(maps.shape[:3], np.nan)
    for place in np.ndindex(*maps.shape[:3]):
        map_ = maps[place]
        if (map_ == map_.max()).sum() == 1:
            found[place] = ndimage.distance_transform_edt(~masks[place[2]]).flat[map_.argmax()]
    return found


def test_all_images_are_scored(results: Results, made: RecordedStudy) -> None:
    assert results.n == 7
    assert results.all_indices == list(range(14))
    assert results.hits(results.trained[0], ROWS).shape == (3, 2, 7)


def test_distances_are_those_of_single_maps(
    results: Results, maps: npt.NDArray[np.float64], masks: npt.NDArray[np.bool_]
) -> None:
    expected = distances(maps, masks)
    unique = ~np.isnan(expected)
    assert unique.mean() > 0.6
    found = results.scores(results.trained[0], ROWS, "distance")
    np.testing.assert_allclose(found[unique], expected[unique])
    tied = results.scores(results.trained[0], ROWS, "tied")
    np.testing.assert_array_equal(tied == 1, unique)
    for share in (None, 0.1, 0.2, 0.3):  # of the longer side; None is the plan's 0.025
        hits = results.hits(results.trained[0], ROWS, share=share)[unique]
        np.testing.assert_array_equal(hits, expected[unique] < (share or 0.025) * 80)
    np.testing.assert_array_equal(results.hits(results.trained[0], ROWS, share=0.0)[unique], expected[unique] == 0)


def test_smoothed_distances_are_those_of_maps_smoothed_by_scipy(
    results: Results, maps: npt.NDArray[np.float64], masks: npt.NDArray[np.bool_]
) -> None:
    soft = ndimage.gaussian_filter(maps, (0, 0, 0, 1, 1), mode="mirror", truncate=5)
    gap = np.sort(soft.reshape(*soft.shape[:3], -1), axis=-1)
    clear = gap[..., -1] - gap[..., -2] > 1e-5  # beyond rounding
    assert clear.mean() > 0.6
    found = results.scores(results.trained[0], ROWS, "distance", variant="smoothed")
    np.testing.assert_allclose(found[clear], distances(soft, masks)[clear])


def test_whole_map_scores(results: Results, maps: npt.NDArray[np.float64], masks: npt.NDArray[np.bool_]) -> None:
    energy = (maps * masks).sum(axis=(3, 4)) / maps.sum(axis=(3, 4))
    np.testing.assert_allclose(results.scores(results.trained[0], ROWS, "energy"), energy, rtol=1e-3)
    found = results.scores(results.trained[0], ROWS, "average_precision")
    for place in np.ndindex(*maps.shape[:3]):
        expected = average_precision_score(masks[place[2]].ravel(), maps[place].ravel())
        assert found[place] == pytest.approx(expected, rel=0.02, abs=1e-4)


def test_probabilities(results: Results, models: list[Path]) -> None:
    for subject, path in zip(results.trained[0].subjects, models, strict=True):
        model = load(path, device="cpu")
        items = results.data.items(results.plan)
        grey = torch.from_numpy(np.stack([PREPROCESSING.resized(read(item.path).pixels) for item in items]))
        np.testing.assert_allclose(results.all_probabilities(subject), model.probabilities(grey), rtol=1e-4)


def test_points_start_with_the_peak_in_pixels_of_the_stored_picture(
    results: Results, maps: npt.NDArray[np.float64]
) -> None:
    """Stored pictures are not square, and of other proportions than the input of 64 x 80."""
    subject, row = results.trained[0].subjects[0], ROWS[2]
    for place, index in enumerate(results.indices):
        height, width = image_size(results.data.annotated[index].path)
        (first, *_) = results.predictions(subject, row)[place]
        peak_row, peak_column = np.unravel_index(maps[2, 0, place].argmax(), (64, 80))
        assert first.x == pytest.approx((peak_column + 0.5) * width / 80 - 0.5, abs=1e-3)
        assert first.y == pytest.approx((peak_row + 0.5) * height / 64 - 0.5, abs=1e-3)
        assert first.confidence == pytest.approx(results.all_probabilities(subject)[place], rel=1e-4)


def test_similarity_of_seeds_is_that_of_their_maps(results: Results, maps: npt.NDArray[np.float64]) -> None:
    pair = results.of_pair(SCORES, (results.trained[0].subjects[0], results.trained[0].subjects[1]))
    chosen = [0, 3, 6]  # three of seven, evenly spread
    for number, row in enumerate(ROWS):
        first, second = (torch.from_numpy(maps[number, seed, chosen]).float() for seed in (0, 1))
        np.testing.assert_allclose(pair[f"{row.method}|{row.layers}|ssim"], ssim(first, second), atol=2e-3)


def test_rows_are_those_of_the_pointing_game_job(
    results: Results, phantoms: Path, models: list[Path], tmp_path: Path
) -> None:
    """The same images, tolerance and tie breaking rule, so that all but tied peaks agree; and the baselines."""
    model = load(models[0], device="cpu")
    played = play_folder(Dataset(phantoms), model, tmp_path, ROWS, PointingSettings(), split="dev").per_image
    tied = results.scores(results.trained[0], ROWS, "tied")[:, 0]
    hits = results.hits(results.trained[0], ROWS)[:, 0]
    for number, row in enumerate(ROWS):
        by_image = {r["image"]: r["hit"] for r in played if (r["method"], r["layers"]) == (row.method, row.layers)}
        expected = np.array([by_image[name] for name in results.names])
        np.testing.assert_array_equal(hits[number][tied[number] == 1], expected[tied[number] == 1])
    for name in ("centre", "random", "mean_annotation"):
        by_image = {r["image"]: r["hit"] for r in played if r["method"] == name}
        found = results.baseline(name, "hit")
        assert found is not None
        np.testing.assert_allclose(found, [by_image[image] for image in results.names], rtol=1e-6)


def test_the_explained_class_is_the_one_of_the_plan(
    results: Results, maps: npt.NDArray[np.float64], models: list[Path]
) -> None:
    """The fixture's maps explain "affected": those of "normal" differ, so that the tests above would notice."""
    grey = torch.from_numpy(PREPROCESSING.resized(read(results.data.annotated[0].path).pixels))[None]
    model = load(models[0], device="cpu")
    other = model.explain_rows(grey, [LAYERED[0]], target=torch.tensor([0]), fusion=Fusion("product"))
    assert not np.allclose(other.maps[LAYERED[0]][0], maps[0, 0, 0], atol=0.05)
