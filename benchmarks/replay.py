"""Simulated servers, and the coordinator's part of switching over their buckets.

The rules, the detector, the stall and the policy are the real ones; only slots and their fates are
drawn. Times in ns from slot 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from harness.config import NS_PER_MS, NS_PER_S, Slo, Switching
from harness.detector.detector import Detection, Detector, limit_of, make_rules
from harness.detector.evidence import Evidence
from harness.detector.failover import Why
from harness.detector.policy import make_policy
from harness.detector.rules import HARD_DOWN, STALLED
from harness.detector.stall import make_stalls
from harness.records import BUCKET_NS

SLO = Slo(threshold_ns=50 * NS_PER_MS, limit=0.05, text="50ms")
BASELINE = 0.01
WARMUP_NS = 2 * NS_PER_S
SERVICE_NS = 10 * NS_PER_MS
HISTORY_BUCKETS = 600
TURN_NS = 10 * NS_PER_MS
"""The longest it takes the coordinator to look again, while a bucket waits for records."""
IN_FLIGHT = 64


@dataclass(frozen=True)
class Fault:
    """From ``start_ns`` on, to ``end_ns``, this share of a server's slots violates."""

    start_ns: int
    end_ns: int
    share: float = 1.0
    with_status: bool = False


def stall(start_ns: int, length_ns: int) -> Fault:
    """The slots that a server violates which answers nothing for ``length_ns``.

    Those in service when it begins, and those planned up to T before they are served after it.
    """
    return Fault(start_ns - SERVICE_NS, start_ns + length_ns + SERVICE_NS - SLO.threshold_ns)


@dataclass(frozen=True)
class Trace:
    """What one server would make of the whole load: by bucket, decided, violations, slow ones."""

    decided: list[int]
    violations: list[int]
    slow: list[int]

    def bucket(self, index: int) -> Evidence:
        """The evidence of one bucket."""
        return Evidence(self.decided[index], self.violations[index], self.slow[index])


def trace(
    random: Generator, rate: float, buckets: int, *faults: Fault, baseline: float = BASELINE
) -> Trace:
    """Poisson arrivals at ``rate`` a second; outside its faults ``baseline`` of the slots is slow.

    A fault covers the part of a bucket that it covers; faults do not overlap.
    """
    slow_share, status_share = np.zeros(buckets), np.zeros(buckets)
    for fault in faults:
        start_ns, end_ns = max(fault.start_ns, 0), min(fault.end_ns, buckets * BUCKET_NS)
        if start_ns >= end_ns:
            continue
        first, last = start_ns // BUCKET_NS, -(-end_ns // BUCKET_NS)
        edges_ns = np.arange(first, last + 1) * BUCKET_NS
        covered = np.diff(np.clip(edges_ns, start_ns, end_ns).astype(float)) / BUCKET_NS
        share = status_share if fault.with_status else slow_share
        share[first:last] += covered * fault.share
    decided = random.poisson(rate * BUCKET_NS / NS_PER_S, buckets)
    status = random.binomial(decided, status_share)
    slow = random.binomial(decided - status, 1 - (1 - baseline) * (1 - slow_share))
    return Trace(decided.tolist(), (slow + status).tolist(), slow.tolist())


@dataclass(frozen=True)
class Left:
    """The load left a server."""

    server: int
    detect_ns: int  # the last needed bucket was complete: T after its end
    detection: Detection


def replay(
    switching: Switching,
    traces: Sequence[Trace],
    under_load_ns: int = WARMUP_NS,
    most: int | None = None,
) -> list[Left]:
    """Every switch among as many servers as there are traces, the first ``most`` of them if given.

    The first server is active and has been under load for ``under_load_ns``. Another server's
    first bucket is the first whole one after the switch.
    """
    limit, connected = limit_of(SLO), [True] * len(traces)
    policy = make_policy(switching, len(traces), [])
    detector = Detector(make_rules(switching, SLO, under_load_ns), limit, HISTORY_BUCKETS)
    left: list[Left] = []
    first, server = 0, 0
    for index in range(len(traces[0].decided)):
        if index < first:
            continue
        detection = detector.feed(index, traces[server].bucket(index))
        if detection is None:
            continue
        now_ns = (index + 1) * BUCKET_NS + SLO.threshold_ns
        hard_down = detection.trigger.rule in (HARD_DOWN, STALLED)
        move = policy.failed(server, now_ns, hard_down=hard_down, connected=connected)
        if move.why is not Why.SWITCH:
            continue
        left.append(Left(server, now_ns, detection))
        if len(left) == most:
            break
        (server,) = policy.in_use
        first = -(-now_ns // BUCKET_NS)
        detector = Detector(make_rules(switching, SLO, 0), limit, HISTORY_BUCKETS)
    return left


@dataclass(frozen=True)
class ClosedLoop:
    """64 clients, each with one request in flight, of a server that hangs at ``hung_ns``.

    Service latencies are exponential with 1 % over T. A slot is planned when it is taken.
    """

    trace: Trace
    hung_ns: int
    done_ns: np.ndarray  # sorted

    @classmethod
    def draw(cls, random: Generator, buckets: int, hung_ns: int) -> "ClosedLoop":
        """A run of ``buckets`` buckets, most of them empty after ``hung_ns``."""
        mean_ns = SLO.threshold_ns / -np.log(BASELINE)
        turns = int(1.5 * hung_ns / mean_ns) + 50
        latency_ns = random.exponential(mean_ns, (IN_FLIGHT, turns))
        done_ns = np.cumsum(latency_ns, axis=1)
        taken_ns = done_ns - latency_ns
        if done_ns[:, -1].min() < hung_ns:
            raise ValueError(f"too few latencies drawn for {hung_ns} ns")
        taken, answered = taken_ns < hung_ns, done_ns < hung_ns
        violated = taken & (~answered | (latency_ns > SLO.threshold_ns))

        def count(chosen: np.ndarray) -> list[int]:
            index = (taken_ns[chosen] // BUCKET_NS).astype(np.int64)
            return [int(one) for one in np.bincount(index, minlength=buckets)]

        violations = count(violated)
        found = Trace(count(taken), violations, violations)
        return cls(found, hung_ns, np.sort(done_ns[answered]))

    def detect_ns(self, switching: Switching, *, stalls: bool) -> int | None:
        """When the load leaves it: by the buckets, or by the stalls if those are asked."""
        by_buckets = replay(switching, [self.trace, self.trace], most=1)
        moments = [left.detect_ns for left in by_buckets]
        if stalls:
            for one in make_stalls(switching, SLO, WARMUP_NS):
                for now_ns in range(0, len(self.trace.decided) * BUCKET_NS, TURN_NS):
                    completed = int(np.searchsorted(self.done_ns, now_ns, side="right"))
                    if one.feed(now_ns, completed, IN_FLIGHT) is not None:
                        moments.append(now_ns)
                        break
        return min(moments, default=None)


def after_the_switch(
    switching: Switching, hung: Trace, clean: Trace, draw: Callable[[int], Trace]
) -> list[Left]:
    """How often the second of three servers was left, after the first hung.

    ``draw`` makes the second's trace from when the load comes to it; the third is clean.
    """
    (first,) = replay(switching, [hung, clean], most=1)
    left = replay(switching, [hung, draw(first.detect_ns), clean])
    return [one for one in left if one.server == 1]
