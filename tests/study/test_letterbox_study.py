"""A study of letterboxed networks on pictures of many shapes: a block gives what its images give alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_study import RecordedStudy, a_plan, make_records, untrained

from cxrlens.evaluation.similarity import ssim
from cxrlens.inputs.annotations.shapes import Rectangle
from cxrlens.inputs.annotations.table import write_annotations
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import read
from cxrlens.inspection.quality_model import load
from cxrlens.pointing.run import PointingSettings, play_folder
from cxrlens.saliency.explain import Row
from cxrlens.study.experiments import EXPERIMENTS
from cxrlens.study.experiments.consistency import SCORES
from cxrlens.study.records import PLAIN, SMOOTHED
from cxrlens.study.results import Results

LETTERBOX = Preprocessing(height=64, width=80, resize="letterbox")
SIZES = [(40, 200), (150, 60), (90, 90), (40, 200), (100, 120), (160, 20)]  # height, width; the last has no object
PIXEL = 3.0
"""Stored ones to a side of one that a network sees, or more: the last digits say which of two neighbours is higher."""
ROWS = [Row("grad_cam", "last"), Row("normgrad_conv1x1", "combined"), Row("input_x_gradient", "input")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train and dev are the same pictures: noise with a bright box at another place in each."""
    root = tmp_path_factory.mktemp("shapes")
    for split in ("train", "dev"):
        rng = np.random.default_rng(0)
        rows = []
        for number, (height, width) in enumerate(SIZES):
            pixels = rng.integers(0, 120, (height, width), dtype=np.uint8)
            left, top = round((0.1 + 0.12 * number) * width), round((0.7 - 0.13 * number) * height)
            box = Rectangle(left, top, left + width // 6, top + height // 6)
            affected = number < len(SIZES) - 1
            if affected:
                pixels[top : round(box.y2) + 1, left : round(box.x2) + 1] += 120
            folder = root / split / ("affected" if affected else "normal")
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{number}.png")
            rows.append((f"{number}.png", [box] if affected else []))
        write_annotations(root / f"{split}.csv", rows)
    return root


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [untrained(folder / f"{seed}.safetensors", seed, LETTERBOX) for seed in (3, 4)]


@pytest.fixture(scope="module")
def together(data: Path, models: list[Path], tmp_path_factory: pytest.TempPathFactory) -> RecordedStudy:
    """In blocks of four: the first mixes three shapes, two pictures share one."""
    return make_records(a_plan(models, consistency={"images": 5}), data, tmp_path_factory.mktemp("together"))


@pytest.fixture(scope="module")
def alone(data: Path, models: list[Path], tmp_path_factory: pytest.TempPathFactory) -> RecordedStudy:
    plan = a_plan(models, consistency={"images": 5}, batch_size=1)
    return make_records(plan, data, tmp_path_factory.mktemp("alone"))


def test_the_random_networks_see_what_the_trained_ones_see(together: RecordedStudy) -> None:
    assert {subject.preprocessing for subject in together.subjects} == {LETTERBOX}


def test_scores_of_a_block_are_those_of_its_images(together: RecordedStudy, alone: RecordedStudy) -> None:
    first, second = together.results, alone.results
    assert first.n == second.n == 5
    for group, other in zip(first.groups, second.groups, strict=True):
        for score in ("energy", "average_precision", "iou"):
            np.testing.assert_allclose(
                first.scores(group, ROWS, score), second.scores(other, ROWS, score), rtol=2e-3, atol=1e-4
            )
        for variant in (PLAIN, SMOOTHED):
            found, expected = (
                results.scores(its, ROWS, "distance", variant=variant)
                for results, its in ((first, group), (second, other))
            )
            np.testing.assert_allclose(found, expected, atol=PIXEL)
        for row in ROWS:
            for subject, its in zip(group.subjects, other.subjects, strict=True):
                points, theirs = first.predictions(subject, row), second.predictions(its, row)
                for some, others in zip(points, theirs, strict=True):
                    assert (some[0].x, some[0].y) == pytest.approx((others[0].x, others[0].y), abs=PIXEL)
    for name in ("centre", "brightest", "mean_annotation", "random"):
        for score in ("hit", "energy", "average_precision"):
            one, two = first.baseline(name, score), second.baseline(name, score)
            assert one is not None
            assert two is not None
            np.testing.assert_allclose(one, two, rtol=1e-5)


def test_checks_of_a_block_are_those_of_its_images(together: RecordedStudy, alone: RecordedStudy) -> None:
    compared = 0
    samples = [each.sample_scores for each in EXPERIMENTS if each.sample_scores is not None]
    assert {scores.part for scores in samples} >= {"perturbation", "randomisation", "faithfulness"}
    for scores in samples:
        for subject in together.results.trained[0].subjects:
            found, expected = (made.results.of_sample(scores, subject) for made in (together, alone))
            assert found.keys() == expected.keys()
            for name, values in found.items():
                if "|pairs|" in name:  # to the image before: there is none alone
                    assert np.isfinite(values).all()
                else:
                    np.testing.assert_allclose(
                        values, expected[name], rtol=5e-3, atol=5e-3, err_msg=f"{scores.part} {name}"
                    )
                    compared += 1
    assert compared > 100


def test_similarity_of_seeds_is_that_of_their_pictures(together: RecordedStudy, models: list[Path]) -> None:
    """Padding, on which both maps are cut, would make them more alike."""
    results = together.results
    pair = results.of_pair(SCORES, (results.trained[0].subjects[0], results.trained[0].subjects[1]))
    for row in ROWS:
        maps = [pictures(results, model, row) for model in models]
        expected = [float(ssim(*(map_[None] for map_ in both))[0]) for both in zip(*maps, strict=True)]
        np.testing.assert_allclose(pair[f"{row.method}|{row.layers}|ssim"], expected, atol=2e-3)


def pictures(results: Results, path: Path, row: Row) -> list[torch.Tensor]:
    """The row's maps of the annotated images without padding, each explained by itself."""
    model, found = load(path, device="cpu"), []
    for index in results.indices:
        pixels = read(results.data.annotated[index].path).pixels
        grey = torch.from_numpy(LETTERBOX.resized(pixels))[None]
        (result,) = model.inspect(grey, [pixels.shape], [row])
        found.append(torch.from_numpy(result.explanations[0].values))
    return found


def test_rows_and_baselines_are_those_of_the_pointing_game_job(
    together: RecordedStudy, data: Path, models: list[Path], tmp_path: Path
) -> None:
    results = together.results
    played = play_folder(
        Dataset(data), load(models[0], device="cpu"), tmp_path, ROWS, PointingSettings(), split="dev"
    ).per_image
    tied = results.scores(results.trained[0], ROWS, "tied")[:, 0]
    distances = results.scores(results.trained[0], ROWS, "distance")[:, 0]
    compared = 0
    for number, row in enumerate(ROWS):
        mine = {r["image"]: r.get("distance") for r in played if (r["method"], r["layers"]) == (row.method, row.layers)}
        for place, name in enumerate(results.names):
            if tied[number][place] == 1:
                assert distances[number][place] == pytest.approx(mine[name])
                compared += 1
    assert compared > 8
    for name in ("centre", "random", "mean_annotation", "brightest"):
        by_image = {r["image"]: r["hit"] for r in played if r["method"] == name}
        found = results.baseline(name, "hit")
        assert found is not None
        np.testing.assert_allclose(found, [by_image[image] for image in results.names], rtol=1e-6)


def test_points_lie_on_the_stored_picture(together: RecordedStudy) -> None:
    results = together.results
    for row in ROWS:
        for subject in results.trained[0].subjects:
            for index, points in zip(results.all_indices, results.predictions(subject, row), strict=True):
                height, width = SIZES[index]
                assert points
                for point in points:
                    assert -0.5 < point.x < width - 0.5
                    assert -0.5 < point.y < height - 0.5


def test_areas_are_shares_of_the_picture(together: RecordedStudy) -> None:
    area = together.results.baseline("random", "energy")
    assert area is not None
    np.testing.assert_allclose(area, np.full(5, 1 / 36), rtol=0.45)  # a sixth of either side, in whole pixels
