from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness._histogram import Histogram
from harness._ledger import Ledger
from harness._shm import Segment
from harness._tally import (
    ANSWER_FIELDS,
    BUCKET_FIELDS,
    EPOCH_FIELDS,
    EPOCH_LIMIT,
    HISTOGRAMS,
    INSIDE_FIELDS,
    Tally,
)
from harness.records import ABSENT_NS, BUCKET_NS, NO_SERVER, RECORD, Decision, Flag, Outcome, Reason

SERVERS = 2
SLOTS = 24
DURATION_NS = 4 * BUCKET_NS - 1000
FINALS = list(Outcome)[1:]
LEDGER = {"slo_ns": 50, "timeout_ns": 500, "lag_ns": 20, "cap": 64}


def record(slot, t_sched_ns=0, **fields):
    row = np.zeros((), dtype=RECORD)
    row["slot"], row["t_sched_ns"] = slot, t_sched_ns
    for name in ("t_taken_ns", "t_sent_ns", "t_first_ns", "t_done_ns"):
        row[name] = ABSENT_NS
    for name, value in fields.items():
        row[name] = value
    return row


def rows_of(records):
    return np.array(records, dtype=RECORD).reshape(-1)


@st.composite
def finals(draw, slot):
    """A final record, with or without an overdue one before it."""
    t_sched_ns = draw(st.integers(0, DURATION_NS - 1))
    outcome = draw(st.sampled_from(FINALS))
    taken = outcome == Outcome.OK or draw(st.booleans())
    sent = taken and draw(st.booleans())
    t_taken_ns = t_sched_ns + draw(st.integers(0, 10**6)) if taken else ABSENT_NS
    final = record(
        slot,
        t_sched_ns,
        t_taken_ns=t_taken_ns,
        t_sent_ns=t_taken_ns + draw(st.integers(0, 10**6)) if sent else ABSENT_NS,
        t_done_ns=t_sched_ns + draw(st.integers(0, 2 * BUCKET_NS)),
        worker=draw(st.integers(0, 3)),
        server=draw(st.sampled_from([*range(SERVERS), SERVERS, NO_SERVER])),
        outcome=outcome,
        decision=draw(st.sampled_from(list(Decision))),
        reason=draw(st.sampled_from(list(Reason))),
        status=draw(st.sampled_from([0, 4, 14, 16, 17, 200])),
        flags=draw(st.sampled_from([0, Flag.CLIENT_LATE, Flag.WAITED])),
        epoch=draw(st.sampled_from([0, 1, EPOCH_LIMIT - 1, EPOCH_LIMIT, 2**32 - 1])),
    )
    if not draw(st.booleans()):
        return [final]
    overdue = final.copy()
    overdue["outcome"], overdue["t_done_ns"] = Outcome.NONE, ABSENT_NS
    overdue["decision"] = final["decision"] = Decision.SLOW
    overdue["flags"] = final["flags"] = final["flags"] | int(Flag.OVERDUE)
    return [overdue, final]


@st.composite
def record_streams(draw):
    slots = draw(st.lists(st.integers(0, SLOTS - 1), unique=True, max_size=SLOTS))
    return [one for slot in slots for one in draw(finals(slot))]


