"""When a worker wakes for a slot: early where that is affordable, else as late as is in time."""

import random

import pytest

from harness._guard import WakeGuard

US = 1000
SLOT_NS = 10_000 * US


def test_early_by_the_worst_sleeps_where_that_can_be_afforded() -> None:
    guard = WakeGuard(100 * US, 40 * US, 60 * US)
    assert guard.wake_ns(SLOT_NS, 0) == SLOT_NS - 60 * US


@pytest.mark.parametrize(("oversleep_us", "guard_us"), [(5, 20), (400, 150)])
def test_within_bounds(oversleep_us: int, guard_us: int) -> None:
    guard = WakeGuard(1000 * US, 40 * US, oversleep_us * US)
    assert guard.wake_ns(SLOT_NS, 0) == SLOT_NS - guard_us * US
    for _ in range(10_000):
        guard.slept(oversleep_us * US)
    assert guard.wake_ns(SLOT_NS, 0) == SLOT_NS - guard_us * US


def test_follows_the_99th_percentile_of_oversleeps() -> None:
    guard = WakeGuard(150 * US, 40 * US, 20 * US)
    draw = random.Random(3)
    for _ in range(50_000):
        guard.slept(round(draw.uniform(0, 100 * US)))
    assert SLOT_NS - guard.wake_ns(SLOT_NS, 0) == pytest.approx(99 * US, abs=3 * US)


def test_over_the_budget_it_sleeps_into_the_slot_as_far_as_is_in_time() -> None:
    guard = WakeGuard(20 * US, 40 * US, 60 * US)
    assert guard.wake_ns(SLOT_NS, 0) == SLOT_NS
    for _ in range(400):
        guard.took(30 * US)
    assert guard.wake_ns(SLOT_NS, 0) == SLOT_NS + 20 * US
    for _ in range(10):
        guard.took(81 * US)
    assert guard.wake_ns(SLOT_NS, 0) == SLOT_NS
    for _ in range(10_000):
        guard.took(0)
    assert guard.wake_ns(SLOT_NS, 0) == SLOT_NS + 80 * US


def test_a_worker_that_does_not_sleep_tries_it_again() -> None:
    guard = WakeGuard(10 * US, 150 * US, 150 * US)
    gap_ns = 50 * US
    assert guard.wake_ns(SLOT_NS, SLOT_NS - gap_ns) == SLOT_NS - gap_ns
    for _ in range(100_001):
        guard.took(0)
    assert guard.wake_ns(SLOT_NS, SLOT_NS - gap_ns) > SLOT_NS


def test_over_the_budget_no_sleep_that_would_end_after_the_slot() -> None:
    guard = WakeGuard(20 * US, 40 * US, 60 * US)
    now_ns = SLOT_NS - 40 * US
    assert guard.wake_ns(SLOT_NS, now_ns) == now_ns
    assert guard.wake_ns(SLOT_NS, now_ns - US) == SLOT_NS
    for _ in range(800):
        guard.slept(25 * US)
    assert guard.wake_ns(SLOT_NS, now_ns) == SLOT_NS
