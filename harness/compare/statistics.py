"""Ratios between two groups of runs: intervals, tests against a tolerance, Holm's correction. Pure.

All of it works on logarithms, so that a ratio and its inverse are treated alike.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A 95 % interval of a ratio."""

    low: float
    high: float


@dataclass(frozen=True)
class Ratio:
    """Candidate over baseline, by the geometric means of their runs.

    ``se`` and ``freedom`` are Welch's, of the logarithm; 0 where all runs of both are the same.
    """

    log: float
    se: float
    freedom: float

    @property
    def value(self) -> float:
        """The ratio itself."""
        return math.exp(self.log)

    @property
    def interval(self) -> Interval:
        """Between runs: Student's t with Welch's degrees of freedom."""
        reach = self.se * float(stdtrit(self.freedom, (1 + CONFIDENCE) / 2)) if self.se else 0.0
        return Interval(math.exp(self.log - reach), math.exp(self.log + reach))

    def p_beyond(self, tolerance: float) -> float:
        """Of the hypothesis that the true ratio is within [1 / (1 + tolerance), 1 + tolerance].

        Two-sided: twice the smaller of both one-sided p values.
        """
        edge = math.log1p(tolerance)
        above, below = self._p(self.log - edge), self._p(-edge - self.log)
        return min(1.0, 2 * min(above, below))

    def _p(self, excess: float) -> float:
        """One-sided, of a true excess of 0 or less."""
        if self.se == 0:
            return 0.0 if excess > 0 else 1.0
        return float(stdtr(self.freedom, -excess / self.se))


def welch(candidate: Sequence[float], baseline: Sequence[float]) -> Ratio:
    """The ratio of two groups, two runs or more each, all values above 0.

    B. L. Welch, "The generalization of Student's problem when several different population
    variances are involved", Biometrika 34 (1947).
    """
    ours, theirs = np.log(candidate), np.log(baseline)
    squares = np.array([one.var(ddof=1) / len(one) for one in (ours, theirs)])
    total = float(squares.sum())
    freedom = 1.0
    if total > 0:
        freedom = total**2 / float(
            sum(
                square**2 / (len(one) - 1)
                for square, one in zip(squares, (ours, theirs), strict=True)
            )
        )
    return Ratio(float(ours.mean() - theirs.mean()), math.sqrt(total), freedom)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values, in their order.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 6 (1979).
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    so_far = 0.0
    for rank, index in enumerate(order):
        so_far = max(so_far, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = so_far
    return adjusted


def percentile_interval(draws: NDArray[np.float64]) -> Interval:
    """Of bootstrap draws of a ratio: their 2.5 % and 97.5 % quantiles."""
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(low), float(high))
