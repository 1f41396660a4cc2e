"""A worker's side of the books: every slot it takes, until its final record is pushed."""

from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memset

from harness._shm cimport (
    ENTRY_EXPIRED, ENTRY_FREE, ENTRY_HANDED, ENTRY_WAITING, FLAG_CLIENT_LATE,
    FLAG_COMPLETED_AFTER_DECISION, FLAG_OVERDUE, FLAG_WAITED, IN_TIME, MAX_SERVERS,
    NO_SERVER, NONE, OUTCOME_CANCELLED, OUTCOME_DROPPED, OUTCOME_NONE, OUTCOME_OK,
    OUTCOME_TIMEOUT, REASON_BACKPRESSURE, REASON_CLIENT, REASON_NONE, UNDECIDED,
    VIOLATED_SLOW, VIOLATED_STATUS, Entry, Record, Segment,
)
from harness.includes.atomics cimport (
    load_acquire, store_release, store_release_i64, store_release_u8,
)

cdef enum:
    ABSENT_NS = -1
    MS_NS = 1000000
    PATIENCE_WITHOUT_SLO_NS = 1000000000


cdef inline Record *next_record(LedgerState *self) noexcept nogil:
    """Where the next record goes; NULL, counted, when the ring is full."""
    if self.head - self.tail > self.mask:
        self.tail = load_acquire(&self.ring.tail)
        if self.head - self.tail > self.mask:
            store_release(&self.page.overflowed, self.page.overflowed + 1)
            return NULL
    return &self.records[self.head & self.mask]


cdef inline bint client_late(LedgerState *self, int64_t t_sched_ns,
                             int64_t t_taken_ns) noexcept nogil:
    """Too late to be judged: taken late, or due while the worker stood still."""
    return t_taken_ns - t_sched_ns > self.late_ns or t_sched_ns <= self.gap_end_ns


cdef int ledger_stood_still(LedgerState *self, int64_t now_ns) noexcept nogil:
    """Whatever is undecided now may have been answered while nobody read it.

    Without an SLO nothing is judged by time, and an answer that is read late harms no slot.
    """
    cdef int32_t e = self.undecided if self.slo_ns <= self.patience_ns else NONE
    while e != NONE:
        self.entries[e].flags |= FLAG_CLIENT_LATE
        e = self.entries[e].next
    self.gap_end_ns = now_ns
    self.stood_still = True
    return 0


cdef inline int push(LedgerState *self) noexcept nogil:
    self.head += 1
    store_release(&self.ring.head, self.head)
    return 0


cdef inline int fill(LedgerState *self, Record *record, const Entry *entry) noexcept nogil:
    record.slot = entry.slot
    record.t_sched_ns = entry.t_sched_ns
    record.t_taken_ns = entry.t_taken_ns
    record.t_sent_ns = entry.t_sent_ns
    record.t_first_ns = entry.t_first_ns
    record.epoch = entry.epoch
    record.response_bytes = entry.response_bytes
    record.worker = self.worker
    record.server = entry.server
    return 0


cdef inline int unlink_live(LedgerState *self, int32_t e) noexcept nogil:
    cdef Entry *entry = &self.entries[e]
    if self.undecided == e:
        self.undecided = entry.next
    if entry.previous != NONE:
        self.entries[entry.previous].next = entry.next
    else:
        self.live_first = entry.next
    if entry.next != NONE:
        self.entries[entry.next].previous = entry.previous
    else:
        self.live_last = entry.previous
    return 0


cdef inline int release_entry(LedgerState *self, int32_t e) noexcept nogil:
    cdef Entry *entry = &self.entries[e]
    if entry.state != ENTRY_WAITING:
        self.page.in_flight[entry.server] -= 1
    entry.state = ENTRY_FREE
    entry.next = self.free_first
    self.free_first = e
    self.entries_used -= 1
    return 0


cdef inline uint8_t decide(LedgerState *self, const Entry *entry, uint8_t outcome,
                           int64_t t_end_ns) noexcept nogil:
    """The judgement at min(t_end, t_sched + T)."""
    if entry.flags & FLAG_OVERDUE:
        return entry.decision
    if outcome == OUTCOME_DROPPED:
        return VIOLATED_STATUS
    if t_end_ns - entry.t_sched_ns > self.slo_ns:
        return VIOLATED_SLOW
    if outcome == OUTCOME_OK:
        return IN_TIME
    if outcome == OUTCOME_CANCELLED:
        return UNDECIDED
    return VIOLATED_STATUS


