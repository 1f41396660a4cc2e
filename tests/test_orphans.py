"""What a dead worker leaves: its records, made records and unsent slots are the plan."""

import os
import random
import signal
import time

import numpy as np
import pytest

from harness._orphans import orphans
from harness._shm import Segment
from harness._tally import Tally
from harness.records import NO_SERVER, RECORD, Decision, Outcome, Reason
from tests.core_fixture import copy_of, ledger_of


def test_orphans_of_no_such_worker():
    for worker in (-1, 1):
        with pytest.raises(IndexError):
            orphans(Segment(1, 8, 4), worker, 0, None)


def script(ledger):
    """Endless work of every kind, one step at a time; a table of 8 and a cap of 3 fill up.

    Slots are 10 ns apart, their index that of the plan.
    """
    draw = random.Random(5)
    slot, now_ns = 0, 0
    flying, expired = [], []
    while True:
        late_ns = 25 if draw.random() < 0.05 else 1
        now_ns = max(now_ns, 10 * slot + late_ns)
        entry = ledger.take(slot, 10 * slot, now_ns)
        yield slot
        slot += 1
        if entry is not None:
            ledger.wait(entry)
            yield slot
        while ledger.waiting and ledger.in_flight(0) < ledger.cap:
            entry = ledger.next_waiting()
            ledger.hand(entry, 0, slot)
            flying.append(entry)
            yield slot
        ledger.tick(now_ns)
        yield slot
        while (entry := ledger.expire_next(now_ns)) is not None:
            flying.remove(entry)
            expired.append(entry)
            yield slot
        ends = flying if draw.random() < 0.8 else expired
        if ends and draw.random() < 0.9:
            ledger.finish(
                ends.pop(draw.randrange(len(ends))),
                draw.choice([Outcome.OK, Outcome.ERROR]),
                Reason.NONE,
                0,
                now_ns,
            )
            yield slot
        if draw.random() < 0.02:
            ledger.abandon(now_ns)
            expired += flying
            flying.clear()
            yield slot
        ledger.publish(now_ns, 10 * slot)
        yield slot


def assert_each_slot_once(segment, tally, t_dead_ns, slo_ns=50):
    """Records, made records and the slots never come to are the plan, each slot once."""
    tally.drain(segment, 0)
    left, cursor = orphans(segment, 0, t_dead_ns, slo_ns)
    ended = tally.rows["outcome"] != Outcome.NONE
    last = max([cursor, *(left["slot"] + 1)])
    assert cursor == last
    assert not ended[cursor:].any()
    made = np.bincount(left["slot"], minlength=cursor)
    assert (made + ended[:cursor] == 1).all()
    tally.add_rows(left)
    assert (tally.duplicates, tally.strays, segment.overflowed(0)) == (0, 0, 0)
    assert tally.counts.sum() == cursor
    judged = tally.rows["decision"] != Decision.UNDECIDED
    assert tally.buckets[:, :, 0].sum() == judged.sum()
    lost = tally.rows[tally.rows["outcome"] == Outcome.LOST]
    assert (lost["server"] != NO_SERVER).all()
    return cursor


def test_a_copy_of_every_step_leaves_each_slot_exactly_once():
    segment = Segment(1, 1 << 11, 8)
    ledger = ledger_of(segment, cap=3, timeout_ns=80)
    rows = np.zeros(1000, dtype=RECORD)
    kinds = set()
    for step, slot in enumerate(script(ledger)):
        copy = copy_of(segment)
        rows[:] = 0
        tally = Tally(2, len(rows), 10 * len(rows), rows)
        cursor = assert_each_slot_once(copy, tally, 10 * slot + 30)
        assert cursor in (slot, slot + 1)
        kinds |= set(rows["outcome"].tolist())
        copy.close()
        if step == 1500:
            break
    assert kinds >= set(Outcome) - {Outcome.UNSENT, Outcome.NONE}


def write_until_killed(segment):
    """The writer process: begins, and never ends by itself."""
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        for slot in script(ledger_of(segment, cap=3, timeout_ns=80)):
            if slot > 40_000:
                break
            while segment.pushed(0) - segment.popped(0) > segment.ring_capacity - 40:
                pass
        while True:
            time.sleep(1)
    finally:
        os._exit(1)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_writer_killed_at_any_moment_leaves_each_slot_exactly_once():
    segment = Segment(1, 1 << 12, 8)
    rows = np.zeros(50_000, dtype=RECORD)
    draw = random.Random(11)
    lengths = set()
    for _ in range(200):
        segment.reset()
        rows[:] = 0
        tally = Tally(2, len(rows), 10 * len(rows), rows)
        pid = os.fork()
        if pid == 0:
            write_until_killed(segment)
        try:
            target, deadline_s = draw.randrange(1, 2000), time.monotonic() + 20
            while segment.pushed(0) < target:
                tally.drain(segment, 0)
                assert time.monotonic() < deadline_s
            for _ in range(draw.randrange(50)):
                pass
        finally:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        t_dead_ns = 10 * segment.cursor(0) + draw.choice([0, 30, 10_000])
        lengths.add(assert_each_slot_once(segment, tally, t_dead_ns))
    assert len(lengths) > 100
