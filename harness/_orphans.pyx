"""What a dead worker leaves: the records it did not push."""

import numpy as np

from harness.records import RECORD

from libc.stdint cimport INT64_MAX, int32_t, int64_t

from harness._shm cimport (
    ENTRY_HANDED, ENTRY_WAITING, FLAG_MADE, FLAG_OVERDUE, OUTCOME_LOST, OUTCOME_UNSENT,
    REASON_NONE, UNDECIDED, VIOLATED_SLOW, Entry, Record, Segment,
)

cdef enum:
    ABSENT_NS = -1


def orphans(Segment segment not None, int worker, int64_t t_dead_ns, slo_ns):
    """The records a dead worker did not push, and its first slot that was never taken."""
    if not 0 <= worker < segment.workers:
        raise IndexError(worker)
    cdef Entry *entries = segment.table(worker)
    cdef Record *records = segment.ring_records(worker)
    cdef int64_t head = <int64_t> segment.ring(worker).head
    cdef int64_t cursor = segment.worker_page(worker).cursor
    cdef int64_t threshold_ns = INT64_MAX // 2 if slo_ns is None else slo_ns
    cdef const Entry *entry
    cdef int32_t e
    cdef bint handed
    # A slot dropped at once has its record pushed before the cursor moves on.
    if head and records[(head - 1) & (segment.ring_capacity - 1)].slot >= cursor:
        cursor = records[(head - 1) & (segment.ring_capacity - 1)].slot + 1
    made = []
    for e in range(<int32_t> segment.table_capacity):
        entry = &entries[e]
        if entry.state != ENTRY_WAITING and entry.state != ENTRY_HANDED:
            continue
        if entry.slot >= cursor or 0 <= entry.final_at < head:
            continue
        handed = entry.state == ENTRY_HANDED
        decision, flags = UNDECIDED, entry.flags | FLAG_MADE
        if 0 <= entry.overdue_at < head:
            decision, flags = VIOLATED_SLOW, flags | FLAG_OVERDUE
        elif handed and t_dead_ns - entry.t_sched_ns > threshold_ns:
            decision = VIOLATED_SLOW
        made.append((
            entry.slot, entry.t_sched_ns, entry.t_taken_ns, entry.t_sent_ns, entry.t_first_ns,
            ABSENT_NS, entry.epoch, entry.response_bytes, worker,
            entry.server, OUTCOME_LOST if handed else OUTCOME_UNSENT, decision, REASON_NONE, 0,
            flags))
    return np.array(made, dtype=RECORD), cursor