cdef int drop_at_once(LedgerState *self, int64_t slot, int64_t t_sched_ns, int64_t t_taken_ns,
                      uint8_t reason) noexcept nogil:
    """The final record of a slot that gets no entry."""
    cdef Record *record = next_record(self)
    if record == NULL:
        return -1
    record.slot = slot
    record.t_sched_ns = t_sched_ns
    record.t_taken_ns = t_taken_ns
    record.t_sent_ns = ABSENT_NS
    record.t_first_ns = ABSENT_NS
    record.t_done_ns = ABSENT_NS
    record.epoch = 0
    record.response_bytes = 0
    record.worker = self.worker
    record.server = self.active if reason == REASON_BACKPRESSURE else NO_SERVER
    record.outcome = OUTCOME_DROPPED
    record.decision = VIOLATED_STATUS if reason == REASON_BACKPRESSURE else UNDECIDED
    record.reason = reason
    record.status = 0
    record.flags = FLAG_CLIENT_LATE if client_late(self, t_sched_ns, t_taken_ns) else 0
    return push(self)


cdef int32_t ledger_take(LedgerState *self, int64_t slot, int64_t t_sched_ns,
                         int64_t t_taken_ns) noexcept nogil:
    cdef int32_t e = self.free_first
    cdef int64_t lateness_ns = t_taken_ns - t_sched_ns
    cdef Entry *entry
    if lateness_ns > self.lag_ns or e == NONE:
        drop_at_once(self, slot, t_sched_ns, t_taken_ns,
                     REASON_CLIENT if lateness_ns > self.lag_ns else REASON_BACKPRESSURE)
        store_release_i64(&self.page.cursor, slot + 1)
        return NONE
    entry = &self.entries[e]
    self.free_first = entry.next
    self.entries_used += 1
    entry.slot = slot
    entry.t_sched_ns = t_sched_ns
    entry.t_taken_ns = t_taken_ns
    entry.t_sent_ns = ABSENT_NS
    entry.t_first_ns = ABSENT_NS
    entry.final_at = ABSENT_NS
    entry.overdue_at = ABSENT_NS
    entry.epoch = 0
    entry.server = NO_SERVER
    entry.flags = FLAG_CLIENT_LATE if client_late(self, t_sched_ns, t_taken_ns) else 0
    entry.decision = UNDECIDED
    entry.response_bytes = 0
    memset(&entry.response, 0, sizeof(entry.response))
    entry.next = NONE
    entry.previous = self.live_last
    if self.live_last != NONE:
        self.entries[self.live_last].next = e
    else:
        self.live_first = e
    self.live_last = e
    if self.undecided == NONE:
        self.undecided = e
    # Whoever finds the entry in this state finds it whole: the worker may die at any moment.
    store_release_u8(&entry.state, ENTRY_WAITING)
    store_release_i64(&self.page.cursor, slot + 1)
    return e


cdef int ledger_wait(LedgerState *self, int32_t e) noexcept nogil:
    """Queue a slot that cannot be handed yet."""
    cdef Entry *entry = &self.entries[e]
    entry.flags |= FLAG_WAITED
    entry.next_waiting = NONE
    if self.waiting_last != NONE:
        self.entries[self.waiting_last].next_waiting = e
    else:
        self.waiting_first = e
    self.waiting_last = e
    return 0


cdef int32_t ledger_next_waiting(LedgerState *self) noexcept nogil:
    """Take the longest-waiting slot out of the queue; NONE if there is none."""
    cdef int32_t e = self.waiting_first
    if e != NONE:
        self.waiting_first = self.entries[e].next_waiting
        if self.waiting_first == NONE:
            self.waiting_last = NONE
    return e


cdef int ledger_hand(LedgerState *self, int32_t e, uint8_t server, uint32_t epoch) noexcept nogil:
    """The server is picked; from here on it owns the slot."""
    cdef Entry *entry = &self.entries[e]
    entry.server = server
    entry.epoch = epoch
    store_release_u8(&entry.state, ENTRY_HANDED)
    self.page.in_flight[server] += 1
    if self.page.in_flight[server] > self.page.in_flight_max[server]:
        self.page.in_flight_max[server] = self.page.in_flight[server]
    return 0


cdef int push_final(LedgerState *self, int32_t e, uint8_t outcome, uint8_t reason, uint8_t status,
                    int64_t t_done_ns, int64_t t_end_ns) noexcept nogil:
    cdef Entry *entry = &self.entries[e]
    cdef Record *record = next_record(self)
    if record == NULL:
        return -1
    entry.final_at = self.head
    fill(self, record, entry)
    if entry.server == NO_SERVER:
        record.server = self.active
    record.t_done_ns = t_done_ns
    record.outcome = outcome
    record.reason = reason
    record.status = status
    record.decision = decide(self, entry, outcome, t_end_ns)
    record.flags = entry.flags
    if t_done_ns >= 0 and t_done_ns - entry.t_sched_ns > self.slo_ns:
        record.flags |= FLAG_COMPLETED_AFTER_DECISION
    return push(self)


