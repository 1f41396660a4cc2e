"""The controller over a real segment and tally, in virtual time and without processes."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness._ledger import Ledger
from harness._shm import Segment
from harness._tally import Tally
from harness.config import BenchConfig, Slo, Switching
from harness.detector.policy import make_policy
from harness.load.controller import Controller, blind_ns
from harness.load.coordinator import Phase
from harness.plan import PlanSpec
from harness.records import BUCKET_NS, RECORD, Decision, Flag, Outcome
from tests.core_fixture import ledger_of

MS = 1_000_000
S = 1_000_000_000
T_NS = 50 * MS
SLO = Slo(threshold_ns=T_NS, limit=0.05, text="50ms")
RATE = 1000.0


class Room:
    """A controller, and hands that play its workers. Time is told in buckets."""

    def __init__(
        self,
        servers: int = 2,
        workers: int = 1,
        slo: Slo | None = SLO,
        concurrency: int | None = None,
        warmup_ns: int = 2 * S,
        **switching: Any,
    ) -> None:
        self.segment = Segment(workers, 1 << 10, 64)
        self.workers = [SimpleNamespace(index=w, state="running") for w in range(workers)]
        self.ledgers: dict[int, Ledger] = {}
        self.wakes = 0
        fleet = SimpleNamespace(workers=self.workers, wake=self.wake, in_flight=self.in_flight)
        config = BenchConfig(
            model="m",
            urls=tuple(f"host{server}:1" for server in range(servers)),
            slo=slo,
            warmup_ns=warmup_ns,
            switching=Switching(**switching),
            **({} if concurrency is None else {"concurrency": concurrency}),
        )
        spec = PlanSpec("constant", RATE, 1, 60 * S)
        self.told: list[dict[str, Any]] = []
        tally = Tally(servers, 60_000, spec.duration_ns)
        self.phase = Phase(spec, "s", tally, 0, None, on_event=self.told.append)
        policy = make_policy(config.switching, servers, ())
        self.controller = Controller(self.segment, fleet, self.phase, policy, config)
        self.segment.set_verdict(0, policy.in_use)
        for worker in range(workers):
            for server in range(servers):
                self.segment.connect(worker, server, 1)
        self.now_ns = 0
        self.stopped = False

    def wake(self) -> None:
        self.wakes += 1

    def in_flight(self, server: int) -> int:
        return sum(self.segment.in_flight(one.index, server)[0] for one in self.workers)

    @property
    def in_use(self) -> tuple[int, ...]:
        return self.segment.verdict()[1]

    def slots(
        self,
        bucket: int,
        decision: Decision,
        count: int = 50,
        flags: int = 0,
        server: int | None = None,
    ) -> None:
        """Final records of slots due in a bucket, at the first server in use unless told."""
        rows = np.zeros(count, dtype=RECORD)
        rows["t_sched_ns"] = bucket * BUCKET_NS
        rows["slot"] = np.arange(count)
        rows["server"] = self.in_use[0] if server is None else server
        ok = decision is Decision.IN_TIME
        rows["outcome"] = Outcome.OK if ok else Outcome.ERROR
        rows["decision"] = decision
        rows["flags"] = flags
        self.phase.tally.add_rows(rows)

    def pass_bucket(self, bucket: int, alive: tuple[int, ...] | None = None) -> None:
        """The workers that are alive have pushed everything up to the bucket's end."""
        end_ns = (bucket + 1) * BUCKET_NS
        self.now_ns = end_ns + T_NS
        for worker in range(len(self.workers)) if alive is None else alive:
            self.publish(worker, end_ns)
        self.turn()

    def publish(self, worker: int, watermark_ns: int) -> None:
        self.ledger(worker).publish(self.now_ns, watermark_ns)

    def ledger(self, worker: int) -> Ledger:
        if worker not in self.ledgers:
            self.ledgers[worker] = Ledger(
                self.segment,
                worker,
                servers=1,
                slo_ns=T_NS,
                timeout_ns=S,
                lag_ns=MS,
                cap=1,
            )
        return self.ledgers[worker]

    def turn(self) -> None:
        self.controller.look(self.now_ns)
        self.stopped |= self.controller.turn(self.now_ns)

    def run(self, first: int, end: int, decision: Decision, **options: Any) -> None:
        alive = options.pop("alive", None)
        for bucket in range(first, end):
            self.slots(bucket, decision, **options)
            self.pass_bucket(bucket, alive)

    def kinds(self) -> list[str]:
        return [event["event"] for event in self.told]


