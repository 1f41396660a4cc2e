"""The books of one worker in plain Python, written from the definitions: a model for tests."""

from dataclasses import dataclass, field

from harness.records import ABSENT_NS, NO_SERVER, Decision, Flag, Outcome, Reason

FOREVER_NS = 2**63 - 1


@dataclass(frozen=True)
class Pushed:
    """What a record in the ring says."""

    slot: int
    t_sched_ns: int
    t_taken_ns: int
    t_done_ns: int
    epoch: int
    response_bytes: int
    server: int
    outcome: Outcome
    decision: Decision
    reason: Reason
    status: int
    flags: int


@dataclass
class Slot:
    """A slot from the moment it is taken until its stream has ended."""

    slot: int
    t_sched_ns: int
    t_taken_ns: int
    server: int = NO_SERVER
    epoch: int = 0
    response_bytes: int = 0
    flags: int = 0
    overdue: bool = False
    passed: bool = False  # no longer waited for

    @property
    def handed(self) -> bool:
        return self.server != NO_SERVER


@dataclass
class LedgerModel:
    """Every list is in the order of the slots."""

    servers: int
    slo_ns: int | None
    timeout_ns: int
    lag_ns: int
    capacity: int
    ring_capacity: int
    pushed: list[Pushed] = field(default_factory=list)
    popped: int = 0
    overflowed: int = 0
    live: list[Slot] = field(default_factory=list)
    queue: list[Slot] = field(default_factory=list)
    expired: list[Slot] = field(default_factory=list)
    active: int = 0
    expected_ns: int = FOREVER_NS
    gap_end_ns: int = -FOREVER_NS
    in_flight_max: dict[int, int] = field(default_factory=dict)

    def is_late(self, t_ns: int, since_ns: int) -> bool:
        """Whether T has passed; the limit itself is in time."""
        return self.slo_ns is not None and t_ns - since_ns > self.slo_ns

    @property
    def late_ns(self) -> int:
        return 1_000_000 if self.slo_ns is None else max(1_000_000, self.slo_ns // 10)

    def passes_ns(self, one: Slot) -> int:
        """When a slot is no longer waited for: T, or 1 s, after it was due or, late, taken."""
        since_ns = one.t_taken_ns if one.flags & Flag.CLIENT_LATE else one.t_sched_ns
        return since_ns + (1_000_000_000 if self.slo_ns is None else self.slo_ns)

    def expect(self, wake_ns: int) -> None:
        self.expected_ns = wake_ns

    def alive(self, now_ns: int) -> bool:
        stood_still = now_ns - self.expected_ns > self.late_ns
        if stood_still:
            self.gap_end_ns = now_ns
            for one in self.live:
                if not one.passed and self.slo_ns is not None:
                    one.flags |= Flag.CLIENT_LATE
        self.expected_ns = now_ns
        return stood_still

    def in_flight(self, server: int) -> int:
        return sum(one.server == server for one in self.live + self.expired)

    def push(self, record: Pushed) -> None:
        if len(self.pushed) - self.popped == self.ring_capacity:
            self.overflowed += 1
        else:
            self.pushed.append(record)

    def record(self, one: Slot, outcome: Outcome, decision: Decision, **fields: int) -> None:
        flags = one.flags | (Flag.OVERDUE if one.overdue else 0)
        t_done_ns = fields.pop("t_done_ns", ABSENT_NS)
        if t_done_ns != ABSENT_NS and self.is_late(t_done_ns, one.t_sched_ns):
            flags |= Flag.COMPLETED_AFTER_DECISION
        server = fields.pop("server", one.server)
        self.push(
            Pushed(
                slot=one.slot,
                t_sched_ns=one.t_sched_ns,
                t_taken_ns=one.t_taken_ns,
                t_done_ns=t_done_ns,
                epoch=one.epoch,
                response_bytes=one.response_bytes,
                server=server,
                outcome=outcome,
                decision=decision,
                reason=Reason(fields.get("reason", Reason.NONE)),
                status=fields.get("status", 0),
                flags=flags,
            )
        )

    def take(self, slot: int, t_sched_ns: int, t_taken_ns: int) -> Slot | None:
        lateness_ns = t_taken_ns - t_sched_ns
        one = Slot(slot, t_sched_ns, t_taken_ns)
        late = lateness_ns > self.late_ns or t_sched_ns <= self.gap_end_ns
        one.flags = Flag.CLIENT_LATE if late else 0
        if lateness_ns > self.lag_ns:
            self.record(one, Outcome.DROPPED, Decision.UNDECIDED, reason=Reason.CLIENT)
            return None
        if len(self.live) + len(self.expired) == self.capacity:
            self.drop(one)
            return None
        self.live.append(one)
        return one

    def drop(self, one: Slot) -> None:
        """Dropped at the cap: a violation by status, the active server's."""
        decision = Decision.SLOW if one.overdue else Decision.STATUS
        self.record(one, Outcome.DROPPED, decision, reason=Reason.BACKPRESSURE, server=self.active)

    def wait(self, one: Slot) -> None:
        one.flags |= Flag.WAITED
        self.queue.append(one)

    def hand(self, one: Slot, server: int, epoch: int) -> None:
        one.server, one.epoch = server, epoch
        flying = self.in_flight(server)
        self.in_flight_max[server] = max(self.in_flight_max.get(server, 0), flying)

    def finish(
        self, one: Slot, outcome: Outcome, reason: Reason, status: int, t_done_ns: int
    ) -> None:
        if one in self.expired:
            self.expired.remove(one)
            return
        if one.overdue or self.is_late(t_done_ns, one.t_sched_ns):
            decision = Decision.SLOW
        else:
            decision = Decision.IN_TIME if outcome == Outcome.OK else Decision.STATUS
        self.live.remove(one)
        self.record(one, outcome, decision, reason=reason, status=status, t_done_ns=t_done_ns)

    def tick(self, now_ns: int) -> None:
        while self.queue:
            one = self.queue[0]
            waited_long = now_ns - one.t_taken_ns > self.lag_ns
            if not waited_long and not self.is_late(now_ns, one.t_sched_ns):
                break
            self.live.remove(self.queue.pop(0))
            self.drop(one)
        for one in self.live:
            if one.passed:
                continue
            if now_ns <= self.passes_ns(one):
                break  # in the order of the slots
            one.passed = True
            if self.slo_ns is not None:
                one.overdue = True
                self.record(one, Outcome.NONE, Decision.SLOW)

    def expire_next(self, now_ns: int) -> Slot | None:
        if not self.live or not self.live[0].handed:
            return None
        one = self.live[0]
        if now_ns - one.t_taken_ns < self.timeout_ns:
            return None
        late = one.overdue or self.is_late(now_ns, one.t_sched_ns)
        self.record(one, Outcome.TIMEOUT, Decision.SLOW if late else Decision.STATUS)
        self.live.remove(one)
        self.expired.append(one)
        return one

    def abandon(self, now_ns: int) -> None:
        while self.queue:
            one = self.queue.pop(0)
            self.live.remove(one)
            self.drop(one)
        for one in self.live:
            late = one.overdue or self.is_late(now_ns, one.t_sched_ns)
            self.record(one, Outcome.CANCELLED, Decision.SLOW if late else Decision.UNDECIDED)
        self.expired += self.live
        self.live.clear()

    def watermark_ns(self, next_sched_ns: int | None) -> int:
        """t_sched of the oldest slot still waited for, or else of the first not taken."""
        open_slots = [one.t_sched_ns for one in self.live if not one.passed]
        if open_slots:
            return open_slots[0]
        return FOREVER_NS if next_sched_ns is None else next_sched_ns

    def next_deadline_ns(self) -> int:
        """The earliest time at which tick or expire_next changes something."""
        times = [FOREVER_NS]
        times += [self.passes_ns(one) + 1 for one in self.live if not one.passed][:1]
        times += [one.t_taken_ns + self.lag_ns + 1 for one in self.queue[:1]]
        times += [one.t_taken_ns + self.timeout_ns for one in self.live[:1] if one.handed]
        return min(times)
