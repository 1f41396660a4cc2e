"""Wake-up errors: nearest-rank figures, and a measurement on one CPU."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.machine.slices import SLICE_NS, slices_ns
from harness.machine.wakeup import summarize, wakeup_error


@given(st.lists(st.integers(0, 10**10), min_size=1))
def test_percentiles_are_nearest_rank(oversleeps: list[int]) -> None:
    found = summarize(oversleeps)
    assert found is not None
    p50, p99 = np.percentile(oversleeps, [50, 99], method="inverted_cdf")
    assert (found.sleeps, found.p50_ns, found.p99_ns) == (len(oversleeps), p50, p99)
    assert found.max_ns == max(oversleeps)


def test_no_sleep_no_figure() -> None:
    assert summarize([]) is None
    assert wakeup_error(max(os.sched_getaffinity(0)), 0) is None


def test_it_is_measured_on_the_cpu_and_the_thread_comes_back() -> None:
    before = os.sched_getaffinity(0)
    error = wakeup_error(max(before), 120_000_000)
    assert os.sched_getaffinity(0) == before
    assert error is not None
    assert error.sleeps > 10
    assert 0 <= error.p50_ns <= error.p99_ns <= error.max_ns


def test_a_cpu_that_is_not_there() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(OSError, match="Invalid argument"):
        wakeup_error(1023, 1_000_000)
    assert os.sched_getaffinity(0) == before


@given(st.integers(-5, 100 * SLICE_NS))
def test_slices_add_up(duration_ns: int) -> None:
    parts = list(slices_ns(duration_ns))
    assert sum(parts) == max(0, duration_ns)
    assert all(0 < part <= SLICE_NS for part in parts)
