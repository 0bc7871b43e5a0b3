"""Perturbations bring maps back to where they were; always on non-square pictures with an object off the diagonal."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from cxrlens.evaluation.perturbation import PERTURBATIONS, ROTATION, stability
from cxrlens.evaluation.similarity import ssim

HEIGHT, WIDTH = 60, 110
MOTIONS = [name for name, perturbation in PERTURBATIONS.items() if perturbation.motion is not None]


def blob(row: float, column: float, *, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """A picture [1, 1, H, W] with a smooth spot."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    return torch.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 50)[None, None]


def peak(image: Tensor) -> tuple[int, int]:
    row, column = divmod(int(image.argmax()), image.shape[-1])
    return row, column


@pytest.mark.parametrize("name", list(PERTURBATIONS))
def test_a_picture_brought_back_as_a_map_is_the_picture_again(name: str):
    images = torch.cat([blob(14, 83), blob(41, 20)])
    changed = PERTURBATIONS[name](images, seeds=[3, 4])
    assert changed.shape == images.shape
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 1
    assert not torch.equal(changed, images)
    maps, valid = PERTURBATIONS[name].restored(changed[:, 0])
    assert valid.shape == (HEIGHT, WIDTH)
    if name in MOTIONS:
        assert 0.8 < float(valid.float().mean()) < 1
        error = (maps - images[:, 0])[:, valid].abs()
        assert float(error.max()) < (1e-4 if name == "shift" else 0.02)  # rotating twice interpolates twice
        assert float((changed - images).abs().max()) > 0.1
        assert float(maps[:, ~valid].abs().max()) == 0
    else:
        assert torch.equal(maps, changed[:, 0])
        assert valid.all()
    if name not in ("noise", "brightness"):  # noise moves the top, brightness cuts it off
        for before, after in zip(images, maps, strict=True):
            assert math.dist(peak(before), peak(after)) <= 1


def test_a_shift_moves_right_and_up_by_whole_pixels():
    image = torch.rand(1, 1, 100, 200, generator=torch.Generator().manual_seed(0))
    changed = PERTURBATIONS["shift"](image, seeds=[0])
    torch.testing.assert_close(changed[..., :99, 4:], image[..., 1:, :-4], atol=1e-4, rtol=0)
    _, valid = PERTURBATIONS["shift"].restored(changed[:, 0])
    expected = torch.zeros(100, 200, dtype=torch.bool)
    expected[1:, :-4] = True  # the top row and the four rightmost columns have left the picture
    assert torch.equal(valid, expected)


def test_a_rotation_equals_scipys():
    image = blob(14, 83)
    changed = PERTURBATIONS["rotation"](image, seeds=[0])[0, 0].numpy()
    expected = ndimage.rotate(image[0, 0].numpy(), -ROTATION, reshape=False, order=1, mode="nearest")
    assert changed == pytest.approx(expected, abs=2e-3)
    row, column = peak(PERTURBATIONS["rotation"](blob(29.5, 100), seeds=[0]))
    assert row > 30  # clockwise: what lies to the right moves down
    assert column >= 99


def test_grey_values_by_hand():
    image = torch.tensor([[[[0.0, 0.25, 0.5], [0.5, 0.75, 1.0]]]])
    by_hand = {
        "gamma_0.8": image**0.8,
        "gamma_1.25": image**1.25,
        "brightness": torch.tensor([[[[0.1, 0.35, 0.6], [0.6, 0.85, 1.0]]]]),
        "contrast": torch.tensor([[[[0.1, 0.3, 0.5], [0.5, 0.7, 0.9]]]]),
    }
    for name, expected in by_hand.items():
        torch.testing.assert_close(PERTURBATIONS[name](image, seeds=[0]), expected)


def test_jpeg_changes_little_and_noise_as_much_as_it_says():
    images = 0.2 + 0.6 * torch.rand(2, 1, 8, 12, generator=torch.Generator().manual_seed(1))
    images = torch.nn.functional.interpolate(images, (64, 96), mode="bilinear")
    error = (PERTURBATIONS["jpeg"](images, seeds=[0, 0]) - images).abs()
    assert 1e-4 < float(error.mean()) < 0.01
    noise = PERTURBATIONS["noise"](images, seeds=[5, 6]) - images
    assert noise.std(dim=(1, 2, 3)).tolist() == pytest.approx([0.02, 0.02], rel=0.05)
    assert abs(float(np.corrcoef(noise[0].flatten(), noise[1].flatten())[0, 1])) < 0.05


@pytest.mark.parametrize("name", list(PERTURBATIONS))
def test_a_batch_is_its_images_one_by_one(name: str):
    images = torch.cat([blob(14, 83), blob(41, 20)])
    together = PERTURBATIONS[name](images, seeds=[8, 9])
    for index in range(2):
        alone = PERTURBATIONS[name](images[index : index + 1], seeds=[8 + index])
        torch.testing.assert_close(together[index : index + 1], alone, atol=1e-6, rtol=0)
    assert PERTURBATIONS[name](images[:0], seeds=[]).shape == (0, 1, HEIGHT, WIDTH)
    assert PERTURBATIONS[name].restored(images[:0, 0])[0].shape == (0, HEIGHT, WIDTH)
    with pytest.raises(ValueError, match="seeds"):
        PERTURBATIONS[name](images, seeds=[1])


def test_stability_of_maps_by_hand():
    original = torch.cat([blob(14, 83), blob(41, 20), torch.zeros(1, 1, HEIGHT, WIDTH)])[:, 0]
    other = torch.cat([blob(14, 83), blob(38, 24), blob(14, 83)])[:, 0]
    everywhere = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    found = stability(original, other, everywhere)
    torch.testing.assert_close(found.ssim[:2], ssim(original[:2], other[:2]))
    assert math.isnan(found.ssim[2])  # a flat map is like none, another flat one included
    assert stability(original, original, everywhere).ssim.tolist() == pytest.approx([1, 1, math.nan], nan_ok=True)
    assert found.ssim[0] == pytest.approx(1)
    assert found.peak_distance[:2].tolist() == [0, 5]  # 3 rows, 4 columns
    assert math.isnan(found.peak_distance[2])


def test_only_valid_pixels_count():
    original = torch.cat([blob(14, 83), blob(41, 20)])[:, 0]
    spoilt = original.clone()
    valid = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    valid[:, 90:] = False
    spoilt[:, 30:40, 95:105] = 2
    found = stability(original, spoilt, valid)
    assert found.ssim.tolist() == pytest.approx([1, 1])
    assert found.peak_distance.tolist() == [0, 0]
    nowhere = stability(original, spoilt, torch.zeros_like(valid))
    assert torch.cat([nowhere.ssim, nowhere.peak_distance]).isnan().all()
    with pytest.raises(ValueError, match="fit"):
        stability(original, spoilt, valid.T)


@pytest.mark.parametrize("name", MOTIONS)
def test_a_map_that_moves_with_the_picture_is_stable_and_one_that_stays_is_not(name: str):
    images = torch.cat([blob(14, 83), blob(41, 12)])
    perturbation = PERTURBATIONS[name]
    maps, valid = perturbation.restored(perturbation(images, seeds=[0, 0])[:, 0])
    stable = stability(images[:, 0], maps, valid)
    assert float(stable.peak_distance.max()) <= 1
    assert float(stable.ssim.min()) > 0.98
    maps, valid = perturbation.restored(images[:, 0])
    unmoved = stability(images[:, 0], maps, valid)
    assert float(unmoved.peak_distance.min()) >= 1
    assert (unmoved.ssim < stable.ssim).all()