class Recount:
    """The same figures, slowly."""

    def __init__(self, records):
        self.counts, self.reasons, self.statuses = Counter(), Counter(), Counter()
        self.buckets, self.inside, self.workers = Counter(), Counter(), Counter()
        self.answers, self.handed = {}, {}
        self.values = {(name, server): [] for name in HISTOGRAMS for server in range(SERVERS + 1)}
        for one in records:
            self.add(one)

    def add(self, one):
        server = min(int(one["server"]), SERVERS)
        bucket = int(one["t_sched_ns"]) // BUCKET_NS
        outcome, decision = Outcome(one["outcome"]), Decision(one["decision"])
        overdue = bool(one["flags"] & Flag.OVERDUE)
        final = outcome != Outcome.NONE
        if decision != Decision.UNDECIDED and final != overdue:
            self.buckets[server, bucket, "decided"] += 1
            self.buckets[server, bucket, "violations"] += decision != Decision.IN_TIME
        if not final:
            return
        self.counts[server, outcome, decision] += 1
        self.reasons[server, int(one["reason"])] += 1
        self.workers[int(one["worker"])] += 1
        if outcome <= Outcome.LOST:
            epoch = min(int(one["epoch"]), EPOCH_LIMIT - 1)
            self.handed.setdefault(epoch, []).append(int(one["slot"]))
        self.buckets[server, bucket, "client_late"] += bool(one["flags"] & Flag.CLIENT_LATE)
        sched, taken, sent, done = (
            int(one[f"t_{name}_ns"]) for name in ("sched", "taken", "sent", "done")
        )
        if taken != ABSENT_NS:
            self.values["lateness", server].append(taken - sched)
        if sent != ABSENT_NS:
            self.values["send_delay", server].append(sent - taken)
        if outcome == Outcome.OK:
            self.values["response", server].append(done - sched)
            self.values["service", server].append(done - taken)
            self.buckets[server, bucket, "ok"] += 1
            self.inside[server, "ok"] += done < DURATION_NS
            if done < DURATION_NS and decision == Decision.IN_TIME:
                self.inside[server, "in_slo"] += 1
                self.answers.setdefault(done // BUCKET_NS, []).append(done)
        if outcome in (Outcome.ERROR, Outcome.TIMEOUT):
            self.buckets[server, bucket, "errors"] += 1
        if outcome == Outcome.ERROR:
            self.statuses[server, min(int(one["status"]), 17)] += 1


def nonzero(array, *names):
    """The array's cells that are not 0, its last axis by name where names are given."""
    cells = {}
    for place in zip(*np.nonzero(array), strict=True):
        key = tuple(map(int, place))
        cells[(*key[:-1], names[key[-1]]) if names else key] = int(array[place])
    return cells


def spans(array):
    """(first, last) by row, of the rows that have them."""
    assert ((array == -1).all(axis=1) | (array >= 0).all(axis=1)).all()
    return {int(row): tuple(map(int, array[row])) for row in np.flatnonzero(array[:, 0] >= 0)}


def kept(counter):
    return {key: count for key, count in counter.items() if count}


def bins_of(values):
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return described(histogram)


def described(histogram):
    lower, counts = histogram.bins()
    return lower.tolist(), counts.tolist(), histogram.max_ns, histogram.mean_ns


@settings(max_examples=150)
@given(record_streams())
def test_everything_counted_equals_a_slow_recount(records):
    kept_rows = np.zeros(SLOTS, dtype=RECORD)
    tally = Tally(SERVERS, SLOTS, DURATION_NS, kept_rows)
    tally.add_rows(rows_of(records))
    recount = Recount(records)
    assert nonzero(tally.counts) == kept(recount.counts)
    assert nonzero(tally.reasons) == kept(recount.reasons)
    assert nonzero(tally.statuses) == kept(recount.statuses)
    assert nonzero(tally.buckets, *BUCKET_FIELDS) == kept(recount.buckets)
    assert nonzero(tally.inside, *INSIDE_FIELDS) == kept(recount.inside)
    assert nonzero(tally.worker_slots) == {(w,): n for w, n in recount.workers.items()}
    assert spans(tally.answers) == {b: (min(t), max(t)) for b, t in recount.answers.items()}
    assert nonzero(tally.epochs[:, :1]) == {(e, 0): len(s) for e, s in recount.handed.items()}
    assert spans(tally.epochs[:, 1:]) == {e: (min(s), max(s)) for e, s in recount.handed.items()}
    assert (tally.duplicates, tally.strays) == (0, 0)
    for name in HISTOGRAMS:
        for server in range(SERVERS + 1):
            found = described(tally.histogram(name, server))
            assert found == bins_of(recount.values[name, server]), (name, server)
        together = [v for s in range(SERVERS + 1) for v in recount.values[name, s]]
        assert described(tally.histogram(name)) == bins_of(together)
    answers = [v for s in range(SERVERS + 1) for v in recount.values["response", s]]
    assert described(tally.recent) == bins_of(answers)
    by_slot = {int(one["slot"]): one for one in records if one["outcome"] != Outcome.NONE}
    for slot in range(SLOTS):
        expected = by_slot.get(slot, np.zeros((), dtype=RECORD))
        assert kept_rows[slot].tobytes() == expected.tobytes()


def test_shapes():
    tally = Tally(3, 10, 2 * BUCKET_NS + 1)
    assert (tally.servers, tally.slots, tally.duration_ns) == (3, 10, 2 * BUCKET_NS + 1)
    assert tally.bucket_count == 3
    assert tally.counts.shape == (4, 8, 4)
    assert tally.reasons.shape == (4, 16)
    assert tally.statuses.shape == (4, 18)
    assert tally.buckets.shape == (4, 3, len(BUCKET_FIELDS))
    assert tally.inside.shape == (4, len(INSIDE_FIELDS))
    assert tally.answers.shape == (3, len(ANSWER_FIELDS))
    assert tally.epochs.shape == (EPOCH_LIMIT, len(EPOCH_FIELDS))
    assert tally.rows is None


def test_an_overdue_slot_is_judged_once():
    tally = Tally(1, 1, BUCKET_NS)
    overdue = record(0, decision=Decision.SLOW, flags=Flag.OVERDUE)
    final = record(
        0,
        t_taken_ns=0,
        t_done_ns=100,
        outcome=Outcome.OK,
        decision=Decision.SLOW,
        flags=Flag.OVERDUE | Flag.COMPLETED_AFTER_DECISION,
    )
    tally.add_rows(rows_of([overdue]))
    assert nonzero(tally.buckets, *BUCKET_FIELDS) == {
        (0, 0, "decided"): 1,
        (0, 0, "violations"): 1,
    }
    assert tally.counts.sum() == 0
    tally.add_rows(rows_of([final]))
    assert nonzero(tally.buckets, *BUCKET_FIELDS) == {
        (0, 0, "decided"): 1,
        (0, 0, "violations"): 1,
        (0, 0, "ok"): 1,
    }
    assert tally.counts[0, Outcome.OK, Decision.SLOW] == tally.counts.sum() == 1


@pytest.mark.parametrize(
    "stray",
    [
        record(-1, outcome=Outcome.OK),
        record(SLOTS, outcome=Outcome.OK),
        record(2**62, outcome=Outcome.OK),
        record(0, 4 * BUCKET_NS, outcome=Outcome.OK),
        record(0, -BUCKET_NS, outcome=Outcome.OK),
        record(0, outcome=8),
        record(0, outcome=Outcome.OK, decision=4),
        record(0, -1, outcome=Outcome.OK),
        record(0, -1, outcome=Outcome.NONE, decision=Decision.SLOW),
    ],
)
def test_a_stray_is_counted_and_touches_nothing(stray):
    tally = Tally(SERVERS, SLOTS, DURATION_NS, np.zeros(SLOTS, dtype=RECORD))
    tally.add_rows(rows_of([stray]))
    assert tally.strays == 1
    for figures in (tally.counts, tally.reasons, tally.buckets, tally.inside, tally.worker_slots):
        assert not figures.any()
    assert spans(tally.answers) == spans(tally.epochs[:, 1:]) == {}
    assert not tally.rows["outcome"].any()
    assert all(tally.histogram(name).count == 0 for name in HISTOGRAMS)


def answer(slot, t_done_ns, decision=Decision.IN_TIME, **fields):
    return record(
        slot, t_taken_ns=0, t_done_ns=t_done_ns, outcome=Outcome.OK, decision=decision, **fields
    )


def test_answers_count_where_they_came_and_epochs_where_handed():
    tally = Tally(1, 100, 2 * BUCKET_NS)
    late = Decision.SLOW
    tally.add_rows(
        rows_of(
            [
                answer(7, 30),
                answer(5, 20, epoch=2),
                answer(6, 40),
                answer(8, 10, late),
                answer(9, BUCKET_NS),
                answer(10, 2 * BUCKET_NS),
                answer(11, ABSENT_NS),
                record(12, outcome=Outcome.LOST, epoch=2),
                record(3, outcome=Outcome.DROPPED, decision=Decision.STATUS),
                record(99, outcome=Outcome.UNSENT),
            ]
        )
    )
    assert tally.answers.tolist() == [[20, 40], [BUCKET_NS, BUCKET_NS]]
    assert tally.epochs[:4].tolist() == [[6, 6, 11], [0, -1, -1], [2, 5, 12], [0, -1, -1]]


def test_the_first_final_record_of_a_slot_stays():
    tally = Tally(1, 2, BUCKET_NS, np.zeros(2, dtype=RECORD))
    first = record(1, t_taken_ns=0, t_done_ns=5, outcome=Outcome.OK, decision=Decision.IN_TIME)
    second = record(1, outcome=Outcome.LOST)
    tally.add_rows(rows_of([first, second, second]))
    assert tally.duplicates == 2
    assert tally.counts.sum() == 1
    assert tally.rows[1].tobytes() == first.tobytes()


@pytest.mark.parametrize("any_byte", [0, 17, 255])
def test_no_byte_of_a_record_leads_out_of_the_arrays(any_byte):
    tally = Tally(1, 4, BUCKET_NS)
    for outcome in range(256):
        one = record(1, outcome=outcome, decision=Decision.SLOW)
        one["reason"] = one["status"] = one["server"] = one["flags"] = any_byte
        one["worker"] = 65535
        tally.add_rows(rows_of([one]))
    assert tally.counts.sum() + tally.strays == 256 - 1
    assert tally.strays == 248


@pytest.mark.parametrize("servers", [0, -1, 33])
def test_too_many_servers(servers):
    with pytest.raises(ValueError, match="1 to 32 servers"):
        Tally(servers, 1, 1)


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros(5, dtype=RECORD),
        np.zeros((4, 1), dtype=RECORD),
        np.zeros(8, dtype=RECORD)[::2],
        np.zeros(4, dtype="V64"),
    ],
)
def test_rows_that_do_not_fit(rows):
    with pytest.raises(ValueError, match="at most one RECORD per slot"):
        Tally(1, 4, BUCKET_NS, rows)


