import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from harness._ledger import Ledger
from harness._orphans import orphans
from harness._shm import MAX_SERVER_COUNT, Segment
from harness._tally import Tally
from harness.records import ABSENT_NS, RECORD, Decision, Flag, Outcome, Reason
from tests.core_fixture import SegmentView, ledger_of
from tests.ledger_model import FOREVER_NS, LedgerModel, Pushed

MS = 1_000_000
SERVERS = 3
SLOT_LIMIT = 4096
ENDS = st.sampled_from([Outcome.OK, Outcome.OK, Outcome.ERROR])


def said(record):
    return Pushed(
        **{name: int(record[name]) for name in Pushed.__dataclass_fields__}
        | {
            "outcome": Outcome(record["outcome"]),
            "decision": Decision(record["decision"]),
            "reason": Reason(record["reason"]),
        }
    )


class LedgerMachine(RuleBasedStateMachine):
    """A transport that may do anything it is allowed to, at any virtual time."""

    @initialize(
        slo_ns=st.sampled_from([10 * MS, 50 * MS, None, 0]),
        lag_ns=st.sampled_from([25 * MS, 2 * MS]),
        timeout_ns=st.sampled_from([30 * MS, 100 * MS]),
        cap=st.integers(1, 4),
        capacity=st.integers(1, 8),
        ring_capacity=st.sampled_from([256, 4]),
        worker=st.integers(0, 2),
    )
    def start(self, slo_ns, lag_ns, timeout_ns, cap, capacity, ring_capacity, worker):
        self.segment = Segment(3, ring_capacity, capacity)
        self.view = SegmentView(self.segment)
        self.worker, self.cap, self.slo_ns = worker, cap, slo_ns
        self.ledger = Ledger(
            self.segment,
            worker,
            servers=SERVERS,
            slo_ns=slo_ns,
            timeout_ns=timeout_ns,
            lag_ns=lag_ns,
            cap=cap,
        )
        self.model = LedgerModel(SERVERS, slo_ns, timeout_ns, lag_ns, capacity, ring_capacity)
        self.tally = Tally(SERVERS, SLOT_LIMIT, 2**40, np.zeros(SLOT_LIMIT, dtype=RECORD))
        self.now_ns = 0
        self.next_slot = worker
        self.next_sched_ns = 0
        self.seen = 0
        self.entries = {}  # slot -> entry

    @rule(ns=st.one_of(st.integers(0, 3 * MS), st.integers(0, 120 * MS), st.just(1)))
    def time_passes(self, ns):
        self.now_ns += ns

    @precondition(lambda self: self.model.next_deadline_ns() < FOREVER_NS)
    @rule(early_ns=st.sampled_from([0, 1]), expire_first=st.booleans())
    def the_next_deadline_comes(self, early_ns, expire_first):
        self.now_ns = max(self.now_ns, self.model.next_deadline_ns() - early_ns)
        if expire_first:
            self.expire()
        self.tick()
        self.expire()

    @rule(
        gap_ns=st.one_of(st.integers(0, 2 * MS), st.integers(0, 30 * MS)),
        late_ns=st.one_of(
            st.integers(0, 2 * MS), st.sampled_from([0, MS, MS + 1, 2 * MS, 5 * MS, 25 * MS])
        ),
        hand=st.sampled_from([True, True, False]),
        server=st.integers(0, SERVERS - 1),
        epoch=st.integers(0, 2**32 - 1),
    )
    def take(self, gap_ns, late_ns, hand, server, epoch):
        slot, t_sched_ns = self.next_slot, self.next_sched_ns
        # Time never goes back, so a slot after a pause would always be dropped as the client's.
        if self.now_ns > t_sched_ns:
            t_sched_ns = self.next_sched_ns = self.now_ns
        self.now_ns = t_sched_ns + late_ns
        self.next_slot += 3
        self.next_sched_ns += gap_ns
        entry = self.ledger.take(slot, t_sched_ns, self.now_ns)
        one = self.model.take(slot, t_sched_ns, self.now_ns)
        assert (entry is None) == (one is None)
        if one is None:
            return
        self.entries[slot] = entry
        assert self.ledger.slot(entry) == slot
        if hand and not self.model.queue and self.model.in_flight(server) < self.cap:
            self.hand(one, server, epoch)
        else:
            self.ledger.wait(entry)
            self.model.wait(one)

    def hand(self, one, server, epoch):
        entry = self.entries[one.slot]
        self.ledger.hand(entry, server, epoch)
        self.model.hand(one, server, epoch)
        assert self.ledger.server(entry) == server

    @precondition(lambda self: self.model.queue)
    @rule(server=st.integers(0, SERVERS - 1), epoch=st.integers(0, 2**32 - 1))
    def hand_the_longest_waiting(self, server, epoch):
        if self.ledger.in_flight(server) >= self.ledger.cap:
            return
        one = self.model.queue.pop(0)
        assert self.ledger.next_waiting() == self.entries[one.slot]
        self.hand(one, server, epoch)

    @precondition(lambda self: any(one.handed for one in self.model.live + self.model.expired))
    @rule(
        data=st.data(),
        outcome=ENDS,
        reason=st.sampled_from([Reason.NONE, Reason.GRPC_STATUS, Reason.CONNECTION_LOST]),
        status=st.integers(0, 16),
        response_bytes=st.integers(0, 2**32 - 1),
    )
    def finish(self, data, outcome, reason, status, response_bytes):
        handed = [one for one in self.model.live + self.model.expired if one.handed]
        one = data.draw(st.sampled_from(handed))
        entry = self.entries.pop(one.slot)
        self.ledger.received(entry, response_bytes)
        one.response_bytes = response_bytes
        self.ledger.finish(entry, outcome, reason, status, self.now_ns)
        self.model.finish(one, outcome, reason, status, self.now_ns)

    @rule()
    def tick(self):
        self.ledger.tick(self.now_ns)
        self.model.tick(self.now_ns)

    @rule()
    def expire(self):
        while (entry := self.ledger.expire_next(self.now_ns)) is not None:
            one = self.model.expire_next(self.now_ns)
            assert self.entries[one.slot] == entry
            assert self.ledger.slot(entry) == one.slot
        assert self.model.expire_next(self.now_ns) is None

    @rule(last=st.booleans())
    def publish(self, last):
        next_sched_ns = None if last else self.next_sched_ns
        self.ledger.publish(self.now_ns, next_sched_ns)
        assert self.segment.heartbeat_ns(self.worker) == self.now_ns
        assert self.segment.watermark_ns(self.worker) == self.model.watermark_ns(next_sched_ns)

    @rule(ahead_ns=st.integers(0, 3 * MS))
    def sleep(self, ahead_ns):
        self.ledger.expect(self.now_ns + ahead_ns)
        self.model.expect(self.now_ns + ahead_ns)

    @rule()
    def wake(self):
        assert self.ledger.alive(self.now_ns) == self.model.alive(self.now_ns)

    @rule(server=st.integers(0, SERVERS - 1))
    def set_active(self, server):
        self.ledger.set_active(server)
        self.model.active = server

    @rule()
    def drain(self):
        waiting = self.segment.pushed(self.worker) - self.segment.popped(self.worker)
        assert self.tally.drain(self.segment, self.worker) == waiting
        self.model.popped = len(self.model.pushed)

    @precondition(lambda self: len(self.model.live) > 2)
    @rule()
    def abandon(self):
        self.ledger.abandon(self.now_ns)
        self.model.abandon(self.now_ns)

    @invariant()
    def the_ring_holds_what_the_model_pushed(self):
        found = self.view.pushed(self.worker, self.seen)
        assert [said(record) for record in found] == self.model.pushed[self.seen :]
        assert (found["worker"] == self.worker).all()
        assert (found["t_sent_ns"] == ABSENT_NS).all()
        self.seen = len(self.model.pushed)
        assert self.segment.pushed(self.worker) == self.seen
        assert self.segment.overflowed(self.worker) == self.model.overflowed

    @invariant()
    def the_counters_agree(self):
        model = self.model
        assert self.ledger.live == len(model.live)
        assert self.ledger.waiting == bool(model.queue)
        assert self.ledger.entries_used == len(model.live) + len(model.expired)
        assert self.segment.cursor(self.worker) == (
            self.next_slot - 2 if self.next_slot > self.worker else 0
        )
        for server in range(SERVERS):
            flying, most = self.segment.in_flight(self.worker, server)
            assert flying == model.in_flight(server) <= self.cap
            assert most == model.in_flight_max.get(server, 0)
            assert self.ledger.in_flight(server) == flying

    @invariant()
    def the_next_deadline_is_when_something_happens(self):
        assert self.ledger.next_deadline_ns() == self.model.next_deadline_ns()

    @invariant()
    def a_death_now_leaves_each_slot_exactly_once(self):
        if self.model.overflowed:
            return
        left, cursor = orphans(self.segment, self.worker, self.now_ns, self.slo_ns)
        finals = [one.slot for one in self.model.pushed if one.outcome != Outcome.NONE]
        taken = sorted([*finals, *left["slot"].tolist()])
        assert taken == list(range(self.worker, self.next_slot, 3))
        assert cursor <= self.next_slot
        assert not [slot for slot in range(cursor, self.next_slot) if slot % 3 == self.worker]
        made = {one.slot: one for one in self.model.live}
        for record in left:
            one = made[int(record["slot"])]
            late = one.overdue or self.model.is_late(self.now_ns, one.t_sched_ns)
            assert record["outcome"] == (Outcome.LOST if one.handed else Outcome.UNSENT)
            assert record["server"] == one.server
            assert record["epoch"] == one.epoch
            assert record["decision"] == (
                Decision.SLOW if one.overdue or (late and one.handed) else Decision.UNDECIDED
            )
            assert record["flags"] == (one.flags | Flag.MADE | (Flag.OVERDUE if one.overdue else 0))
            assert (record["t_sched_ns"], record["t_taken_ns"], record["t_done_ns"]) == (
                one.t_sched_ns,
                one.t_taken_ns,
                ABSENT_NS,
            )

    def teardown(self):
        if not hasattr(self, "ledger"):
            return
        for step in (self.drain, self.tick, self.drain, self.abandon, self.drain):
            step()
            self.the_ring_holds_what_the_model_pushed()
        for one in list(self.model.expired):
            self.ledger.finish(self.entries.pop(one.slot), Outcome.OK, Reason.NONE, 0, self.now_ns)
            self.model.finish(one, Outcome.OK, Reason.NONE, 0, self.now_ns)
        self.the_ring_holds_what_the_model_pushed()
        self.the_counters_agree()
        assert self.ledger.entries_used == 0
        assert self.ledger.next_deadline_ns() == FOREVER_NS
        self.each_slot_is_judged_and_ended_once()

    def each_slot_is_judged_and_ended_once(self):
        overdue, ended = set(), set()
        for one in self.model.pushed:
            assert one.slot not in ended
            if one.outcome == Outcome.NONE:
                assert one.slot not in overdue
                overdue.add(one.slot)
            else:
                ended.add(one.slot)
                if not self.model.overflowed:
                    assert (one.slot in overdue) == bool(one.flags & Flag.OVERDUE)
        assert (self.tally.duplicates, self.tally.strays) == (0, 0)
        if not self.model.overflowed:
            assert ended == set(range(self.worker, self.next_slot, 3))
            assert self.tally.counts.sum() == len(ended)


LedgerMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
TestLedger = LedgerMachine.TestCase


@pytest.mark.parametrize(
    ("changes", "said_so"),
    [
        ({"worker": 1}, "no such worker"),
        ({"worker": -1}, "no such worker"),
        ({"servers": 0}, "too many servers"),
        ({"servers": MAX_SERVER_COUNT + 1}, "too many servers"),
        ({"cap": 0}, "the cap must be positive"),
        ({"lag_ns": 501}, "the lag within the timeout"),
    ],
)
def test_values_that_do_not_fit(changes, said_so):
    with pytest.raises(ValueError, match=said_so):
        ledger_of(Segment(1, 8, 4), **changes)


def test_the_limit_itself_is_in_time():
    segment = Segment(1, 8, 4)
    ledger = ledger_of(segment)
    for slot, t_done_ns in enumerate((50, 51)):
        entry = ledger.take(slot, 0, 0)
        ledger.hand(entry, 0, 0)
        ledger.finish(entry, Outcome.OK, Reason.NONE, 0, t_done_ns)
    found = SegmentView(segment).pushed(0, 0)
    assert found["decision"].tolist() == [Decision.IN_TIME, Decision.SLOW]
    assert found["flags"].tolist() == [0, Flag.COMPLETED_AFTER_DECISION]


