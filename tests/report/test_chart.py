"""Charts as data: numbers that JSON takes, and series that keep their extremes when thinned."""

import json
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.report.chart import numbers, thinned


def test_numbers_are_short_and_finite() -> None:
    found = numbers([1.23456789, 1e-9, 5.0, None, math.nan, math.inf, np.float32(0.5), np.int64(7)])
    assert found == [1.2346, 1e-9, 5, None, None, None, 0.5, 7]
    assert json.dumps(found, allow_nan=False)


@given(
    st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(math.nan)), min_size=1, max_size=300),
    st.integers(4, 100),
)
def test_thinning_keeps_the_extremes(values: list[float], most: int) -> None:
    y = np.array(values)
    x = np.arange(len(y), dtype=float)
    kept_x, kept_y = thinned(x, y, most)
    assert len(kept_x) == len(kept_y) <= max(most, 2)
    assert kept_x == sorted(kept_x, key=lambda one: one or 0)
    known = [one for one in numbers(values) if one is not None]
    kept = [one for one in kept_y if one is not None]
    if known:
        assert max(kept) == max(known)
        assert min(kept) == min(known)
    else:
        assert not kept


def test_short_series_are_kept_whole() -> None:
    x, y = thinned(np.array([0.0, 1.0]), np.array([math.nan, 2.0]))
    assert (x, y) == ([0, 1], [None, 2])


def test_a_long_gap_stays() -> None:
    y = np.ones(10_000)
    y[4000:6000] = math.nan
    _, kept = thinned(np.arange(10_000.0), y, 200)
    assert kept[0] == kept[-1] == 1
    assert kept.count(None) >= 20
