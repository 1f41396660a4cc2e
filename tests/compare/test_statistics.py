"""Intervals against scipy's own tests, Holm against a table, properties of both."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.compare.statistics import Ratio, holm, welch

VALUES = st.lists(st.floats(0.1, 1000), min_size=2, max_size=12)


@given(VALUES, VALUES)
def test_welch_is_scipys(ours: list[float], theirs: list[float]) -> None:
    ratio = welch(ours, theirs)
    if ratio.se < 1e-9:
        return
    found = stats.ttest_ind(np.log(ours), np.log(theirs), equal_var=False)
    low, high = found.confidence_interval(0.95)
    assert ratio.interval.low == pytest.approx(math.exp(low), rel=1e-6)
    assert ratio.interval.high == pytest.approx(math.exp(high), rel=1e-6)
    assert ratio.p_beyond(0.0) == pytest.approx(found.pvalue, abs=1e-9)


@given(VALUES, VALUES)
def test_a_ratio_and_its_inverse_are_treated_alike(ours: list[float], theirs: list[float]) -> None:
    one, other = welch(ours, theirs), welch(theirs, ours)
    assert one.value * other.value == pytest.approx(1)
    assert one.p_beyond(0.05) == pytest.approx(other.p_beyond(0.05), abs=1e-12)


@pytest.mark.parametrize(("log", "p"), [(0.1, 0.0), (0.01, 1.0), (-0.1, 0.0)])
def test_runs_without_any_spread(log: float, p: float) -> None:
    ratio = Ratio(log, 0.0, 1.0)
    assert ratio.p_beyond(0.05) == p
    assert ratio.interval.low == ratio.interval.high == ratio.value


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([], []),
        ([0.01], [0.01]),
        ([0.01, 0.04], [0.02, 0.04]),
        ([0.04, 0.01], [0.04, 0.02]),
        ([0.01, 0.02, 0.03, 0.04], [0.04, 0.06, 0.06, 0.06]),
        ([0.9, 0.8], [1.0, 1.0]),
    ],
)
def test_holm(p_values: list[float], adjusted: list[float]) -> None:
    assert holm(p_values) == pytest.approx(adjusted)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    held = 0
    for _ in range(2000):
        ours, theirs = np.exp(random.normal(0.2, 0.05, 5)), np.exp(random.normal(0, 0.02, 5))
        interval = welch(list(ours), list(theirs)).interval
        held += interval.low <= math.exp(0.2) <= interval.high
    assert 0.93 <= held / 2000 <= 0.98
