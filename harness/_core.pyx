"""The worker's hot loop: slots to requests, answers to records, without the GIL."""

from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from harness._connection cimport (
    CONN_CLOSED, CONN_LEAVING, CONN_READY, Connection, Endpoint, Template, connection_event,
    connection_close, connection_flush, connection_free, connection_has_credit, connection_init,
    connection_lose, connection_open, connection_reset, connection_submit,
)
from harness._ledger cimport (
    Ledger, LedgerState, ledger_abandon, ledger_alive, ledger_expire_next, ledger_finish,
    ledger_hand, ledger_next_deadline_ns, ledger_next_waiting, ledger_publish, ledger_take,
    ledger_tick, ledger_wait,
)
from harness._plan cimport Plan
from harness._policy cimport Policy, PolicyState, first_of, policy_pick, policy_took
from harness._shm cimport ENTRY_EXPIRED, NONE, OUTCOME_ERROR, REASON_NO_CONNECTION, RunPage
from harness.includes.atomics cimport (
    load_acquire, load_acquire_i64, store_release, store_release_i64, store_release_u8,
)
from harness.includes.linux cimport (
    EPOLL_CTL_ADD, EPOLLIN, MSG_DONTWAIT, PR_SET_TIMERSLACK, clock_ns, close, epoll_create1,
    epoll_ctl, epoll_event, epoll_wait_ns, prctl1, recv, sched_yield,
    sockaddr_storage,
)
from harness.includes.nghttp2 cimport (
    NGHTTP2_NV_FLAG_NO_COPY_NAME, NGHTTP2_NV_FLAG_NO_COPY_VALUE, nghttp2_nv,
)

cdef enum:
    BURST = 32  # slots taken before what they queued is written
    EVENTS = 64
    TURN_NS = 10000000  # the longest sleep: heartbeat and watermark at least this often
    GRPC_UNAVAILABLE = 14
    CALIBRATION_SLEEPS = 60
    LEAST_GUARD_NS = 20000
    MOST_GUARD_NS = 150000
    GUARD_STEP_NS = 50
    READ_LIMIT_BYTES = 1 << 18
    READ_LEAST_BYTES = 1 << 13
    CATCH_UP_TURNS = 64

cdef enum:  # how a phase ended
    PHASE_DONE = 0
    PHASE_CANCELLED = 1
    PHASE_HUNG_UP = 2

PHASE_ENDS = ("done", "cancelled", "hung up")


