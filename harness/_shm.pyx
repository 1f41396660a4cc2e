"""The shared segment of one run: anonymous, sealed, populated, passed by descriptor."""

import errno
import fcntl
import os

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memset
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap as c_mmap, munmap

from harness.includes.atomics cimport (
    load_acquire, load_acquire_i64, load_acquire_u8, store_release, store_release_i64,
    store_release_u8,
)
from harness.includes.linux cimport clock_ns

cdef extern from "<sys/mman.h>" nogil:
    int MAP_POPULATE

RECORD_BYTES = sizeof(Record)
ENTRY_BYTES = sizeof(Entry)
MAX_SERVER_COUNT = MAX_SERVERS
NO_CUT_NS = (1 << 63) - 1

cdef size_t LINE = 64

assert sizeof(Record) == 64
assert sizeof(Entry) == 128
assert sizeof(RunPage) == 128
assert sizeof(WorkerPage) % 64 == 0
assert sizeof(Ring) == 128


def record_layout():
    cdef Record record
    cdef char *first = <char *> &record
    return {
        "slot": (<char *> &record.slot - first, sizeof(record.slot)),
        "t_sched_ns": (<char *> &record.t_sched_ns - first, sizeof(record.t_sched_ns)),
        "t_taken_ns": (<char *> &record.t_taken_ns - first, sizeof(record.t_taken_ns)),
        "t_sent_ns": (<char *> &record.t_sent_ns - first, sizeof(record.t_sent_ns)),
        "t_first_ns": (<char *> &record.t_first_ns - first, sizeof(record.t_first_ns)),
        "t_done_ns": (<char *> &record.t_done_ns - first, sizeof(record.t_done_ns)),
        "epoch": (<char *> &record.epoch - first, sizeof(record.epoch)),
        "response_bytes": (<char *> &record.response_bytes - first, sizeof(record.response_bytes)),
        "worker": (<char *> &record.worker - first, sizeof(record.worker)),
        "server": (<char *> &record.server - first, sizeof(record.server)),
        "outcome": (<char *> &record.outcome - first, sizeof(record.outcome)),
        "decision": (<char *> &record.decision - first, sizeof(record.decision)),
        "reason": (<char *> &record.reason - first, sizeof(record.reason)),
        "status": (<char *> &record.status - first, sizeof(record.status)),
        "flags": (<char *> &record.flags - first, sizeof(record.flags)),
    }