@pytest.mark.parametrize(("slo_ns", "flag"), [(None, 0), (10**9, Flag.CLIENT_LATE)])
def test_a_loop_gap_marks_what_is_in_flight_only_where_an_slo_judges_it(slo_ns, flag):
    segment = Segment(1, 8, 4)
    ledger = Ledger(segment, 0, servers=1, slo_ns=slo_ns, timeout_ns=10**10, lag_ns=100 * MS, cap=2)
    entry = ledger.take(0, 0, 0)
    ledger.hand(entry, 0, 0)
    ledger.expect(10 * MS)
    assert ledger.alive(300 * MS)
    ledger.finish(entry, Outcome.OK, Reason.NONE, 0, 301 * MS)
    assert SegmentView(segment).pushed(0, 0)["flags"].tolist() == [flag]


def test_beginning_again_forgets_the_phase_before():
    segment = Segment(1, 8, 4)
    ledger = ledger_of(segment)
    for _ in range(3):
        for slot in range(5):
            entry = ledger.take(slot, 10 * slot, 10 * slot)
            if entry is not None:
                ledger.hand(entry, 1, 1)
        assert ledger.take(9, 90, 120) is None
        segment.reset()
        ledger.begin()
        assert (ledger.live, ledger.entries_used, ledger.waiting) == (0, 0, False)
        assert segment.in_flight(0, 1) == (0, 0)
        assert ledger.next_deadline_ns() == FOREVER_NS
