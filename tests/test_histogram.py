import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness._histogram import Histogram

LAST_NS = (1 << 44) - 1

VALUES = st.lists(
    st.one_of(
        st.integers(0, 5000),
        st.integers(0, 10**8),
        st.integers(0, LAST_NS),
        st.integers(0, 43).map(lambda power: 1 << power),
        st.integers(1, 44).map(lambda power: (1 << power) - 1),
    ),
    max_size=60,
)
PERCENTS = st.one_of(
    st.sampled_from([0, 50, 90, 95, 99, 99.9, 99.99, 100]),
    st.decimals(0, 100, places=3).map(float),
)


def histogram_of(values):
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def nearest_rank(population, percent):
    return max(1, math.ceil(Fraction(str(percent)) * population / 100))


def state(histogram):
    lower, counts = histogram.bins()
    return (
        histogram.count,
        histogram.max_ns,
        histogram.mean_ns,
        lower.tolist(),
        counts.tolist(),
    )


@given(VALUES, PERCENTS, st.integers(0, 40))
def test_percentiles_are_within_a_thousandth_of_the_nearest_rank(values, percent, missing):
    histogram = histogram_of(values)
    population = len(values) + missing
    found = histogram.percentile_ns(percent, population)
    rank = nearest_rank(population, percent)
    if rank > len(values):
        assert found is None
        return
    exact = sorted(values)[rank - 1]
    assert abs(found - exact) <= exact / 1000
    if exact < 2048:
        assert found == exact
    if not missing:
        assert histogram.percentile_ns(percent) == found


@given(VALUES, VALUES)
def test_merging_is_recording_both(one, other):
    merged = histogram_of(one)
    merged.merge(histogram_of(other))
    assert state(merged) == state(histogram_of(one + other))


@given(VALUES)
def test_count_maximum_mean_and_bins(values):
    histogram = histogram_of(values)
    lower, counts = histogram.bins()
    assert histogram.count == counts.sum() == len(values)
    assert histogram.max_ns == (max(values) if values else None)
    assert histogram.mean_ns == (sum(values) / len(values) if values else None)
    assert (np.diff(lower) > 0).all()
    assert (counts > 0).all()
    falls = np.searchsorted(lower, sorted(values), side="right") - 1
    assert np.bincount(falls, minlength=len(lower)).tolist() == counts.tolist()


@pytest.mark.parametrize(
    ("percent", "expected"), [(99.9, 999), (99.8, 998), (99.91, 1000), (0.1, 1), (0.11, 2)]
)
def test_percents_are_exact_decimals(percent, expected):
    histogram = histogram_of(range(1, 1001))
    assert histogram.percentile_ns(percent) == expected
    assert histogram.percentile_ns(np.float64(percent)) == expected


@pytest.mark.parametrize("percent", [-0.001, 100.001, float("nan"), float("inf")])
def test_a_percentile_outside_its_range(percent):
    with pytest.raises(ValueError, match="within 0 and 100"):
        histogram_of([1]).percentile_ns(percent)


def test_an_empty_one_has_no_values():
    histogram = Histogram()
    assert state(histogram) == (0, None, None, [], [])
    assert histogram.percentile_ns(50) is None
    assert histogram.percentile_ns(50, 10) is None
    assert histogram_of([7]).percentile_ns(50, 0) is None


def test_a_percentile_among_the_missing_is_none():
    histogram = histogram_of([5] * 90)
    assert histogram.percentile_ns(90, 100) == 5
    assert histogram.percentile_ns(90.1, 100) is None


def test_values_beyond_the_bounds():
    histogram = histogram_of([-3, LAST_NS, LAST_NS + 1, 1 << 60])
    assert histogram.percentile_ns(1) == 0
    assert histogram.max_ns == 1 << 60
    assert histogram.count == 4
    lower, counts = histogram.bins()
    assert counts.tolist() == [1, 3]
    assert 0.999 * LAST_NS < lower[1] <= LAST_NS


def test_clearing_forgets_everything():
    histogram = histogram_of([1, 10**9])
    histogram.clear()
    assert state(histogram) == state(Histogram())


def test_bins_are_a_copy():
    histogram = histogram_of([1])
    _, counts = histogram.bins()
    histogram.record(1)
    assert counts.tolist() == [1]


def test_only_a_histogram_merges():
    with pytest.raises(TypeError):
        Histogram().merge(None)