@given(st.lists(st.integers(0, 11), unique=True), st.integers(0, 8))
def test_records_beyond_the_rows_are_counted_and_written_nowhere(slots, limit):
    memory = np.zeros(12, dtype=RECORD)
    tally = Tally(1, 2**60, BUCKET_NS, memory[:8])
    tally.limit_rows(limit)
    tally.add_rows(rows_of([record(slot, outcome=Outcome.UNSENT) for slot in slots]))
    inside = [slot for slot in slots if slot < limit]
    assert np.flatnonzero(memory["outcome"]).tolist() == sorted(inside)
    assert tally.unrecorded == len(slots) - len(inside)
    assert tally.slots_end == max(slots, default=-1) + 1
    assert (tally.counts.sum(), tally.duplicates) == (len(slots), 0)


def test_rows_given_up_are_written_no_more():
    rows = np.zeros(4, dtype=RECORD)
    tally = Tally(1, 4, BUCKET_NS, rows)
    tally.give_up_rows()
    tally.add_rows(rows_of([record(1, outcome=Outcome.UNSENT)]))
    assert tally.rows is None
    assert not rows["outcome"].any()
    assert (tally.counts.sum(), tally.unrecorded) == (1, 0)


@pytest.mark.parametrize("count", [-1, 5])
def test_no_more_rows_than_there_are(count):
    with pytest.raises(ValueError, match=f"{count} rows are not there"):
        Tally(1, 9, BUCKET_NS, np.zeros(4, dtype=RECORD)).limit_rows(count)
    with pytest.raises(ValueError, match="0 rows are not there"):
        Tally(1, 9, BUCKET_NS).limit_rows(0)