cdef int ledger_finish(LedgerState *self, int32_t e, uint8_t outcome, uint8_t reason,
                       uint8_t status, int64_t t_done_ns) noexcept nogil:
    """The stream of a handed slot has ended."""
    if self.entries[e].state != ENTRY_EXPIRED:
        push_final(self, e, outcome, reason, status, t_done_ns, t_done_ns)
        unlink_live(self, e)
    return release_entry(self, e)


cdef int drop_waiting(LedgerState *self, int64_t now_ns) noexcept nogil:
    cdef int32_t e = ledger_next_waiting(self)
    push_final(self, e, OUTCOME_DROPPED, REASON_BACKPRESSURE, 0, ABSENT_NS, now_ns)
    unlink_live(self, e)
    return release_entry(self, e)


cdef inline int64_t overdue_ns(LedgerState *self, const Entry *entry) noexcept nogil:
    """T after it was due; a client-late slot's overdue record says that it had T all the same."""
    if entry.flags & FLAG_CLIENT_LATE:
        return max(entry.t_taken_ns, entry.t_sent_ns) + self.patience_ns
    return entry.t_sched_ns + self.patience_ns


cdef int ledger_tick(LedgerState *self, int64_t now_ns) noexcept nogil:
    """Drop what waited too long, then judge what is overdue."""
    cdef Entry *entry
    cdef Record *record
    while self.waiting_first != NONE:
        entry = &self.entries[self.waiting_first]
        if (now_ns - entry.t_taken_ns <= self.lag_ns
                and now_ns - entry.t_sched_ns <= self.slo_ns):
            break
        drop_waiting(self, now_ns)
    while self.undecided != NONE:
        entry = &self.entries[self.undecided]
        if now_ns <= overdue_ns(self, entry):
            break
        if self.slo_ns > self.patience_ns:
            self.undecided = entry.next
            continue
        record = next_record(self)
        if record != NULL:
            entry.overdue_at = self.head
            fill(self, record, entry)
            record.t_done_ns = ABSENT_NS
            record.outcome = OUTCOME_NONE
            record.reason = REASON_NONE
            record.status = 0
            record.decision = VIOLATED_SLOW
            record.flags = entry.flags | FLAG_OVERDUE
            push(self)
        entry.flags |= FLAG_OVERDUE
        entry.decision = VIOLATED_SLOW
        self.undecided = entry.next
    return 0


cdef int32_t ledger_expire_next(LedgerState *self, int64_t now_ns) noexcept nogil:
    """Book one slot whose deadline has passed as timeout; NONE if there is none."""
    cdef int32_t e = self.live_first
    cdef Entry *entry
    if e == NONE:
        return NONE
    entry = &self.entries[e]
    if entry.state != ENTRY_HANDED or now_ns - entry.t_taken_ns < self.timeout_ns:
        return NONE
    push_final(self, e, OUTCOME_TIMEOUT, REASON_NONE, 0, ABSENT_NS, now_ns)
    unlink_live(self, e)
    entry.state = ENTRY_EXPIRED
    return e


cdef int ledger_abandon(LedgerState *self, int64_t now_ns) noexcept nogil:
    """The drain is over: final records for all that is left. Entries stay with their streams."""
    cdef int32_t e
    while self.waiting_first != NONE:
        drop_waiting(self, now_ns)
    while self.live_first != NONE:
        e = self.live_first
        push_final(self, e, OUTCOME_CANCELLED, REASON_NONE, 0, ABSENT_NS, now_ns)
        unlink_live(self, e)
        self.entries[e].state = ENTRY_EXPIRED
    return 0


cdef int64_t ledger_next_deadline_ns(LedgerState *self) noexcept nogil:
    """When ledger_tick or ledger_expire_next has something to do; INT64_MAX: never."""
    cdef int64_t deadline_ns = INT64_MAX
    cdef Entry *entry
    if self.undecided != NONE:
        deadline_ns = overdue_ns(self, &self.entries[self.undecided]) + 1
    if self.waiting_first != NONE:
        entry = &self.entries[self.waiting_first]
        deadline_ns = min(deadline_ns, entry.t_taken_ns + self.lag_ns + 1)
    if self.live_first != NONE:
        entry = &self.entries[self.live_first]
        deadline_ns = min(deadline_ns, entry.t_taken_ns + self.timeout_ns)
    return deadline_ns


cdef int ledger_publish(LedgerState *self, int64_t now_ns) noexcept nogil:
    """Heartbeat and watermark, after everything before it is pushed."""
    cdef int64_t watermark_ns = self.next_sched_ns
    if self.undecided != NONE:
        watermark_ns = self.entries[self.undecided].t_sched_ns
    store_release_i64(&self.page.heartbeat_ns, now_ns)
    if watermark_ns != self.watermark_ns:
        self.watermark_ns = watermark_ns
        store_release_i64(&self.page.watermark_ns, watermark_ns)
    return 0