cdef class Segment:
    def __init__(self, int workers, uint32_t ring_capacity, uint32_t table_capacity, int fd=-1):
        if workers < 1 or table_capacity < 1:
            raise ValueError("a segment needs at least one worker and one table entry")
        if ring_capacity < 2 or ring_capacity & (ring_capacity - 1):
            raise ValueError(f"ring capacity must be a power of two, got {ring_capacity}")
        self.workers = workers
        self.ring_capacity = ring_capacity
        self.table_capacity = table_capacity
        self.size_bytes = sizeof(RunPage) + workers * self.worker_bytes()
        self.fd = fd
        if fd < 0:
            self.fd = os.memfd_create("harness", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(self.fd, self.size_bytes)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS,
                        fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        elif os.fstat(fd).st_size != self.size_bytes:
            raise ValueError(f"segment has {os.fstat(fd).st_size} bytes, not {self.size_bytes}")
        cdef void *address = c_mmap(NULL, self.size_bytes, PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_POPULATE, self.fd, 0)
        if address == MAP_FAILED:
            raise OSError(errno.ENOMEM, f"no memory for a segment of {self.size_bytes} bytes")
        self.base = <char *> address
        if fd < 0:
            self.reset()

    def __dealloc__(self):
        if self.base != NULL:
            munmap(self.base, self.size_bytes)
            self.base = NULL

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def reset(self):
        cdef int worker
        memset(self.base, 0, self.size_bytes)
        self.run_page().cut_ns = NO_CUT_NS
        self.run_page().verdict = 1  # epoch 0, the first server
        for worker in range(self.workers):
            self.worker_page(worker).watermark_ns = -1

    cdef size_t worker_bytes(self) noexcept nogil:
        return (sizeof(WorkerPage) + sizeof(Ring) + self.ring_capacity * sizeof(Record)
                + self.table_capacity * sizeof(Entry))

    cdef RunPage *run_page(self) noexcept nogil:
        return <RunPage *> self.base

    cdef WorkerPage *worker_page(self, int worker) noexcept nogil:
        return <WorkerPage *> (self.base + sizeof(RunPage) + worker * self.worker_bytes())

    cdef Ring *ring(self, int worker) noexcept nogil:
        return <Ring *> (<char *> self.worker_page(worker) + sizeof(WorkerPage))

    cdef Record *ring_records(self, int worker) noexcept nogil:
        return <Record *> (<char *> self.ring(worker) + sizeof(Ring))

    cdef Entry *table(self, int worker) noexcept nogil:
        return <Entry *> (<char *> self.ring_records(worker) + self.ring_capacity * sizeof(Record))

    # What the coordinator says.

    def set_verdict(self, uint64_t epoch, in_use):
        cdef uint64_t word = epoch << 32
        cdef int64_t now_ns
        for server in in_use:
            if not 0 <= server < MAX_SERVERS:
                raise IndexError(server)
            word |= <uint64_t> 1 << <int> server
        if not word & 0xffffffff:
            raise ValueError("a verdict names at least one server")
        with nogil:
            now_ns = clock_ns()
            store_release(&self.run_page().verdict, word)
        return now_ns

    def cut(self, int64_t cut_ns):
        store_release_i64(&self.run_page().cut_ns, cut_ns)

    def cut_soon(self, int64_t origin_ns, int64_t lead_ns, int64_t last_ns):
        cdef int64_t cut_ns
        with nogil:
            # Nothing between the clock and the store: no worker may be past the cut by then.
            cut_ns = min(max(clock_ns() - origin_ns, <int64_t> 0) + lead_ns, last_ns)
            store_release_i64(&self.run_page().cut_ns, cut_ns)
        return cut_ns

    def cancel(self):
        store_release(&self.run_page().cancel, 1)

    def verdict(self):
        cdef uint64_t word = load_acquire(&self.run_page().verdict)
        return word >> 32, tuple(s for s in range(MAX_SERVERS) if word >> s & 1)

    def cut_ns(self):
        return load_acquire_i64(&self.run_page().cut_ns)

    def cancelled(self):
        return load_acquire(&self.run_page().cancel) != 0

    # What a worker says.

    def see(self, int worker, uint64_t epoch, int64_t now_ns):
        self.worker_page(worker).seen_ns = now_ns
        store_release(&self.worker_page(worker).seen_epoch, epoch)

    def turned(self, int worker, int64_t gap_ns):
        cdef WorkerPage *page = self.worker_page(worker)
        page.loop_turns += 1
        page.max_loop_gap_ns = max(page.max_loop_gap_ns, gap_ns)

    def pulse(self, int worker):
        cdef WorkerPage *page = self.worker_page(worker)
        cdef uint32_t links = 0
        cdef int server
        for server in range(MAX_SERVERS):
            if load_acquire_u8(&page.connected[server]):
                links |= <uint32_t> 1 << server
        return load_acquire_i64(&page.heartbeat_ns), load_acquire_i64(&page.watermark_ns), links

    def heartbeat_ns(self, int worker):
        return load_acquire_i64(&self.worker_page(worker).heartbeat_ns)

    def watermark_ns(self, int worker):
        return load_acquire_i64(&self.worker_page(worker).watermark_ns)

    def cursor(self, int worker):
        return load_acquire_i64(&self.worker_page(worker).cursor)

    def seen(self, int worker):
        cdef WorkerPage *page = self.worker_page(worker)
        cdef uint64_t epoch
        cdef int64_t seen_ns
        while True:
            epoch = load_acquire(&page.seen_epoch)
            seen_ns = load_acquire_i64(&page.seen_ns)
            if load_acquire(&page.seen_epoch) == epoch:
                return epoch, seen_ns

    def connect(self, int worker, int server, uint8_t count):
        if not 0 <= server < MAX_SERVERS:
            raise IndexError(server)
        store_release_u8(&self.worker_page(worker).connected[server], count)

    def connected(self, int worker, int server):
        if not 0 <= server < MAX_SERVERS:
            raise IndexError(server)
        return load_acquire_u8(&self.worker_page(worker).connected[server])

    def pushed(self, int worker):
        return load_acquire(&self.ring(worker).head)

    def popped(self, int worker):
        return load_acquire(&self.ring(worker).tail)

    def overflowed(self, int worker):
        return load_acquire(&self.worker_page(worker).overflowed)

    def loop(self, int worker):
        cdef WorkerPage *page = self.worker_page(worker)
        return page.loop_turns, page.max_loop_gap_ns

    def in_flight(self, int worker, int server):
        cdef WorkerPage *page = self.worker_page(worker)
        if not 0 <= server < MAX_SERVERS:
            raise IndexError(server)
        return page.in_flight[server], page.in_flight_max[server]
