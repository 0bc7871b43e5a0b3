"""How alike two sets of maps are, and whether two methods hit the same images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity of maps [N, H, W] in [0, 1], image by image, float64 [N] in [-1, 1].

    Wang et al., IEEE Transactions on Image Processing 2004: Gaussian window of sigma 1.5 (11 taps), edges mirrored.
    """
    pair = (first[:, None].double(), second[:, None].double())
    values = structural_similarity_index_measure(*pair, data_range=1.0, sigma=1.5, kernel_size=11, reduction="none")
    assert isinstance(values, Tensor)
    return values.reshape(-1)


def spearman(first: Tensor, second: Tensor) -> Tensor:
    """Rank correlation of the pixels of maps [N, H, W], image by image, float64 [N]; NaN where a map is constant."""
    values = []
    for one, other in zip(first.cpu().flatten(1).numpy(), second.cpu().flatten(1).numpy(), strict=True):
        constant = np.ptp(one) == 0 or np.ptp(other) == 0
        values.append(np.nan if constant else float(spearmanr(one, other).statistic))
    return torch.tensor(values, dtype=torch.float64)


def random_pair_ssim(maps: Tensor, *, pairs: int = 200, seed: int = 0) -> float:
    """Mean structural similarity of random pairs of different images' maps: what unrelated maps share.

    The criterion of Arun et al. (Radiology: Artificial Intelligence 2021): a map that depends on the weights falls
    below it when the weights are drawn anew.

    Raises:
        ValueError: with fewer than two maps.
    """
    if len(maps) < 2:
        raise ValueError("pairs of different images need at least two maps")
    rng = np.random.default_rng(seed)
    first = rng.integers(len(maps), size=pairs)
    second = (first + rng.integers(1, len(maps), size=pairs)) % len(maps)
    return float(torch.stack([ssim(maps[[i]], maps[[j]])[0] for i, j in zip(first, second, strict=True)]).mean())


def hit_agreement(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Cohen's kappa of two rows of hits (0 or 1) on the same images; 1 where both are the same constant."""
    one, other = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if np.array_equal(one, other):
        return 1.0
    return float(cohen_kappa_score(one, other))
