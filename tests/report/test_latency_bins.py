"""Latency bins: what is drawn is within half a bin of what was measured."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.latency_bins import (
    BINS,
    BINS_PER_OCTAVE,
    HIGHEST_EXPONENT,
    LOWEST_EXPONENT,
    bins_of,
    curve,
    percentile_ns,
    values_ns,
)

HALF_A_BIN = 2 ** (0.5 / BINS_PER_OCTAVE) * (1 + 1e-9)


def counted(values: list[int]) -> np.ndarray:
    return np.bincount(bins_of(np.array(values)), minlength=BINS)


@given(st.integers(2**LOWEST_EXPONENT, 2**HIGHEST_EXPONENT - 1))
def test_a_bin_is_near_its_values(value: int) -> None:
    (found,) = values_ns(bins_of(np.array([value])))
    assert 1 / HALF_A_BIN <= found / value <= HALF_A_BIN


def test_what_lies_outside_counts_at_the_ends() -> None:
    assert bins_of(np.array([-5, 0, 1, 2**62])).tolist() == [0, 0, 0, BINS - 1]


@given(
    st.lists(st.integers(100, 10**10), min_size=1, max_size=50),
    st.integers(0, 20),
    st.sampled_from([50.0, 90.0, 99.0, 100.0]),
)
def test_percentiles_are_nearest_rank_over_the_population(
    values: list[int], unanswered: int, percent: float
) -> None:
    population = len(values) + unanswered
    (found,) = percentile_ns(counted(values)[np.newaxis], percent, np.array([population]))
    rank = max(1, math.ceil(population * (percent / 100)))
    expected = [*sorted(values), *[math.inf] * unanswered][rank - 1]
    if math.isinf(expected):
        assert math.isinf(found)
    else:
        assert 1 / HALF_A_BIN <= found / expected <= HALF_A_BIN


def test_nothing_has_no_percentile() -> None:
    assert np.isnan(percentile_ns(np.zeros((1, BINS), int), 50.0, np.array([0])))[0]


@given(st.lists(st.integers(100, 10**10), min_size=1, max_size=400), st.integers(0, 50))
def test_a_curve_rises_from_the_lowest_to_the_highest(values: list[int], unanswered: int) -> None:
    population = len(values) + unanswered
    x, y = curve(counted(values), population, 100)
    assert np.all(np.diff(x) > 0)
    assert np.all(np.diff(y) >= 0)
    assert np.all(x >= 0)
    assert y[0] == pytest.approx(min(values), rel=HALF_A_BIN - 1)
    if unanswered:
        assert x[-1] <= -math.log10(unanswered / population) + 1e-9 or len(x) == 1
    else:
        assert x[-1] == pytest.approx(math.log10(population))
        assert y[-1] == pytest.approx(max(values), rel=HALF_A_BIN - 1)


def test_a_curve_says_the_percentiles() -> None:
    random = np.random.default_rng(3)
    values = random.lognormal(16, 0.5, 20_000).astype(int)
    x, y = curve(np.bincount(bins_of(values), minlength=BINS), len(values), 300)
    for percent in (50, 90, 99, 99.9):
        drawn = np.interp(-math.log10(1 - percent / 100), x, y)
        assert drawn == pytest.approx(np.percentile(values, percent), rel=0.02)


def test_a_curve_of_nothing() -> None:
    x, y = curve(np.zeros(BINS, int), 5, 10)
    assert len(x) == len(y) == 0
