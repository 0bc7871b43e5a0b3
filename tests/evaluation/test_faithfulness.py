"""Insertion, deletion, drop and increase of a score that is known pixel by pixel."""

from __future__ import annotations

import pytest
import torch
from scipy import ndimage
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from cxrlens.evaluation.faithfulness import blurred, faithfulness

HEIGHT, WIDTH = 20, 40
SPOT = (slice(3, 6), slice(30, 34))  # off the diagonal


def scene(count: int = 2) -> Tensor:
    images = torch.zeros(count, 1, HEIGHT, WIDTH)
    images[..., SPOT[0], SPOT[1]] = 1
    return images


def score(images: Tensor) -> Tensor:
    """The mean brightness of the spot."""
    return images[:, 0, SPOT[0], SPOT[1]].mean((1, 2))


def test_a_map_of_the_evidence_beats_its_mirror_image():
    images = scene(1)
    right, wrong = images[:, 0], images[:, 0].flip(2)
    good, bad = faithfulness(score, images, right), faithfulness(score, images, wrong)
    assert good.insertion > bad.insertion + 0.1
    assert good.deletion < bad.deletion - 0.1
    assert float(good.drop) == pytest.approx(0, abs=1e-6)
    assert float(bad.drop) > 0.5


def test_areas_by_hand():
    """Two steps: nothing, the first half of the pixels in falling order of the map, everything."""
    images = scene(1)
    plain = float(score(blurred(images)))
    left = torch.linspace(1, 0, WIDTH).expand(1, HEIGHT, WIDTH)  # the left half first; the spot is in the right
    found = faithfulness(score, images, left, steps=2)
    assert float(found.insertion) == pytest.approx((plain / 2 + plain + 1 / 2) / 2, abs=1e-5)
    assert float(found.deletion) == pytest.approx((1 / 2 + 1 + plain / 2) / 2, abs=1e-5)


def test_drop_and_increase_by_hand():
    images = scene(3)
    maps = torch.stack([torch.full((HEIGHT, WIDTH), value) for value in (0.0, 0.5, 1.0)])
    plain = float(score(blurred(images[:1])))
    found = faithfulness(score, images, maps, steps=1)
    assert found.drop.tolist() == pytest.approx([1 - plain, 0.5 * (1 - plain), 0], abs=1e-5)
    assert found.increase.tolist() == [0, 0, 0]
    less = faithfulness(lambda pictures: 1 - 0.9 * score(pictures), images, maps, steps=1)
    assert less.increase.tolist() == [1, 1, 0]
    assert less.drop.tolist() == [0, 0, 0]


def test_images_are_scored_by_themselves():
    torch.manual_seed(0)
    images, maps = torch.rand(3, 1, HEIGHT, WIDTH), torch.rand(3, HEIGHT, WIDTH)
    together = faithfulness(score, images, maps, steps=5)
    for index in range(3):
        alone = faithfulness(score, images[index : index + 1], maps[index : index + 1], steps=5)
        for name in ("insertion", "deletion", "drop", "increase"):
            torch.testing.assert_close(getattr(alone, name)[0], getattr(together, name)[index])


def test_the_blur_is_a_gaussian_of_five_percent_of_the_longer_side():
    torch.manual_seed(1)
    image = torch.rand(1, 1, 30, 60, dtype=torch.float64)
    expected = ndimage.gaussian_filter(image[0, 0].numpy(), 3.0, mode="mirror", radius=9)
    torch.testing.assert_close(blurred(image)[0, 0], torch.from_numpy(expected), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("height", "width"), [(120, 90), (4, 90), (1, 7)])
def test_the_blur_equals_torchvisions(height: int, width: int):
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    sigma = 0.05 * max(height, width)
    taps = [min(2 * int(3 * sigma) + 1, 2 * side - 1) for side in (width, height)]
    small = images[:1, :1]
    expected = gaussian_blur(small, kernel_size=taps, sigma=[sigma, sigma])
    torch.testing.assert_close(blurred(images)[:1, :1], expected, rtol=0, atol=1e-5)
    assert blurred(images).shape == images.shape


def test_each_step_is_scored_twice_and_nothing_else_again():
    scored = []

    def counting(pictures: Tensor) -> Tensor:
        scored.append(len(pictures))
        return score(pictures)

    faithfulness(counting, scene(2), torch.rand(2, HEIGHT, WIDTH), steps=4)
    assert scored == [2] * (2 * 4 + 1)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="do not fit"):
        faithfulness(score, scene(2), torch.rand(2, WIDTH, HEIGHT))
    with pytest.raises(ValueError, match="too few"):
        faithfulness(score, scene(1), torch.rand(1, HEIGHT, WIDTH), steps=0)
