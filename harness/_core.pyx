"""The worker's hot loop: slots to requests, answers to records, without the GIL."""

from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint32_t, uint64_t

from harness._connection cimport CONN_LEAVING, Connection, connection_submit
from harness._guard cimport (
    MOST_GUARD_NS, Guard, guard_init, guard_slept, guard_took, guard_wake_ns,
)
from harness._lanes cimport Lanes
from harness._ledger cimport (
    Ledger, LedgerState, ledger_abandon, ledger_alive, ledger_expire_next, ledger_finish,
    ledger_hand, ledger_next_deadline_ns, ledger_next_waiting, ledger_publish, ledger_take,
    ledger_tick, ledger_wait,
)
from harness._plan cimport Plan
from harness._policy cimport Policy, PolicyState, first_of, policy_pick, policy_took
from harness._shm cimport NONE, OUTCOME_ERROR, REASON_NO_CONNECTION, RunPage
from harness.includes.atomics cimport (
    load_acquire, load_acquire_i64, store_release, store_release_i64,
)
from harness.includes.linux cimport (
    PR_SET_TIMERSLACK, clock_ns, prctl1, sched_yield,
)

cdef enum:
    BURST = 32  # slots taken before what they queued is written
    TURN_NS = 10000000  # the longest sleep: heartbeat and watermark at least this often
    REFUSED_PAUSE_NS = 1000000  # a closed loop's, when there is no connection to send on
    GRPC_UNAVAILABLE = 14
    CATCH_UP_TURNS = 64