cdef class Ledger:
    def __init__(self, Segment segment not None, int worker, *, int servers, slo_ns,
                 int64_t timeout_ns, int64_t lag_ns, uint32_t cap):
        if not 0 <= worker < segment.workers or not 1 <= servers <= MAX_SERVERS:
            raise ValueError("no such worker, or too many servers")
        if cap < 1 or lag_ns > timeout_ns:
            raise ValueError("the cap must be positive and the lag within the timeout")
        self.segment = segment
        self.state.worker = worker
        self.state.servers = servers
        self.state.slo_ns = INT64_MAX // 2 if slo_ns is None else slo_ns
        self.state.timeout_ns = timeout_ns
        self.state.lag_ns = lag_ns
        self.state.late_ns = MS_NS if slo_ns is None else max(MS_NS, slo_ns // 10)
        self.state.patience_ns = PATIENCE_WITHOUT_SLO_NS if slo_ns is None else slo_ns
        self.state.cap = cap
        self.begin()

    def begin(self):
        cdef LedgerState *state = &self.state
        cdef int32_t count = self.segment.table_capacity
        cdef int32_t e
        state.page = self.segment.worker_page(state.worker)
        state.ring = self.segment.ring(state.worker)
        state.records = self.segment.ring_records(state.worker)
        state.entries = self.segment.table(state.worker)
        state.mask = self.segment.ring_capacity - 1
        state.head = state.ring.head
        state.tail = state.ring.tail
        state.next_sched_ns = 0
        state.watermark_ns = -1
        state.expected_ns = INT64_MAX // 2
        state.gap_end_ns = INT64_MIN // 2
        state.stood_still = False
        state.live_first = state.live_last = state.undecided = NONE
        state.waiting_first = state.waiting_last = NONE
        state.entries_used = 0
        state.capacity = count
        memset(state.entries, 0, count * sizeof(Entry))
        memset(state.page.in_flight, 0, sizeof(state.page.in_flight))
        memset(state.page.in_flight_max, 0, sizeof(state.page.in_flight_max))
        for e in range(count):
            state.entries[e].next = e + 1 if e + 1 < count else NONE
        state.free_first = 0

    # The same steps for a transport written in Python.

    def take(self, int64_t slot, int64_t t_sched_ns, int64_t t_taken_ns):
        cdef int32_t e = ledger_take(&self.state, slot, t_sched_ns, t_taken_ns)
        return None if e == NONE else e

    def wait(self, int32_t e):
        ledger_wait(&self.state, e)

    def first_waiting(self):
        return None if self.state.waiting_first == NONE else self.state.waiting_first

    def next_waiting(self):
        cdef int32_t e = ledger_next_waiting(&self.state)
        return None if e == NONE else e

    @property
    def cap(self):
        return self.state.cap

    def in_flight(self, int server):
        return self.state.page.in_flight[server]

    def hand(self, int32_t e, uint8_t server, uint32_t epoch):
        ledger_hand(&self.state, e, server, epoch)

    def slot(self, int32_t e):
        return self.state.entries[e].slot

    def server(self, int32_t e):
        return self.state.entries[e].server

    def received(self, int32_t e, uint32_t response_bytes):
        self.state.entries[e].response_bytes = response_bytes

    def finish(self, int32_t e, uint8_t outcome, uint8_t reason, uint8_t status,
               int64_t t_done_ns):
        ledger_finish(&self.state, e, outcome, reason, status, t_done_ns)

    def tick(self, int64_t now_ns):
        ledger_tick(&self.state, now_ns)

    def expire_next(self, int64_t now_ns):
        cdef int32_t e = ledger_expire_next(&self.state, now_ns)
        return None if e == NONE else e

    def abandon(self, int64_t now_ns):
        ledger_abandon(&self.state, now_ns)

    def next_deadline_ns(self):
        return ledger_next_deadline_ns(&self.state)

    def publish(self, int64_t now_ns, next_sched_ns):
        self.state.next_sched_ns = INT64_MAX if next_sched_ns is None else next_sched_ns
        ledger_publish(&self.state, now_ns)

    def alive(self, int64_t now_ns):
        ledger_alive(&self.state, now_ns)
        stood_still, self.state.stood_still = self.state.stood_still, False
        return bool(stood_still)

    def expect(self, int64_t wake_ns):
        self.state.expected_ns = wake_ns

    def set_active(self, uint8_t server):
        self.state.active = server

    @property
    def waiting(self):
        return self.state.waiting_first != NONE

    @property
    def live(self):
        cdef int32_t e = self.state.live_first
        cdef int64_t n = 0
        while e != NONE:
            n += 1
            e = self.state.entries[e].next
        return n

    @property
    def entries_used(self):
        return self.state.entries_used
