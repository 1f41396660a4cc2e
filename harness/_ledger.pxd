# A worker's side of the books: every slot it takes, until its final record is pushed.
#
# An entry moves FREE -> WAITING -> HANDED -> FREE, or HANDED -> EXPIRED -> FREE when its deadline
# passes while its stream stays open. Entries that have no final record yet form one list in slot
# order; `undecided` is the cursor into it that the overdue records follow.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from harness._shm cimport Entry, Record, Ring, RunPage, Segment, WorkerPage

cdef struct LedgerState:
    WorkerPage *page
    Ring *ring
    Record *records
    Entry *entries
    uint64_t mask
    uint64_t head
    uint64_t tail
    int64_t slo_ns
    int64_t timeout_ns
    int64_t lag_ns
    int64_t late_ns
    int64_t patience_ns  # when an undecided slot is no longer waited for: T, or 1 s without an SLO
    int64_t expected_ns  # when the worker meant to be awake again
    int64_t gap_end_ns  # of its last loop gap over late_ns
    int64_t next_sched_ns  # of the first slot not taken; INT64_MAX: none
    int64_t watermark_ns
    int32_t free_first
    int32_t live_first
    int32_t live_last
    int32_t undecided
    int32_t waiting_first
    int32_t waiting_last
    int32_t entries_used
    int32_t capacity
    uint32_t cap
    int worker
    int servers
    uint8_t active  # the server that slots never handed are charged to
    bint stood_still  # there was a loop gap over late_ns, and what came meanwhile is not read

cdef int32_t ledger_take(LedgerState *self, int64_t slot, int64_t t_sched_ns,
                         int64_t t_taken_ns) noexcept nogil
cdef int ledger_wait(LedgerState *self, int32_t e) noexcept nogil
cdef int ledger_hand(LedgerState *self, int32_t e, uint8_t server, uint32_t epoch) noexcept nogil
cdef int32_t ledger_next_waiting(LedgerState *self) noexcept nogil
cdef int ledger_finish(LedgerState *self, int32_t e, uint8_t outcome, uint8_t reason,
                       uint8_t status, int64_t t_done_ns) noexcept nogil
cdef int ledger_tick(LedgerState *self, int64_t now_ns) noexcept nogil
cdef int32_t ledger_expire_next(LedgerState *self, int64_t now_ns) noexcept nogil
cdef int ledger_abandon(LedgerState *self, int64_t now_ns) noexcept nogil
cdef int64_t ledger_next_deadline_ns(LedgerState *self) noexcept nogil
cdef int ledger_publish(LedgerState *self, int64_t now_ns) noexcept nogil
cdef int ledger_stood_still(LedgerState *self, int64_t now_ns) noexcept nogil


cdef inline int ledger_alive(LedgerState *self, int64_t now_ns) noexcept nogil:
    """The worker runs at this moment; it may have stood still until now."""
    if now_ns - self.expected_ns > self.late_ns:
        ledger_stood_still(self, now_ns)
    self.expected_ns = now_ns
    return 0


cdef class Ledger:
    cdef Segment segment
    cdef LedgerState state
