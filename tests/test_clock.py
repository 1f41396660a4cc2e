"""The core's measurements of clock, sleeps and CPU, each beside a thing it must see."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import _clock

STALL_S = 0.2

SPIN_TICKS = 10  # of CPU time, 10 ms each

SPINNER = """
from harness._clock import spin_gaps
print("spinning", flush=True)
print(*spin_gaps(1_500_000_000), flush=True)
"""


def test_a_clock_read_costs_what_a_loop_of_them_takes() -> None:
    reads = 50_000
    before_ns = time.monotonic_ns()
    cost_ns = _clock.read_cost_ns(reads)
    took_ns = time.monotonic_ns() - before_ns
    assert 1 < cost_ns <= took_ns / reads
    for nothing in (0, -1):
        with pytest.raises(ValueError, match="cannot be timed"):
            _clock.read_cost_ns(nothing)


def test_no_sleep_ends_early() -> None:
    before_ns = time.monotonic_ns()
    oversleeps = _clock.oversleeps_ns(30_000_000)
    took_ns = time.monotonic_ns() - before_ns
    assert oversleeps
    assert min(oversleeps) >= 0
    # Each slept 100 us or more beside what it overslept.
    assert sum(oversleeps) + 100_000 * len(oversleeps) <= took_ns


def test_the_time_is_kept_and_nothing_stays_behind() -> None:
    slack = Path("/proc/self/timerslack_ns")
    before, descriptors = slack.read_text(), os.listdir("/proc/self/fd")
    assert _clock.oversleeps_ns(0) == []
    assert _clock.oversleeps_ns(-1) == []
    _clock.oversleeps_ns(2_000_000)
    assert slack.read_text() == before
    assert os.listdir("/proc/self/fd") == descriptors


def test_a_signal_that_cuts_a_sleep_short_ends_them() -> None:
    previous = signal.signal(signal.SIGALRM, lambda number, frame: None)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.007)  # one hits a sleep
        before_s = time.monotonic()
        _clock.oversleeps_ns(20_000_000_000)
        assert time.monotonic() - before_s < 10
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def cpu_ticks(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])


def test_a_stopped_loop_sees_the_gap(wait_until: Callable[..., None]) -> None:
    child = subprocess.Popen([sys.executable, "-c", SPINNER], stdout=subprocess.PIPE, text=True)
    with child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "spinning\n"
            started = cpu_ticks(child.pid)
            wait_until(lambda: cpu_ticks(child.pid) > started + SPIN_TICKS)
            child.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, child.pid, os.WSTOPPED)
            time.sleep(STALL_S)  # the gap itself
            child.send_signal(signal.SIGCONT)
            output, _ = child.communicate(timeout=20)
        finally:
            child.kill()
    over_100us, over_1ms, lost_ns, longest_ns = map(int, output.split())
    assert over_100us >= over_1ms >= 1
    assert lost_ns >= longest_ns >= STALL_S * 1e9


def test_gaps_fit_together() -> None:
    over_100us, over_1ms, lost_ns, longest_ns = _clock.spin_gaps(20_000_000)
    assert 0 <= over_1ms <= over_100us
    assert lost_ns >= 100_000 * over_100us
    assert longest_ns > 0
    assert (longest_ns > 100_000) == (over_100us > 0)
