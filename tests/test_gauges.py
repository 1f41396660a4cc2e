"""What is read of a running phase: rates, recent latencies, violations, states of servers."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness._histogram import Histogram
from harness._shm import Segment
from harness._tally import Tally
from harness.config import AtCommand, BenchConfig, Slo, Switching
from harness.detector.policy import make_policy
from harness.gauges import Gauges, Judged, RecentLatencies, judged_within
from harness.progress import Progress
from harness.records import BUCKET_NS, RECORD, Decision, Outcome

S = 1_000_000_000
SLO = Slo(threshold_ns=50_000_000, limit=0.05, text="50ms")


def rows(first: int, t_sched_ns: np.ndarray, slow: float = 0.0, **fields: int) -> np.ndarray:
    """OK answers after 1 ms, the first share of them judged too slow."""
    made = np.zeros(len(t_sched_ns), dtype=RECORD)
    made["slot"] = first + np.arange(len(made))
    for name in ("t_sched_ns", "t_taken_ns", "t_sent_ns"):
        made[name] = t_sched_ns
    made["t_first_ns"] = made["t_done_ns"] = t_sched_ns + 1_000_000
    made["outcome"], made["decision"] = Outcome.OK, Decision.IN_TIME
    made["decision"][: round(slow * len(made))] = Decision.SLOW
    for name, value in fields.items():
        made[name] = value
    return made


def test_judged_within() -> None:
    tally = Tally(1, 1000, 10 * S)
    tally.add_rows(rows(0, np.arange(100) * BUCKET_NS, slow=0.1))
    assert judged_within(tally, 0, 200) == (100, 10)
    assert judged_within(tally, 5, 20) == (15, 5)
    assert judged_within(tally, -7, 3) == (3, 3)
    assert judged_within(tally, 0, -3) == (0, 0)


@given(st.lists(st.integers(0, 199), max_size=60), st.integers(0, 40))
def test_old_buckets_are_counted_once(buckets: list[int], settled: int) -> None:
    tally = Tally(1, 1000, 10 * S)
    judged = Judged(settled * BUCKET_NS)
    for slot, bucket in enumerate(sorted(buckets)):
        # Nothing comes for a bucket that is settled.
        tally.add_rows(rows(slot, np.array([bucket * BUCKET_NS]), slow=slot % 2))
        expected = (slot + 1, (slot + 1) // 2)
        assert judged.so_far(tally, bucket * BUCKET_NS) == expected
    assert judged.so_far(tally, 10**15)[0] == len(buckets)


def test_recent_latencies_are_of_three_seconds() -> None:
    source, recent = Histogram(), RecentLatencies()
    assert recent.turn(0, source)
    assert recent.p50_ns is None
    for second in range(1, 9):
        source.record(second * 1000)
        assert not recent.turn(second * S - S // 2, source)
        if second == 1:
            assert recent.p50_ns == 1000
        assert recent.turn(second * S, source)
        assert source.count == 0
        newest, oldest = second * 1000, max(1, second - 2) * 1000
        assert recent.p99_ns == pytest.approx(newest, rel=1e-3)
        assert recent.p50_ns is not None
        assert oldest <= recent.p50_ns * 1.001 <= newest * 1.002
    for second in range(9, 13):
        recent.turn(second * S, source)
    assert recent.p50_ns is recent.p99_ns is None


class Read:
    """Gauges over made-up workers, and what they pass on."""

    def __init__(self, servers: int = 2, missing: tuple[int, ...] = (), **options: Any) -> None:
        urls = tuple(f"h{n}:1" for n in range(servers))
        options = {"rate": 100.0, "slo": SLO, **options}
        config = BenchConfig(model="m\x1b", urls=urls, **options)
        self.segment = Segment(2, 64, 64)
        self.segment.set_verdict(0, (0,))
        workers = [SimpleNamespace(index=n, state="running") for n in range(2)]
        fleet = SimpleNamespace(workers=workers, in_flight=lambda server: 3 + server)
        self.coordinator: Any = SimpleNamespace(segment=self.segment, fleet=fleet, slowest_ns=0)
        self.policy = make_policy(config.switching, servers, missing)
        prepared: Any = SimpleNamespace(config=config, inflight_cap=64, missing=list(missing))
        self.tally = Tally(servers, 10_000, 60 * S)
        spec = SimpleNamespace(duration_ns=60 * S, rate=config.rate, dist="constant")
        self.phase: Any = SimpleNamespace(tally=self.tally, spec=spec, cut_ns=None, end_ns=70 * S)
        self.found: list[Progress] = []
        self.gauges = Gauges("run", prepared, self.policy, self.coordinator, self.found.append)

    def connect(self, *servers: int) -> None:
        for worker in range(2):
            for server in range(len(self.gauges.urls)):
                self.segment.connect(worker, server, int(server in servers))

    def at(self, now_ns: int) -> Progress:
        self.gauges(self.phase, now_ns)
        return self.found[-1]


def test_rates_are_of_the_last_two_seconds() -> None:
    read = Read()
    first = read.at(0)
    assert first.ok_rate is None
    for quarter in range(1, 41):
        per_quarter = 25 if quarter <= 20 else 50
        start = int(read.tally.slots_end)
        times_ns = np.full(per_quarter, quarter * S // 4)
        read.tally.add_rows(rows(start, times_ns))
        progress = read.at(quarter * S // 4)
        if quarter == 20:
            assert progress.ok_rate == 100
    assert progress.ok_rate == 200
    assert progress.ok == 20 * 25 + 20 * 50
    assert progress.target_rate == 100
    assert progress.model == "m"


def test_recent_violations_end_at_the_watermark() -> None:
    read = Read()
    read.tally.add_rows(rows(0, np.arange(1000) * S // 100, slow=0.5))
    read.coordinator.slowest_ns = 7 * S
    progress = read.at(8 * S)
    assert (progress.recent_decided, progress.recent_violations) == (500, 300)
    assert progress.recent_ns == 5 * S
    assert (progress.decided, progress.violations) == (805, 500)
    assert progress.limit == 0.05
    assert progress.lateness_p99_ns == 0


def test_states_of_servers() -> None:
    read = Read(3, missing=(2,))
    read.connect(0, 1)
    states = [(one.state, one.connected, one.in_flight) for one in read.at(S).servers]
    assert states == [("active", True, 3), ("standby", True, 4), ("missing", False, 5)]
    move = read.policy.failed(0, 2 * S, hard_down=True, connected=[True, True, False])
    assert move.to == 1
    read.segment.set_verdict(1, (1,))
    read.connect(0, 2)
    first, second, third = read.at(3 * S).servers
    assert (first.state, first.back_ns) == ("cooling down", 29 * S)
    assert (second.state, second.connected) == ("active", False)
    assert (third.state, third.back_ns) == ("cooling down", 27 * S)
    assert [one.state for one in read.at(40 * S).servers] == ["standby", "active", "standby"]


def test_states_under_ejection() -> None:
    read = Read(2, switching=Switching(policy="round-robin", eject=True))
    read.connect(0, 1)
    read.segment.set_verdict(0, (0, 1))
    assert [one.state for one in read.at(S).servers] == ["active", "active"]
    assert read.found[-1].in_use == (0, 1)
    read.policy.failed(1, 2 * S, hard_down=True, connected=[True, True])
    read.segment.set_verdict(1, (0,))
    assert [one.state for one in read.at(3 * S).servers] == ["active", "ejected"]


def test_alternating_servers_stand_by() -> None:
    read = Read(2, switching=Switching(policy="alternate"))
    read.connect(0, 1)
    assert [one.state for one in read.at(S).servers] == ["active", "standby"]
    assert all(one.back_ns is None for one in read.found[-1].servers)


def test_without_an_slo_there_is_no_limit() -> None:
    progress = Read(1, slo=None, at=(AtCommand(at_ns=1, command="true"),)).at(S)
    assert progress.limit is None
    assert progress.recent_ns == 5 * S
    assert progress.in_use == ()
