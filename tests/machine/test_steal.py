"""Steal: what /proc/stat says, and the share between two readings."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.machine.steal import CpuTimes, cpu_times, parse_stat, steal_share

STAT = """\
cpu  300 10 100 1000 20 0 6 44 7 0
cpu0 100 10 50 500 10 0 3 27 7 0
cpu11 200 0 50 500 10 0 3 17 0 0
intr 37806299 0 0
ctxt 12345
softirq 1 2 3 4 5 6 7 8 9
"""


def test_each_cpu_has_a_line() -> None:
    assert parse_stat(STAT) == {0: CpuTimes(700, 27), 11: CpuTimes(780, 17)}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "cpu",
        "cpu0",
        "cpu0 1 2 3 4",  # a kernel without steal
        "cpu0 1 2 3 4 5 6 7",
        "cpu0 1 2 3 x 5 6 7 8",
        "cpu0 1 2 3 -4 5 6 7 8",
        "cpux 1 2 3 4 5 6 7 8",
        "cpu²3 1 2 3 4 5 6 7 8",
        "0 1 2 3 4 5 6 7 8",
    ],
)
def test_other_lines_say_nothing(text: str) -> None:
    assert parse_stat(text) == {}


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    for times in parse_stat(text).values():
        assert 0 <= times.steal <= times.total


TIMES = st.builds(
    lambda steal, other: CpuTimes(steal + other, steal),
    st.integers(0, 10**12),
    st.integers(0, 10**12),
)
READINGS = st.dictionaries(st.integers(0, 8), TIMES)


@given(READINGS, READINGS, st.lists(st.integers(0, 9)))
def test_a_share_is_one(before: dict[int, CpuTimes], after: dict[int, CpuTimes], cpus) -> None:
    share = steal_share(before, after, cpus)
    assert share is None or 0 <= share <= 1


def test_the_share_is_of_the_cpus_asked_for() -> None:
    before = {0: CpuTimes(1000, 100), 1: CpuTimes(1000, 100)}
    after = {0: CpuTimes(1100, 110), 1: CpuTimes(1100, 100)}
    assert steal_share(before, after, [0]) == pytest.approx(0.1)
    assert steal_share(before, after, [1]) == 0
    assert steal_share(before, after, [0, 1, 1]) == pytest.approx(0.05)
    assert steal_share(before, after, [2]) is None
    assert steal_share(before, before, [0]) is None
    assert steal_share({}, {}, [0]) is None


def test_this_machine(tmp_path: Path) -> None:
    assert set(os.sched_getaffinity(0)) <= set(cpu_times())
    assert cpu_times(tmp_path) == {}