def test_a_hung_server_is_left_after_the_stall_tolerance():
    room = Room()
    room.run(0, 120, Decision.IN_TIME)
    assert room.in_use == (0,)
    room.run(120, 124, Decision.SLOW)
    assert room.in_use == (0,)
    room.run(124, 125, Decision.SLOW)
    assert room.in_use == (1,)
    assert room.wakes == 1
    (switch,) = room.controller.switches
    assert (switch.source, switch.target, switch.rule, switch.epoch) == (0, 1, "hard-down", 1)
    assert switch.t_onset_ns == 120 * BUCKET_NS
    assert switch.t_detect_ns == room.now_ns == 125 * BUCKET_NS + T_NS
    assert (switch.n, switch.x) == (250, 250)


def test_t_seen_fills_up_in_the_switch_and_in_its_event():
    room = Room(workers=2)
    room.run(0, 130, Decision.SLOW)
    (switch,) = room.controller.switches
    assert switch.t_seen_ns == [None, None]
    room.segment.see(0, 1, 77)
    room.turn()
    room.segment.see(1, 1, 99)
    room.controller.finish()
    assert switch.t_seen_ns == [77, 99]
    (event,) = [one for one in room.phase.events if one["event"] == "switch"]
    assert event["t_seen_ns"] == [77, 99]


def test_too_many_violations_are_left_by_the_rate_rule():
    room = Room()
    room.run(0, 120, Decision.IN_TIME)
    for bucket in range(120, 200):
        room.slots(bucket, Decision.IN_TIME, 40)
        room.slots(bucket, Decision.STATUS, 10)
        room.pass_bucket(bucket)
        if room.controller.switches:
            break
    assert room.controller.switches[0].rule == "rate"
    assert 120 + 20 < bucket < 120 + 40


def test_a_silent_worker_is_left_out_and_its_past_is_no_evidence():
    room = Room(workers=2)
    room.run(0, 20, Decision.IN_TIME)
    room.run(20, 40, Decision.IN_TIME, alive=(0,))
    assert room.kinds() == ["worker_silent"]
    assert room.controller.complete_ns >= 39 * BUCKET_NS
    # It comes back with 20 buckets full of violations that are nobody's evidence any more.
    for bucket in range(20, 39):
        room.slots(bucket, Decision.SLOW, 500)
    room.run(40, 60, Decision.IN_TIME)
    assert room.kinds() == ["worker_silent", "worker_back"]
    assert room.in_use == (0,)


def test_without_any_worker_nothing_is_judged():
    room = Room()
    room.run(0, 20, Decision.IN_TIME)
    room.run(20, 40, Decision.SLOW, alive=())
    assert room.in_use == (0,)
    assert room.controller.complete_ns == 20 * BUCKET_NS


def test_a_dead_worker_is_not_waited_for():
    room = Room(workers=2)
    room.run(0, 20, Decision.IN_TIME)
    room.workers[1].state = "died"
    room.run(20, 40, Decision.SLOW, alive=(0,))
    assert room.in_use == (1,)


def test_client_late_slots_are_no_evidence_unless_overdue_on_their_own():
    room = Room()
    room.run(0, 60, Decision.IN_TIME, flags=Flag.CLIENT_LATE)
    assert room.in_use == (0,)
    assert blind_ns(room.phase.tally) == 60 * BUCKET_NS
    rows = np.zeros(10, dtype=RECORD)  # overdue records, as the ring carries them
    rows["decision"] = Decision.SLOW
    rows["flags"] = Flag.CLIENT_LATE | Flag.OVERDUE
    for bucket in range(60, 90):
        rows["t_sched_ns"] = bucket * BUCKET_NS
        rows["server"] = room.in_use[0]
        room.phase.tally.add_rows(rows)
        room.pass_bucket(bucket)
    assert room.controller.switches[0].rule == "hard-down"


def test_a_starved_client_still_sees_a_server_that_answers_errors_alone():
    room = Room()
    room.run(0, 60, Decision.IN_TIME, flags=Flag.CLIENT_LATE)
    room.run(60, 70, Decision.STATUS, flags=Flag.CLIENT_LATE)
    assert room.controller.switches[0].rule == "hard-down"


def test_a_server_without_connection_is_passed_over():
    room = Room(servers=3)
    room.segment.connect(0, 1, 0)
    room.run(0, 30, Decision.SLOW)
    assert room.in_use == (2,)


def test_connection_events_are_told_and_bounded():
    room = Room()
    room.pass_bucket(0)
    for bucket in range(1, 600):
        room.segment.connect(0, 1, 1 - bucket % 2)
        room.pass_bucket(bucket)
    kinds = room.kinds()
    assert kinds[:3] == ["connection_lost", "connection_back", "connection_lost"]
    assert len(kinds) == 400


def test_a_single_server_that_fails_is_told_once():
    room = Room(servers=1)
    room.run(0, 100, Decision.SLOW)
    assert room.in_use == (0,)
    assert room.kinds() == ["all_bad"]


