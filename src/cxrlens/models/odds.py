"""Log-odds of *affected* under a temperature and at another prevalence: the one formula of the calibrated probability.

Plain arithmetic, so that it serves numbers, arrays and tensors alike.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

Values = TypeVar("Values", bound=Any)


def log_odds(share: float) -> float:
    """ln(p / (1 - p)) of a share p strictly between 0 and 1."""
    return math.log(share) - math.log1p(-share)


def prior_shift(source: float, prevalence: float) -> float:
    """The number that takes log-odds from one share of affected images to another, by addition.

    Bayes' rule multiplies the odds by the ratio of the prior odds (Elkan, IJCAI 2001, theorem 2; Saerens et al.,
    Neural Computation 2002, equation 2.4). It holds where each class looks the same in both places.

    Args:
        source: share of affected images that the log-odds assume, strictly between 0 and 1.
        prevalence: share of affected images where they are used, likewise.
    """
    return log_odds(prevalence) - log_odds(source)


def calibrated_log_odds(raw: Values, temperature: float, shift: float) -> Values:
    """raw / temperature + shift, for the log-odds that a network gives (its affected minus its normal logit).

    The temperature is that of Guo et al. (ICML 2017): for two classes, dividing both logits by it.
    """
    return raw / temperature + shift
