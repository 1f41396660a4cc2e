"""Spin gaps on one CPU, and the control that benchmarks print."""

import os

from harness.machine.spin_gaps import SpinGaps, spin_gaps


def test_slices_are_put_together() -> None:
    before = os.sched_getaffinity(0)
    gaps = spin_gaps(max(before), 0.12)
    assert os.sched_getaffinity(0) == before
    assert gaps.seconds == 0.12
    assert gaps.over_100us >= gaps.over_1ms >= 0
    assert gaps.max_us > 0
    assert 0 <= gaps.lost_share <= 1
    assert (gaps.max_us > 100) == (gaps.over_100us > 0) == (gaps.lost_share > 0)


def test_the_line_of_a_benchmark() -> None:
    assert str(SpinGaps(2.5, 7, 1, 1234.5)) == (
        "spin loop, 2.5 s: 7 gaps over 100 us, 1 over 1 ms, longest 1234 us"
    )