def test_all_bad_stops_if_asked():
    room = Room(on_all_bad="stop")
    room.run(0, 120, Decision.IN_TIME)
    room.run(120, 130, Decision.SLOW)
    assert room.in_use == (1,)
    assert not room.stopped
    room.run(130, 160, Decision.SLOW)
    assert room.stopped
    assert room.kinds() == ["switch", "all_bad", "stopped"]


def test_a_balancing_policy_tells_and_stays():
    room = Room(policy="round-robin")
    room.run(0, 30, Decision.SLOW)
    assert room.in_use == (0, 1)
    assert room.kinds() == ["failing"]


def test_ejected_and_used_again():
    room = Room(policy="round-robin", eject=True, cool_down_ns=2 * S)
    room.run(0, 5, Decision.SLOW, server=0)
    assert room.in_use == (1,)
    room.run(5, 60, Decision.IN_TIME, server=1)
    assert room.in_use == (0, 1)
    assert room.kinds() == ["eject", "readmit"]
    assert room.segment.verdict()[0] == 2


def test_errors_are_hard_down_without_an_slo_too():
    room = Room(slo=None)
    room.run(0, 20, Decision.IN_TIME)
    room.run(20, 26, Decision.STATUS)
    assert room.in_use == (1,)


def test_nothing_is_left_after_the_end_of_the_plan():
    room = Room()
    room.now_ns = 61 * S
    room.slots(0, Decision.SLOW)
    room.publish(0, 61 * S)
    room.turn()
    assert room.controller.switches == []


@pytest.mark.parametrize("workers", [1, 3])
def test_the_slowest_worker_counts(workers):
    room = Room(workers=workers)
    for worker in range(workers):
        room.publish(worker, (10 + worker) * BUCKET_NS)
    room.turn()
    assert room.controller.complete_ns == 10 * BUCKET_NS


def test_what_a_stopped_or_dead_worker_holds_is_no_sign_of_a_hang():
    room = Room(workers=2, slo=None)
    held = ledger_of(room.segment, 1, lag_ns=50)
    held.hand(held.take(1, 0, 0), 0, 0)
    for bucket in range(40):
        room.pass_bucket(bucket, alive=(0,))
    room.workers[1].state = "died"
    for bucket in range(40, 80):
        room.pass_bucket(bucket, alive=(0,))
    assert room.kinds() == ["worker_silent"]
    assert room.in_use == (0,)


def hold(room: Room, count: int) -> None:
    """So many requests are in flight at the first server, overdue, and none comes back."""
    ledger = room.ledger(0)
    for slot in range(count):
        ledger.hand(ledger.take(slot, 0, 0), 0, 0)
    ledger.tick(T_NS + 1)


def stuck(room: Room, first: int, seconds: float) -> int | None:
    """Empty buckets pass; at the end of which one the load has moved, in ns."""
    for bucket in range(first, first + round(seconds * S / BUCKET_NS)):
        room.pass_bucket(bucket)
        if room.in_use != (0,):
            return room.now_ns - T_NS
    return None


@pytest.mark.parametrize(
    ("in_flight", "warmup_ns", "needed_ns"),
    [
        (64, 2 * S, 250 * MS + T_NS),
        (5, 2 * S, 250 * MS + T_NS),
        (4, 2 * S, S),  # fewer than hard-down needs in a row
        (1, 2 * S, S),
        (64, 0, S),  # in a server's first two seconds
    ],
)
def test_a_closed_loop_leaves_a_server_that_answers_nothing(in_flight, warmup_ns, needed_ns):
    room = Room(concurrency=in_flight, warmup_ns=warmup_ns)
    hold(room, in_flight)
    room.run(0, 10, Decision.IN_TIME)
    t_last_ns = room.now_ns
    t_left_ns = stuck(room, 10, 2)
    assert t_left_ns is not None
    assert needed_ns <= t_left_ns + T_NS - t_last_ns <= needed_ns + BUCKET_NS
    (switch,) = room.controller.switches
    assert switch.rule == "stalled"
    assert switch.n == switch.x == in_flight
    assert t_last_ns <= switch.t_onset_ns + T_NS <= t_last_ns + BUCKET_NS + T_NS


@pytest.mark.parametrize("options", [{}, {"concurrency": 8, "rule": "plain"}])
def test_nothing_ending_is_no_failure_where_the_rule_has_none(options):
    room = Room(**options)
    hold(room, 8)
    room.run(0, 10, Decision.IN_TIME)
    assert stuck(room, 10, 3) is None


def test_a_closed_loop_with_nothing_in_flight_is_not_stuck():
    room = Room(concurrency=8)
    room.run(0, 10, Decision.IN_TIME)
    assert stuck(room, 10, 3) is None