cdef int64_t OVER_NS = -1  # no slot comes any more
cdef int64_t FULL_NS = INT64_MAX  # a closed loop has all its requests in flight

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
    cdef Lanes lanes
    cdef int worker
    cdef int workers
    cdef bint spin
    cdef bint sleeps  # until shortly before a slot; else it polls all the time
    cdef bint shares_cpu  # with another worker
    cdef bint cancel_expired
    cdef Guard guard
    cdef int64_t origin_ns
    cdef int64_t paused_until_ns
    cdef uint64_t verdict
    cdef uint32_t in_use  # a bit for each server the verdict names

    def __init__(self, Ledger ledger not None, Policy policy not None, int worker, int workers, *,
                 bint spin, bint sleeps, bint shares_cpu, bint cancel_expired, **sending):
        self.ledger = ledger
        self.books = &ledger.state
        self.run_page = ledger.segment.run_page()
        self.policy = policy
        self.balance = &policy.state
        self.worker = worker
        self.workers = workers
        self.spin = spin
        self.sleeps = sleeps
        self.shares_cpu = shares_cpu
        self.cancel_expired = cancel_expired
        self.lanes = Lanes(ledger, **sending)

    def calibrate(self, int64_t budget_ns, oversleeps_ns):
        cdef list ordered = sorted(oversleeps_ns)
        if not ordered:
            raise ValueError("a guard needs sleeps to start from")
        prctl1(PR_SET_TIMERSLACK, 1)
        # The 19th of 20 to start from: rarer oversleeps are the machine's.
        guard_init(&self.guard, MOST_GUARD_NS if self.spin else budget_ns,
                   ordered[len(ordered) // 2], ordered[len(ordered) * 19 // 20])
        return self.guard.oversleep_ns

    def connect(self, int64_t patience_ns, required):
        return self.lanes.connect(patience_ns, required)

    def settled(self):
        return self.lanes.settled()

    def connection_report(self):
        return self.lanes.report()

    def run(self, Plan plan not None, str prefix, int64_t origin_ns, int64_t drain_ns):
        cdef int how
        cdef uint8_t letter = ord(prefix)
        self.origin_ns = origin_ns
        self.paused_until_ns = 0
        self.ledger.begin()
        with nogil:
            self.lanes.begin(letter, origin_ns)
            plan.next_share_ns(self.worker, self.workers)
            how = self.loop(plan, drain_ns)
            self.lanes.clear(clock_ns() - origin_ns)
        return PHASE_ENDS[how]

    cdef int loop(self, Plan plan, int64_t drain_ns) noexcept nogil:
        cdef LedgerState *books = self.books
        cdef int64_t now_ns, next_ns, end_ns, wake_ns, gap_ns, turn_ns
        cdef int32_t e
        cdef int events, how = PHASE_DONE
        cdef bint slept
        now_ns = clock_ns() - self.origin_ns
        ledger_alive(books, now_ns)
        while True:
            turn_ns = now_ns
            self.see_verdict()
            next_ns = self.take_due(plan, &now_ns)
            end_ns = min(plan.duration_ns, load_acquire_i64(&self.run_page.cut_ns)) + drain_ns
            self.hand_waiting(now_ns)
            self.lanes.flush(now_ns)
            if books.stood_still:  # while it took slots
                now_ns = self.catch_up()
            ledger_tick(books, now_ns)
            while True:
                e = ledger_expire_next(books, now_ns)
                if e == NONE:
                    break
                if self.cancel_expired:
                    self.lanes.reset(e)
            if self.lanes.broken or now_ns >= self.lanes.retry_ns:
                self.lanes.mend(now_ns)
            ledger_publish(books, now_ns)
            if next_ns == OVER_NS and books.live_first == NONE:
                break
            # Slots up to the cut are taken first: each must be in the books.
            if next_ns == OVER_NS and load_acquire(&self.run_page.cancel):
                how = PHASE_CANCELLED
                break
            if next_ns == OVER_NS and now_ns >= end_ns:
                break
            wake_ns = min(min(ledger_next_deadline_ns(books), self.lanes.retry_ns),
                          min(end_ns, now_ns + TURN_NS))
            # Waking is late by what the machine takes for it; only slots are worth being early.
            if next_ns >= 0:
                wake_ns = min(wake_ns, next_ns if plan.closed
                              else guard_wake_ns(&self.guard, next_ns, now_ns))
            if not self.sleeps:
                wake_ns = now_ns
            if self.shares_cpu and wake_ns <= now_ns:
                sched_yield()
            books.expected_ns = max(now_ns, wake_ns)
            events = self.lanes.wait(max(wake_ns - now_ns, <int64_t> 0))
            if events < 0:
                how = PHASE_HUNG_UP
                break
            slept = events == 0 and wake_ns > now_ns
            now_ns = clock_ns() - self.origin_ns
            ledger_alive(books, now_ns)
            if books.stood_still:
                now_ns = self.catch_up()
            if slept:
                guard_slept(&self.guard, now_ns - wake_ns)
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

    cdef int64_t take_due(self, Plan plan, int64_t *now_ns) noexcept nogil:
        """Come to the slots that are due; the time of the next one, OVER_NS or FULL_NS."""
        cdef LedgerState *books = self.books
        cdef int64_t next_ns = self.next_slot(plan, now_ns[0])
        cdef int32_t e
        cdef int burst = 0
        while 0 <= next_ns <= now_ns[0] and burst < BURST:
            guard_took(&self.guard, now_ns[0] - next_ns)
            e = ledger_take(books, plan.index, next_ns, now_ns[0])
            if e != NONE:
                if books.waiting_first != NONE or not self.offer(e, now_ns[0]):
                    ledger_wait(books, e)
            plan.next_share_ns(self.worker, self.workers)
            burst += 1
            now_ns[0] = clock_ns() - self.origin_ns
            ledger_alive(books, now_ns[0])
            next_ns = self.next_slot(plan, now_ns[0])
            if plan.closed and books.stood_still:
                break  # a slot due at the gap's very end would count as due within it
        if next_ns == OVER_NS:
            books.next_sched_ns = INT64_MAX
        else:
            books.next_sched_ns = now_ns[0] if plan.closed else next_ns
        return next_ns

    cdef inline int64_t next_slot(self, Plan plan, int64_t now_ns) noexcept nogil:
        """When the next slot is due, OVER_NS or FULL_NS."""
        # The clock was read before the cut: a slot due by then was due before the cut was set.
        cdef int64_t cut_ns = load_acquire_i64(&self.run_page.cut_ns)
        if plan.offset_ns < 0:
            return OVER_NS
        if not plan.closed:
            return plan.offset_ns if plan.offset_ns <= cut_ns else OVER_NS
        if now_ns > cut_ns or now_ns >= plan.duration_ns:
            return OVER_NS
        if self.books.waiting_first != NONE or self.in_flight() >= self.books.cap:
            return FULL_NS
        return max(now_ns, self.paused_until_ns)

    cdef inline uint32_t in_flight(self) noexcept nogil:
        """Requests of a closed loop: what a server still holds that was left counts no more."""
        cdef uint32_t left = self.in_use
        cdef uint32_t n = 0
        while left:
            n += self.books.page.in_flight[first_of(left)]
            left &= left - 1
        return n

    cdef int64_t catch_up(self) noexcept nogil:
        """Read what came while the worker stood still, before anything is judged overdue."""
        cdef int _
        self.books.stood_still = False
        for _ in range(CATCH_UP_TURNS):
            if self.lanes.wait(0) <= 0:
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
        cdef int server
        cdef uint32_t left
        self.see_verdict()
        left = self.in_use
        server = policy_pick(self.balance, left, books.page.in_flight, books.cap)
        books.active = <uint8_t> self.balance.turn
        while server != NONE:
            connection = self.lanes.free_one(server, &hope)
            if connection != NULL:
                self.hand(e, server)
                if connection_submit(connection, e) < 0:
                    connection.state = CONN_LEAVING
                    self.lanes.broken = True
                    self.refuse(e, now_ns)
                return True
            if not hope:
                self.hand(e, server)
                self.refuse(e, now_ns)
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

    cdef int refuse(self, int32_t e, int64_t now_ns) noexcept nogil:
        """There is no connection: the slot ends at once, and a closed loop's next one not yet."""
        self.paused_until_ns = now_ns + REFUSED_PAUSE_NS
        return ledger_finish(self.books, e, OUTCOME_ERROR, REASON_NO_CONNECTION, GRPC_UNAVAILABLE,
                             now_ns)

    cdef int hand_waiting(self, int64_t now_ns) noexcept nogil:
        cdef LedgerState *books = self.books
        cdef int32_t e
        while books.waiting_first != NONE:
            e = books.waiting_first
            if not self.offer(e, now_ns):
                return 0
            ledger_next_waiting(books)
        return 0