cdef class Engine:
    cdef Ledger ledger
    cdef LedgerState *books
    cdef RunPage *run_page
    cdef Policy policy
    cdef PolicyState *balance
    cdef object keep  # Python objects that C structures point into
    cdef Template template
    cdef Endpoint *endpoints
    cdef Connection *connections
    cdef uint16_t *lanes  # [server][lane]: index of its connection
    cdef uint8_t *buffer
    cdef size_t read_bytes
    cdef int connection_count
    cdef int lane_count  # per server
    cdef int servers
    cdef int worker
    cdef int workers
    cdef int control_fd
    cdef int epoll_fd
    cdef bint spin
    cdef bint sleeps  # until shortly before a slot; else it polls all the time
    cdef bint shares_cpu  # with another worker
    cdef bint cancel_expired
    cdef bint broken  # some connection needs more than its events
    cdef int64_t guard_ns  # how much earlier than a slot to wake
    cdef int64_t guard_limit_ns
    cdef int64_t origin_ns
    cdef int64_t retry_ns
    cdef uint64_t verdict
    cdef uint32_t in_use  # a bit for each server the verdict names
    cdef uint32_t turn

    def __cinit__(self):
        self.epoll_fd = -1

    def __init__(self, Ledger ledger not None, Policy policy not None, int worker, int workers, *,
                 int control_fd,
                 bytes body not None, size_t id_offset, uint32_t outputs,
                 uint32_t response_limit_bytes, size_t response_bytes, endpoints,
                 int lanes, bint spin, bint sleeps, bint shares_cpu, bint cancel_expired):
        cdef int i, s
        cdef epoll_event event
        if <Py_ssize_t> id_offset + 16 > len(body):
            raise ValueError("the id must lie within the body")
        self.ledger = ledger
        self.books = &ledger.state
        self.run_page = ledger.segment.run_page()
        self.policy = policy
        self.balance = &policy.state
        self.worker = worker
        self.workers = workers
        self.control_fd = control_fd
        self.servers = len(endpoints)
        self.lane_count = lanes
        self.connection_count = 2 * self.servers * lanes
        self.spin = spin
        self.sleeps = sleeps
        self.shares_cpu = shares_cpu
        self.cancel_expired = cancel_expired
        self.read_bytes = min(max(<size_t> READ_LEAST_BYTES, 8 * response_bytes),
                              <size_t> READ_LIMIT_BYTES)
        self.keep = [body]
        self.template.body = body
        self.template.body_bytes = len(body)
        self.template.id_offset = id_offset
        self.template.outputs = outputs
        self.template.response_limit_bytes = response_limit_bytes
        self.endpoints = <Endpoint *> calloc(self.servers, sizeof(Endpoint))
        self.connections = <Connection *> calloc(self.connection_count, sizeof(Connection))
        self.lanes = <uint16_t *> calloc(self.servers * lanes, sizeof(uint16_t))
        self.buffer = <uint8_t *> malloc(self.read_bytes)
        if (self.endpoints == NULL or self.connections == NULL or self.lanes == NULL
                or self.buffer == NULL):
            raise MemoryError
        self.epoll_fd = epoll_create1(0)
        event.events = EPOLLIN
        event.data.ptr = NULL
        if self.epoll_fd < 0 or epoll_ctl(self.epoll_fd, EPOLL_CTL_ADD, control_fd, &event) < 0:
            raise OSError("epoll is not to be had")
        for s, (address, fields) in enumerate(endpoints):
            self.set_endpoint(s, address, fields)
        for i in range(self.connection_count):
            s = i % self.servers
            if connection_init(&self.connections[i], self.books, &self.template,
                               &self.endpoints[s], self.epoll_fd, i) < 0:
                raise MemoryError
            if i < self.servers * lanes:
                self.lanes[s * lanes + i // self.servers] = i

    cdef set_endpoint(self, int s, bytes address, fields):
        """``address``: a struct sockaddr; ``fields``: header names and values, as sent."""
        cdef Endpoint *endpoint = &self.endpoints[s]
        cdef bytes name, value
        cdef int i
        if len(address) > <Py_ssize_t> sizeof(sockaddr_storage):
            raise ValueError("a socket address is too long")
        memcpy(&endpoint.address, <const char *> address, len(address))
        endpoint.address_bytes = len(address)
        endpoint.server = s
        endpoint.field_count = len(fields)
        endpoint.fields = <nghttp2_nv *> calloc(len(fields), sizeof(nghttp2_nv))
        if endpoint.fields == NULL:
            raise MemoryError
        for i, (name, value) in enumerate(fields):
            self.keep.append((name, value))
            endpoint.fields[i].name = <uint8_t *> <const char *> name
            endpoint.fields[i].namelen = len(name)
            endpoint.fields[i].value = <uint8_t *> <const char *> value
            endpoint.fields[i].valuelen = len(value)
            endpoint.fields[i].flags = (NGHTTP2_NV_FLAG_NO_COPY_NAME
                                        | NGHTTP2_NV_FLAG_NO_COPY_VALUE)

    def __dealloc__(self):
        cdef int i
        if self.connections != NULL:
            for i in range(self.connection_count):
                if self.connections[i].ledger != NULL:
                    connection_free(&self.connections[i])
        if self.endpoints != NULL:
            for i in range(self.servers):
                free(self.endpoints[i].fields)
        if self.epoll_fd >= 0:
            close(self.epoll_fd)
        free(self.connections)
        free(self.endpoints)
        free(self.lanes)
        free(self.buffer)

    def calibrate(self, int64_t budget_ns):
        cdef list oversleeps = []
        cdef int64_t start_ns, asked_ns
        cdef epoll_event event
        cdef int i, epoll_fd
        prctl1(PR_SET_TIMERSLACK, 1)
        epoll_fd = epoll_create1(0)
        for i in range(CALIBRATION_SLEEPS):
            asked_ns = 100000 * (1 + i % 4)
            start_ns = clock_ns()
            epoll_wait_ns(epoll_fd, &event, 1, asked_ns)
            oversleeps.append(clock_ns() - start_ns - asked_ns)
        close(epoll_fd)
        # The 19th of 20 to start from: rarer oversleeps are the machine's.
        oversleeps.sort()
        self.guard_limit_ns = MOST_GUARD_NS if self.spin else min(MOST_GUARD_NS, budget_ns)
        self.guard_ns = min(max(oversleeps[CALIBRATION_SLEEPS * 19 // 20], LEAST_GUARD_NS),
                            self.guard_limit_ns)
        return self.guard_ns

    def connect(self, int64_t patience_ns, required):
        cdef int64_t end_ns = clock_ns() + patience_ns
        cdef int i
        cdef uint32_t needed = 0
        cdef bint settled = False
        for i, server_required in enumerate(required):
            if server_required:
                needed |= <uint32_t> 1 << i
        self.origin_ns = 0
        with nogil:
            for i in range(self.servers * self.lane_count):
                self.connections[i].origin_ns = 0
                if self.connections[i].state == CONN_CLOSED:
                    connection_open(&self.connections[i], clock_ns())
            while not settled and clock_ns() < end_ns:
                if self.wait(1000000) < 0:
                    break
                self.flush(clock_ns())
                if self.broken:
                    self.mend(clock_ns())
                settled = True
                for i in range(self.servers * self.lane_count):
                    if (self.connections[self.lanes[i]].state != CONN_READY
                            and needed >> (i // self.lane_count) & 1):
                        settled = False
        return settled

    def settled(self):
        return [
            sum(self.connections[self.lanes[s * self.lane_count + k]].state == CONN_READY
                for k in range(self.lane_count))
            for s in range(self.servers)
        ]

    def connection_report(self):
        cdef Endpoint *endpoint
        report = []
        for s in range(self.servers):
            endpoint = &self.endpoints[s]
            report.append({
                "connects": endpoint.connects,
                "losses": endpoint.losses,
                "first_error_status": endpoint.first_status - 1 if endpoint.first_status else None,
                "first_error_message": endpoint.message[:endpoint.message_bytes].decode(
                    "utf-8", "replace"),
            })
        return report

    def run(self, Plan plan not None, str prefix, int64_t origin_ns, int64_t drain_ns):
        cdef int i, how
        self.template.prefix = ord(prefix)
        self.origin_ns = origin_ns
        self.ledger.begin()
        for i in range(self.connection_count):
            self.connections[i].origin_ns = origin_ns
            self.connections[i].backoff_ns = 0
            if self.connections[i].state == CONN_CLOSED:
                self.connections[i].retry_ns = 0
        for i in range(self.servers):
            self.endpoints[i].first_status = 0
            self.endpoints[i].message_bytes = 0
        self.broken = True
        with nogil:
            how = self.loop(plan, drain_ns)
            self.clear()
        return PHASE_ENDS[how]

    cdef int loop(self, Plan plan, int64_t drain_ns) noexcept nogil:
        cdef LedgerState *books = self.books
        cdef int64_t next_ns = plan.next_share_ns(self.worker, self.workers)
        cdef int64_t now_ns, cut_ns, end_ns, wake_ns, gap_ns, turn_ns
        cdef int32_t e
        cdef int burst, events, how = PHASE_DONE
        cdef bint slept
        now_ns = clock_ns() - self.origin_ns
        ledger_alive(books, now_ns)
        while True:
            turn_ns = now_ns
            self.see_verdict()
            # The clock is read before the cut: a slot due by then was due before the cut was set.
            cut_ns = load_acquire_i64(&self.run_page.cut_ns)
            if next_ns > cut_ns:
                next_ns = -1
            burst = 0
            while 0 <= next_ns <= now_ns and burst < BURST:
                e = ledger_take(books, plan.index, next_ns, now_ns)
                if e != NONE:
                    if books.waiting_first != NONE or not self.offer(e, now_ns):
                        ledger_wait(books, e)
                next_ns = plan.next_share_ns(self.worker, self.workers)
                burst += 1
                now_ns = clock_ns() - self.origin_ns
                ledger_alive(books, now_ns)
                cut_ns = load_acquire_i64(&self.run_page.cut_ns)
                if next_ns > cut_ns:
                    next_ns = -1
            end_ns = min(plan.duration_ns, cut_ns) + drain_ns
            books.next_sched_ns = next_ns if next_ns >= 0 else INT64_MAX
            self.hand_waiting(now_ns)
            self.flush(now_ns)
            if books.stood_still:  # while it took slots
                now_ns = self.catch_up()
            ledger_tick(books, now_ns)
            while True:
                e = ledger_expire_next(books, now_ns)
                if e == NONE:
                    break
                if self.cancel_expired:
                    connection_reset(&self.connections[books.entries[e].connection], e)
            if self.broken or now_ns >= self.retry_ns:
                self.mend(now_ns)
            ledger_publish(books, now_ns)
            if next_ns < 0 and books.live_first == NONE:
                break
            # Slots up to the cut are taken first: each must be in the books.
            if next_ns < 0 and load_acquire(&self.run_page.cancel):
                how = PHASE_CANCELLED
                break
            if next_ns < 0 and now_ns >= end_ns:
                break
            wake_ns = min(min(ledger_next_deadline_ns(books), self.retry_ns),
                          min(end_ns, now_ns + TURN_NS))
            # Waking is late by what the machine takes for it; only slots are worth being early.
            wake_ns = min(wake_ns, books.next_sched_ns - self.guard_ns)
            if not self.sleeps:
                wake_ns = now_ns
            if self.shares_cpu and wake_ns <= now_ns:
                sched_yield()
            books.expected_ns = max(now_ns, wake_ns)
            events = self.wait(max(wake_ns - now_ns, <int64_t> 0))
            if events < 0:
                how = PHASE_HUNG_UP
                break
            slept = events == 0 and wake_ns > now_ns
            now_ns = clock_ns() - self.origin_ns
            ledger_alive(books, now_ns)
            if books.stood_still:
                now_ns = self.catch_up()
            if slept:
                self.learn_guard(now_ns - wake_ns)
            gap_ns = now_ns - max(turn_ns, wake_ns)
            if gap_ns > books.page.max_loop_gap_ns:
                books.page.max_loop_gap_ns = gap_ns
            books.page.loop_turns += 1
        now_ns = clock_ns() - self.origin_ns
        books.next_sched_ns = INT64_MAX
        ledger_tick(books, now_ns)
        ledger_abandon(books, now_ns)
        ledger_publish(books, now_ns)
        return how

    cdef inline int learn_guard(self, int64_t oversleep_ns) noexcept nogil:
        """Follow the 99th percentile of oversleeps: up by 99 steps for each one over it."""
        if oversleep_ns > self.guard_ns:
            self.guard_ns = min(self.guard_ns + 99 * GUARD_STEP_NS, self.guard_limit_ns)
        else:
            self.guard_ns = max(self.guard_ns - GUARD_STEP_NS,
                                min(<int64_t> LEAST_GUARD_NS, self.guard_limit_ns))
        return 0

    cdef int64_t catch_up(self) noexcept nogil:
        """Read what came while the worker stood still, before anything is judged overdue."""
        cdef int _
        self.books.stood_still = False
        for _ in range(CATCH_UP_TURNS):
            if self.wait(0) <= 0:
                break
        return clock_ns() - self.origin_ns

    cdef inline int see_verdict(self) noexcept nogil:
        cdef uint64_t word = load_acquire(&self.run_page.verdict)
        if word != self.verdict or self.books.page.seen_ns == 0:
            self.verdict = word
            self.in_use = <uint32_t> word
            self.books.active = <uint8_t> first_of(self.in_use)
            store_release_i64(&self.books.page.seen_ns, clock_ns() - self.origin_ns)
            store_release(&self.books.page.seen_epoch, word >> 32)
        return 0

    cdef inline bint offer(self, int32_t e, int64_t now_ns) noexcept nogil:
        """Hand the slot to the server whose turn it is. False: no room, it has to wait."""
        cdef LedgerState *books = self.books
        cdef Connection *connection
        cdef bint hope
        cdef int _, server
        cdef uint32_t left
        self.see_verdict()
        left = self.in_use
        server = policy_pick(self.balance, left, books.page.in_flight, books.cap)
        books.active = <uint8_t> self.balance.turn
        while server != NONE:
            hope = False
            for _ in range(self.lane_count):
                self.turn += 1
                connection = &self.connections[self.lanes[
                    server * self.lane_count + self.turn % <uint32_t> self.lane_count]]
                if connection_has_credit(connection):
                    self.hand(e, server)
                    if connection_submit(connection, e) == 0:
                        return True
                    connection.state = CONN_LEAVING
                    self.broken = True
                    ledger_finish(books, e, OUTCOME_ERROR, REASON_NO_CONNECTION,
                                  GRPC_UNAVAILABLE, now_ns)
                    return True
                if connection.state == CONN_READY or connection.graceful:
                    hope = True
            if not hope:
                self.hand(e, server)
                ledger_finish(books, e, OUTCOME_ERROR, REASON_NO_CONNECTION, GRPC_UNAVAILABLE,
                              now_ns)
                return True
            # One that takes no more streams is passed over like one at the cap.
            left &= ~(<uint32_t> 1 << server)
            if left == 0:
                break
            server = policy_pick(self.balance, left, books.page.in_flight, books.cap)
        return False

    cdef inline int hand(self, int32_t e, int server) noexcept nogil:
        policy_took(self.balance, server)
        return ledger_hand(self.books, e, <uint8_t> server, <uint32_t> (self.verdict >> 32))

    cdef int hand_waiting(self, int64_t now_ns) noexcept nogil:
        cdef LedgerState *books = self.books
        cdef int32_t e
        while books.waiting_first != NONE:
            e = books.waiting_first
            if not self.offer(e, now_ns):
                return 0
            ledger_next_waiting(books)
        return 0

    cdef int flush(self, int64_t now_ns) noexcept nogil:
        cdef Connection *connection
        cdef int i
        for i in range(self.connection_count):
            connection = &self.connections[i]
            if connection.dirty and connection_flush(connection) < 0:
                connection_lose(connection, now_ns)
                self.broken = True
        return 0

    cdef int wait(self, int64_t timeout_ns) noexcept nogil:
        """Work on what the sockets bring; the number of events. -1: the coordinator is gone."""
        cdef epoll_event events[EVENTS]
        cdef Connection *connection
        cdef char scrap[64]
        cdef int i, before
        cdef int n = epoll_wait_ns(self.epoll_fd, events, EVENTS, timeout_ns)
        if n > 0:
            # Before any answer is booked: a worker that stood still cannot tell when it came.
            ledger_alive(self.books, clock_ns() - self.origin_ns)
        for i in range(n):
            if events[i].data.ptr == NULL:
                if recv(self.control_fd, scrap, sizeof(scrap), MSG_DONTWAIT) == 0:
                    return -1
                continue
            connection = <Connection *> events[i].data.ptr
            if connection.fd < 0:
                continue
            before = connection.state
            if connection_event(connection, events[i].events, self.buffer, self.read_bytes) < 0:
                connection_lose(connection, clock_ns() - self.origin_ns)
            if connection.state != CONN_READY or before != CONN_READY:
                self.broken = True
        return n if n > 0 else 0

    cdef int mend(self, int64_t now_ns) noexcept nogil:
        """Replace connections that are leaving, reopen lost ones, say which are ready."""
        cdef Connection *connection
        cdef int i, k, lane, ready
        self.broken = False
        self.retry_ns = INT64_MAX
        for lane in range(self.servers * self.lane_count):
            connection = &self.connections[self.lanes[lane]]
            if connection.state == CONN_LEAVING and connection.streams_used > 0:
                for k in range(self.connection_count):
                    if (self.connections[k].state == CONN_CLOSED
                            and self.connections[k].endpoint == connection.endpoint
                            and not self.in_lane(k)):
                        self.lanes[lane] = k
                        self.connections[k].graceful = connection.graceful
                        connection_open(&self.connections[k], now_ns)
                        break
            elif connection.state == CONN_CLOSED:
                if connection.retry_ns <= now_ns:
                    connection_open(connection, now_ns)
                if connection.state == CONN_CLOSED:
                    self.retry_ns = min(self.retry_ns, connection.retry_ns)
        for i in range(self.connection_count):
            connection = &self.connections[i]
            if connection.state == CONN_LEAVING:
                if connection.open_streams == 0:
                    connection_close(connection, now_ns)
                self.broken = True
        for i in range(self.servers):
            ready = 0
            for k in range(self.lane_count):
                lane = self.lanes[i * self.lane_count + k]
                ready += self.connections[lane].state == CONN_READY
            store_release_u8(&self.books.page.connected[i], <uint8_t> ready)
        return 0

    cdef bint in_lane(self, int index) noexcept nogil:
        cdef int lane
        for lane in range(self.servers * self.lane_count):
            if self.lanes[lane] == index:
                return True
        return False

    cdef int clear(self) noexcept nogil:
        """End the streams whose slots are booked already, so that the next phase starts clean."""
        cdef LedgerState *books = self.books
        cdef int64_t now_ns = clock_ns() - self.origin_ns
        cdef int32_t e
        if books.entries_used == 0:
            return 0
        for e in range(books.capacity):
            if books.entries[e].state == ENTRY_EXPIRED:
                connection_reset(&self.connections[books.entries[e].connection], e)
        self.flush(now_ns)
        for e in range(books.capacity):
            if books.entries[e].state == ENTRY_EXPIRED:
                connection_lose(&self.connections[books.entries[e].connection], now_ns)
        return 0
