"""Counts of latencies in bins of equal ratio: fine enough to draw, of a size known beforehand."""

import math

import numpy as np
from numpy.typing import NDArray

BINS_PER_OCTAVE = 128
"""A bin is 0.54 % wide."""
LOWEST_EXPONENT, HIGHEST_EXPONENT = 6, 45
"""64 ns to 9.8 hours; what lies outside counts in the last bin on its side."""
BINS = (HIGHEST_EXPONENT - LOWEST_EXPONENT) * BINS_PER_OCTAVE

Counts = NDArray[np.int64]
AnyCounts = NDArray[np.int64] | NDArray[np.int32]
Values = NDArray[np.float64]


def bins_of(values_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bin of each value."""
    exponents = np.log2(np.maximum(values_ns, 1)) - LOWEST_EXPONENT
    bins: NDArray[np.int64] = (exponents * BINS_PER_OCTAVE).astype(np.int64)
    return np.clip(bins, 0, BINS - 1)


def values_ns(bins: NDArray[np.int64]) -> Values:
    """The middle of each bin, by ratio."""
    found: Values = np.exp2(LOWEST_EXPONENT + (bins + 0.5) / BINS_PER_OCTAVE)
    return found


def percentile_ns(counts: AnyCounts, percent: float, population: Counts) -> Values:
    """Nearest rank over ``population`` by the last axis of ``counts``.

    Infinite among those of the population that have no value, NaN where there is no population.
    """
    below = np.cumsum(counts, axis=-1, dtype=np.int64)
    rank = np.maximum(np.ceil(population * (percent / 100)), 1)
    place = (below < rank[..., np.newaxis]).sum(axis=-1)
    found = np.where(place < BINS, values_ns(np.minimum(place, BINS - 1)), np.inf)
    return np.where(population > 0, found, np.nan)


def curve(counts: Counts, population: int, points: int) -> tuple[Values, Values]:
    """The distribution as x = log10(1 / (1 - p)) and the p-quantile in ns, up to the maximum.

    It ends where the population has no value any more.
    """
    below = np.cumsum(counts, dtype=np.int64)
    found = int(below[-1])
    if not found:
        return np.empty(0), np.empty(0)
    x = np.linspace(0, math.log10(population) if population > 1 else 0, points)
    # The nearest rank of p; the last point is the maximum itself.
    ranks = population - np.floor(population * 10.0**-x * (1 + 1e-12)).astype(np.int64)
    ranks = np.maximum(ranks, 1)
    ranks[-1] = population
    first = np.append(True, np.diff(ranks) > 0)
    there = first & (ranks <= found)
    return x[there], values_ns(np.searchsorted(below, ranks[there]))
