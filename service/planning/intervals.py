"""Intervals that hold at every number of seeds at once, so that stopping when one is narrow does not bias it. Pure.

An ordinary 95 % interval is wrong more often than one time in twenty if one looks after every seed and stops at the
first narrow one. A confidence sequence covers the true value at all numbers of seeds together with probability 95 %.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

ALPHA: Final = 0.05
"""One minus the coverage."""
_PRIOR: Final = 1.0
"""Variance of the prior over effect sizes (mean over standard deviation), in the mixture behind `mean_interval`.

It decides at which number of seeds the interval is tightest, here about 10 to 50, and not whether it covers.
"""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the ends of its confidence sequence."""

    estimate: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """The larger distance of an end from the estimate."""
        return max(self.high - self.estimate, self.estimate - self.low)


def mean_interval(values: Sequence[float], alpha: float = ALPHA) -> Interval:
    """Anytime-valid interval of the mean of Gaussian values of unknown variance.

    The t-test's e-process with a Gaussian prior N(0, g) over the effect size is (1 + n g)^(-1/2)
    [(1 + u) / (1 + u / (1 + n g))]^(n/2), where u = t^2 / (n - 1); the interval holds all means at which it is below
    1 / alpha. Exact for Gaussian values at every n; Wang and Ramdas, "Anytime-valid t-tests and confidence sequences
    for Gaussian means with unknown variance", arXiv:2310.03722, section 4, after Lai (1976).

    Args:
        values: one number per seed.
        alpha: probability that the true mean is outside at some number of seeds.
    Returns:
        Infinite ends where there are too few values to tell.
    """
    n = len(values)
    mean = math.fsum(values) / n if n else math.nan
    if n < 2:
        return Interval(mean, -math.inf, math.inf)
    spread = math.fsum((value - mean) ** 2 for value in values)
    shrink = 1 + n * _PRIOR
    bound = math.exp(2 / n * (math.log(1 / alpha) + math.log(shrink) / 2))
    if bound >= shrink:
        return Interval(mean, -math.inf, math.inf)
    u = (bound - 1) / (1 - bound / shrink)
    half = math.sqrt(u * spread / n)
    return Interval(mean, mean - half, mean + half)


def share_interval(successes: int, trials: int, alpha: float = ALPHA) -> Interval:
    """Anytime-valid interval of a probability, from so many successes.

    The likelihood ratio of a Beta(1/2, 1/2) mixture against p is a martingale if p is true; the interval holds all p
    at which it is below 1 / alpha. Exact at every number of trials; Robbins (1970), "Statistical methods related to the
    law of the iterated logarithm", and Howard et al., arXiv:1810.08240, section 3.
    """
    if not trials:
        return Interval(math.nan, 0.0, 1.0)
    # a sixth of a second to import, and few who import this file ask
    from scipy.special import betaln, xlogy  # noqa: PLC0415

    failures = trials - successes
    mixture = betaln(successes + 0.5, failures + 0.5) - betaln(0.5, 0.5)

    def excess(p: float) -> float:
        return float(mixture - xlogy(successes, p) - xlogy(failures, 1 - p) - math.log(1 / alpha))

    share = successes / trials
    low = _crossing(excess, share, 0.0) if successes else 0.0
    high = _crossing(excess, share, 1.0) if failures else 1.0
    return Interval(share, low, high)


def _crossing(excess: Callable[[float], float], inside: float, outside: float) -> float:
    """Where a function that grows from inside to outside passes zero, by halving to the last bit."""
    while (middle := (inside + outside) / 2) not in (inside, outside):
        if excess(middle) > 0:
            outside = middle
        else:
            inside = middle
    return outside
