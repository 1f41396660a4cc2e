"""What the coordinator keeps of every record: counts, buckets, histograms, rows."""

import numpy as np

from harness.records import BUCKET_NS, RECORD

from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free

from harness._histogram cimport Bins, Histogram, bins_record
from harness._shm cimport (
    FLAG_CLIENT_LATE, FLAG_OVERDUE, IN_TIME, OUTCOME_ERROR, OUTCOME_NONE, OUTCOME_OK,
    OUTCOME_LOST, OUTCOME_TIMEOUT, REASON_BACKPRESSURE, UNDECIDED, VIOLATED_SLOW, Record, Ring,
    Segment,
)
from harness.includes.atomics cimport load_acquire, store_release

cdef enum:  # HISTOGRAMS
    RESPONSE = 0
    SERVICE = 1
    LATENESS = 2
    SEND_DELAY = 3
    HISTOGRAM_COUNT = 4

cdef enum:  # BUCKET_FIELDS
    DECIDED = 0
    VIOLATIONS = 1
    OK = 2
    ERRORS = 3
    CLIENT_LATE = 4
    BUCKET_FIELD_COUNT = 5

cdef enum:  # EVIDENCE_FIELDS
    EVIDENCE_DECIDED = 0
    EVIDENCE_VIOLATIONS = 1
    EVIDENCE_SLOW = 2
    EVIDENCE_LATE_FAILED = 3
    EVIDENCE_LATE_ANSWERED = 4
    EVIDENCE_FIELD_COUNT = 5

cdef enum:
    STATUS_COUNT = 18  # gRPC codes 0..16, and one for anything else
    SERVER_LIMIT = 32
    EPOCHS = 4096
    WORKER_LIMIT = 1024

HISTOGRAMS = ("response", "service", "lateness", "send_delay")
BUCKET_FIELDS = ("decided", "violations", "ok", "errors", "client_late")
EVIDENCE_FIELDS = ("decided", "violations", "slow", "late_failed", "late_answered")
INSIDE_FIELDS = ("ok", "in_slo")
ANSWER_FIELDS = ("t_first_ns", "t_last_ns")
EPOCH_FIELDS = ("handed", "first_slot", "last_slot")
EPOCH_LIMIT = EPOCHS

# Known when it is compiled, so that a division by it is a multiplication.
cdef enum:
    NS_PER_BUCKET = 50000000

if NS_PER_BUCKET != BUCKET_NS:
    raise ImportError("a bucket here is not that of harness.records")


cdef inline int widen(int64_t *span, int64_t value) noexcept nogil:
    # The lower end is -1 at first, the highest number there is once it has no sign.
    if <uint64_t> value < <uint64_t> span[0]:
        span[0] = value
    if value > span[1]:
        span[1] = value
    return 0


