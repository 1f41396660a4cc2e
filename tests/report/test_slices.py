"""Slices: few enough to draw, wide enough to have a p99."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records import BUCKET_NS
from harness.report.slices import MOST_SLICES, Slices, TimeAxis, make_slices

NS_PER_S = 10**9


@pytest.mark.parametrize(
    ("seconds", "slots", "width_s"),
    [
        (10, 10_000, 0.2),
        (10, 100_000, 0.05),
        (30, 300, 1.0),
        (60, 60_000, 0.5),
        (3600, 1_000_000, 20.0),
        (0.01, 1, 1.0),
    ],
)
def test_widths(seconds: float, slots: int, width_s: float) -> None:
    assert make_slices(int(seconds * NS_PER_S), slots).width_ns == width_s * NS_PER_S


@given(st.integers(1, 2**62), st.integers(0, 2**62))
def test_any_run_has_few_slices_of_whole_buckets(end_ns: int, slots: int) -> None:
    slices = make_slices(end_ns, slots)
    assert 1 <= slices.count <= MOST_SLICES
    assert slices.width_ns % BUCKET_NS == 0
    assert (slices.count - 1) * slices.width_ns < end_ns <= slices.count * slices.width_ns


def test_the_last_slice_may_be_shorter() -> None:
    slices = Slices(2 * NS_PER_S, 5 * NS_PER_S)
    assert slices.count == 3
    assert slices.middles_ns.tolist() == [1 * NS_PER_S, 3 * NS_PER_S, 4.5 * NS_PER_S]
    assert slices.per_second(np.array([20, 20, 20])).tolist() == [10, 10, 20]
    assert slices.of(np.array([0, NS_PER_S, 4 * NS_PER_S, 99 * NS_PER_S])).tolist() == [0, 0, 2, 2]


def test_sums_of_buckets_lose_none() -> None:
    slices = Slices(NS_PER_S, 2 * NS_PER_S + BUCKET_NS)
    buckets = np.arange(2 * 42).reshape(2, 42)  # one more than the run has: due at the very end
    sums = slices.sums(buckets)
    assert sums.shape == (2, 3)
    assert sums.sum(axis=1).tolist() == buckets.sum(axis=1).tolist()
    assert sums[0, 0] == sum(range(20))


@pytest.mark.parametrize(
    ("seconds", "unit", "shown"), [(10, "s", 10), (1200, "min", 20), (36_000, "h", 10)]
)
def test_the_unit_suits_the_length(seconds: int, unit: str, shown: float) -> None:
    axis = TimeAxis(seconds * NS_PER_S)
    assert axis.unit == unit
    assert axis.at(seconds * NS_PER_S) == shown
