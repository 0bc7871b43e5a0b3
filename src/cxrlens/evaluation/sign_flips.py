"""Whether paired differences of few images could be chance: the exact sign-flip test."""

from __future__ import annotations

import numpy as np

from cxrlens.evaluation.bootstrap import Floats

_ROUNDING = 1e-12  # share of the sizes' sum by which a pattern's sum may fall short and still count as being as far


def sign_flip_p(differences: Floats, *, one_sided: bool = False) -> float:
    """The p value of the hypothesis that each difference might as well have the other sign (Fisher, 1935).

    It is the share of all patterns of signs whose sum is at least as far from zero as the sum found, or one-sided,
    at least as large. Of outcomes, hit or miss, the two-sided one is McNemar's exact test.

    Args:
        differences: [n], finite, one an image; each doubles the number of patterns, so leave zeros out.
    """
    n = len(differences)
    signs = 1.0 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
    sums, found = signs @ differences, differences.sum()
    slack = _ROUNDING * np.abs(differences).sum()
    as_far = sums >= found - slack if one_sided else np.abs(sums) >= abs(found) - slack
    return float(as_far.mean())


def with_few_that_differ(p_values: Floats, differences: Floats, *, most: int, one_sided: bool) -> Floats:
    """P values of a bootstrap, put right where few images differ, of which it knows too little.

    Of one training with at most ``most`` patterns of signs, the p value is `sign_flip_p`'s. Else, and of several
    trainings, it is no smaller than that of images that all differ alike: 2 of all patterns, one-sided 1.

    Args:
        p_values: [rows]; NaN stays.
        differences: [rows, n] or [rows, seeds, n]; NaN = not applicable.
    """
    by_seed = differences[:, None] if differences.ndim == 2 else differences
    differs = (np.nan_to_num(by_seed) != 0).any(axis=1)
    counts = differs.sum(axis=1)
    found = np.maximum(p_values, smallest_p(counts, one_sided=one_sided))
    if by_seed.shape[1] == 1:
        for row in np.flatnonzero(~np.isnan(p_values) & (2.0**counts <= most)):
            found[row] = sign_flip_p(by_seed[row, 0, differs[row]], one_sided=one_sided)
    return found


def smallest_p(n: Floats | int, *, one_sided: bool = False) -> Floats:
    """The p value of `sign_flip_p` where n images differ and all alike, the smallest that there is."""
    return np.minimum((1 if one_sided else 2) * 0.5 ** np.asarray(n, dtype=np.float64), 1.0)