cdef class Tally:
    def __init__(self, int servers, int64_t slots, int64_t duration_ns, rows=None):
        if not 1 <= servers <= SERVER_LIMIT:
            raise ValueError(f"1 to {SERVER_LIMIT} servers, got {servers}")
        self.servers = servers
        self.slots = slots
        self.duration_ns = duration_ns
        self.bucket_count = (duration_ns + NS_PER_BUCKET - 1) // NS_PER_BUCKET
        self.counts = self.count = np.zeros((servers + 1, 8, 4), dtype=np.int64)
        self.reasons = self.reason = np.zeros((servers + 1, 16), dtype=np.int64)
        self.statuses = self.status = np.zeros((servers + 1, STATUS_COUNT), dtype=np.int64)
        self.buckets = self.bucket = np.zeros(
            (servers + 1, self.bucket_count, BUCKET_FIELD_COUNT), dtype=np.int64)
        self.evidence = self.evident = np.zeros(
            (servers + 1, self.bucket_count, EVIDENCE_FIELD_COUNT), dtype=np.int64)
        self.worker_slots = self.worker_slot = np.zeros(WORKER_LIMIT, dtype=np.int64)
        self.inside = self.within = np.zeros((servers + 1, 2), dtype=np.int64)
        self.answers = self.answer = np.full((self.bucket_count, 2), -1, dtype=np.int64)
        self.epochs = self.epoch = np.full((EPOCHS, 3), -1, dtype=np.int64)
        self.epochs[:, 0] = 0
        self.bins = <Bins *> calloc(HISTOGRAM_COUNT * (servers + 1), sizeof(Bins))
        self.recent_bins = <Bins *> calloc(1, sizeof(Bins))
        if self.bins == NULL or self.recent_bins == NULL:
            raise MemoryError
        self.rows = rows
        if rows is not None:
            if (rows.dtype != RECORD or rows.ndim != 1 or len(rows) > slots
                    or not rows.flags.c_contiguous):
                raise ValueError("rows must be at most one RECORD per slot, contiguous")
            self.row = <Record *> <uintptr_t> rows.ctypes.data
            self.row_limit = len(rows)

    def __dealloc__(self):
        free(self.bins)
        free(self.recent_bins)

    cdef int add(self, const Record *record) noexcept nogil:
        cdef int s = record.server if record.server < self.servers else self.servers
        cdef int64_t b = record.t_sched_ns // NS_PER_BUCKET
        cdef int64_t response_ns
        cdef int64_t *epoch
        cdef bint final = record.outcome != OUTCOME_NONE
        cdef Bins *bins = self.bins + s * HISTOGRAM_COUNT
        if (not 0 <= record.slot < self.slots or record.t_sched_ns < 0 or b >= self.bucket_count
                or record.outcome > 7 or record.decision > 3):
            self.strays += 1
            return -1
        # A slot is judged once: by its overdue record, or else by its final one.
        if record.decision != UNDECIDED and (not final or not record.flags & FLAG_OVERDUE):
            self.bucket[s, b, DECIDED] += 1
            if record.decision != IN_TIME:
                self.bucket[s, b, VIOLATIONS] += 1
            if record.flags & FLAG_CLIENT_LATE:
                if record.outcome == OUTCOME_OK:
                    self.evident[s, b, EVIDENCE_LATE_ANSWERED] += 1
                elif record.outcome == OUTCOME_ERROR or record.flags & FLAG_OVERDUE:
                    self.evident[s, b, EVIDENCE_LATE_FAILED] += 1
            else:
                self.evident[s, b, EVIDENCE_DECIDED] += 1
                if record.decision != IN_TIME:
                    self.evident[s, b, EVIDENCE_VIOLATIONS] += 1
                if record.decision == VIOLATED_SLOW or record.reason == REASON_BACKPRESSURE:
                    self.evident[s, b, EVIDENCE_SLOW] += 1
        if not final:
            return 0
        self.slots_end = max(self.slots_end, record.slot + 1)
        if self.row != NULL:
            if record.slot >= self.row_limit:
                self.unrecorded += 1
            elif self.row[record.slot].outcome != OUTCOME_NONE:
                self.duplicates += 1
                return -1
            else:
                self.row[record.slot] = record[0]
        self.count[s, record.outcome, record.decision] += 1
        self.reason[s, record.reason & 15] += 1
        self.worker_slot[record.worker % WORKER_LIMIT] += 1
        if record.flags & FLAG_CLIENT_LATE:
            self.bucket[s, b, CLIENT_LATE] += 1
        if record.outcome <= OUTCOME_LOST:
            epoch = &self.epoch[min(record.epoch, <uint32_t> EPOCHS - 1), 0]
            epoch[0] += 1
            widen(epoch + 1, record.slot)
        if record.t_taken_ns >= 0:
            bins_record(bins + LATENESS, record.t_taken_ns - record.t_sched_ns)
        if record.t_sent_ns >= 0:
            bins_record(bins + SEND_DELAY, record.t_sent_ns - record.t_taken_ns)
        if record.outcome == OUTCOME_OK:
            response_ns = record.t_done_ns - record.t_sched_ns
            bins_record(bins + RESPONSE, response_ns)
            bins_record(bins + SERVICE, record.t_done_ns - record.t_taken_ns)
            bins_record(self.recent_bins, response_ns)
            self.bucket[s, b, OK] += 1
            if record.t_done_ns < self.duration_ns:
                self.within[s, 0] += 1
                if record.decision == IN_TIME:
                    self.within[s, 1] += 1
                    if record.t_done_ns >= 0:
                        widen(&self.answer[record.t_done_ns // NS_PER_BUCKET, 0], record.t_done_ns)
        elif record.outcome == OUTCOME_ERROR or record.outcome == OUTCOME_TIMEOUT:
            self.bucket[s, b, ERRORS] += 1
            if record.outcome == OUTCOME_ERROR:
                self.status[s, min(record.status, STATUS_COUNT - 1)] += 1
        return 0

    def drain(self, Segment segment not None, int worker):
        if not 0 <= worker < segment.workers:
            raise IndexError(worker)
        cdef Ring *ring = segment.ring(worker)
        cdef Record *records = segment.ring_records(worker)
        cdef uint64_t mask = segment.ring_capacity - 1
        cdef uint64_t head, tail, first
        with nogil:
            head = load_acquire(&ring.head)
            tail = first = ring.tail
            while tail != head:
                self.add(&records[tail & mask])
                tail += 1
            store_release(&ring.tail, tail)
        return tail - first

    def cut(self, int64_t end_ns):
        self.duration_ns = min(self.duration_ns, max(end_ns, <int64_t> 0))

    def completed(self, int server):
        cdef int decision
        cdef int64_t count = 0
        if not 0 <= server <= self.servers:
            raise IndexError(server)
        for decision in range(4):
            count += self.count[server, OUTCOME_OK, decision]
            count += self.count[server, OUTCOME_ERROR, decision]
        return count

    def evidence_of(self, int server, int64_t bucket):
        if not (0 <= server <= self.servers and 0 <= bucket < self.bucket_count):
            raise IndexError((server, bucket))
        cdef int64_t *found = &self.evident[server, bucket, 0]
        return found[0], found[1], found[2], found[3], found[4]

    def add_rows(self, rows):
        if rows.dtype != RECORD or rows.ndim != 1:
            raise ValueError("a one-dimensional array of RECORD is needed")
        rows = np.ascontiguousarray(rows)
        cdef const Record *first = <const Record *> <uintptr_t> rows.ctypes.data
        cdef int64_t i
        for i in range(len(rows)):
            self.add(first + i)

    def limit_rows(self, int64_t count):
        if self.rows is None or not 0 <= count <= len(self.rows):
            raise ValueError(f"{count} rows are not there")
        self.row_limit = count

    def give_up_rows(self):
        self.row = NULL
        self.rows = None

    def histogram(self, str name, server=None):
        cdef int which = HISTOGRAMS.index(name)
        cdef int s
        if server is not None:
            if not 0 <= server <= self.servers:
                raise IndexError(server)
            s = server
            return Histogram.of(self.bins + s * HISTOGRAM_COUNT + which, self)
        merged = Histogram()
        for s in range(self.servers + 1):
            merged.merge(Histogram.of(self.bins + s * HISTOGRAM_COUNT + which, self))
        return merged

    @property
    def recent(self):
        return Histogram.of(self.recent_bins, self)