def test_only_records_are_added():
    tally = Tally(1, 4, BUCKET_NS)
    with pytest.raises(ValueError, match="one-dimensional array of RECORD"):
        tally.add_rows(np.zeros(4))
    with pytest.raises(ValueError, match="one-dimensional array of RECORD"):
        tally.add_rows(np.zeros((2, 2), dtype=RECORD))
    spaced = np.zeros(4, dtype=RECORD)
    spaced["slot"], spaced["outcome"] = [0, 9, 1, 9], Outcome.UNSENT
    tally.add_rows(spaced[::2])
    assert (tally.counts.sum(), tally.strays) == (2, 0)


def test_what_there_is_no_histogram_of():
    tally = Tally(2, 1, 1)
    with pytest.raises(ValueError, match="not in tuple"):
        tally.histogram("nothing")
    for server in (-1, 3):
        with pytest.raises(IndexError):
            tally.histogram("response", server)
    with pytest.raises(IndexError):
        tally.drain(Segment(1, 2, 1), 1)


def test_a_servers_histogram_is_shared_and_keeps_the_tally_alive():
    tally = Tally(1, 2, BUCKET_NS)
    histogram = tally.histogram("response", 0)
    answer = record(0, t_taken_ns=0, t_done_ns=5, outcome=Outcome.OK)
    tally.add_rows(rows_of([answer]))
    recent = tally.recent
    del tally
    assert histogram.count == recent.count == 1
    recent.clear()
    assert (histogram.count, recent.count) == (1, 0)


def answer_slots(ledger, first, count):
    """Take, hand and answer slots, each 10 ns after the one before."""
    for slot in range(first, first + count):
        t_ns = 10 * slot
        entry = ledger.take(slot, t_ns, t_ns + 1)
        ledger.hand(entry, 0, 0)
        ledger.finish(entry, Outcome.OK, Reason.NONE, 0, t_ns + 5)


def test_a_ring_is_drained_over_and_over():
    segment = Segment(2, 8, 4)
    ledger = Ledger(segment, 1, servers=1, **LEDGER)
    tally = Tally(1, 1000, BUCKET_NS, np.zeros(1000, dtype=RECORD))
    slot = 0
    for count in [0, 1, 8, 3, 8, 7, 0, 8, *([5] * 100)]:
        answer_slots(ledger, slot, count)
        slot += count
        assert segment.pushed(1) - segment.popped(1) == count
        assert tally.drain(segment, 1) == count
        assert segment.popped(1) == segment.pushed(1) == slot
    assert tally.drain(segment, 0) == 0
    assert tally.rows["slot"][:slot].tolist() == list(range(slot))
    assert tally.rows["t_done_ns"][:slot].tolist() == [10 * i + 5 for i in range(slot)]
    assert (tally.rows["worker"][:slot] == 1).all()
    assert not tally.rows["outcome"][slot:].any()
    assert segment.overflowed(1) == tally.strays == tally.duplicates == 0


def test_a_full_ring_counts_and_never_overwrites():
    segment = Segment(1, 8, 4)
    ledger = Ledger(segment, 0, servers=1, **LEDGER)
    tally = Tally(1, 100, BUCKET_NS, np.zeros(100, dtype=RECORD))
    answer_slots(ledger, 0, 20)
    assert (segment.pushed(0), segment.overflowed(0)) == (8, 12)
    assert tally.drain(segment, 0) == 8
    assert np.flatnonzero(tally.rows["outcome"]).tolist() == list(range(8))
    answer_slots(ledger, 20, 9)
    assert (segment.pushed(0), segment.overflowed(0)) == (16, 13)
    assert tally.drain(segment, 0) == 8
    assert np.flatnonzero(tally.rows["outcome"]).tolist() == [*range(8), *range(20, 28)]
    assert ledger.entries_used == 0


def test_an_overdue_record_lost_in_a_full_ring_leaves_the_slot_judged_slow():
    segment = Segment(1, 2, 4)
    ledger = Ledger(segment, 0, servers=1, **LEDGER)
    tally = Tally(1, 10, BUCKET_NS, np.zeros(10, dtype=RECORD))
    late = ledger.take(0, 0, 1)
    ledger.hand(late, 0, 0)
    answer_slots(ledger, 1, 2)
    ledger.tick(100)
    assert segment.overflowed(0) == 1
    tally.drain(segment, 0)
    ledger.finish(late, Outcome.OK, Reason.NONE, 0, 101)
    tally.drain(segment, 0)
    assert tally.rows[0]["decision"] == Decision.SLOW
    assert tally.rows[0]["flags"] == Flag.OVERDUE | Flag.COMPLETED_AFTER_DECISION
