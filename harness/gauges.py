"""What people are shown of a phase while it runs: read by the coordinator between its turns."""

from collections import deque
from collections.abc import Callable

from harness._histogram import Histogram
from harness._tally import BUCKET_FIELDS, Tally
from harness.config import NS_PER_S
from harness.detector.policy import Policy
from harness.detector.rules import PLAIN_WINDOW_NS
from harness.load.coordinator import HUNG_NS, Coordinator, Phase
from harness.load.preparation import Preparation
from harness.progress import (
    ACTIVE,
    COOLING,
    EJECTED,
    LATENCIES_OVER_S,
    MISSING,
    STANDBY,
    Progress,
    ServerState,
)
from harness.records import BUCKET_NS, Outcome
from harness.results.outages import evidence_window_ns
from harness.untrusted import clean_text

RATES_OVER_NS = 2 * NS_PER_S
JUDGED = slice(BUCKET_FIELDS.index("decided"), BUCKET_FIELDS.index("violations") + 1)


class Gauges:
    """Reads a phase and passes a Progress on. ``name``: the phase, "warm-up" or "run"."""

    def __init__(
        self,
        name: str,
        prepared: Preparation,
        policy: Policy,
        coordinator: Coordinator,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.name = name
        self.prepared = prepared
        self.config = prepared.config
        self.policy = policy
        self.coordinator = coordinator
        self.on_progress = on_progress
        self.model = clean_text(self.config.model)
        self.urls = [clean_text(url) for url in self.config.urls]
        self.cap = prepared.inflight_cap
        self.window_ns = (
            self.config.switching.given_window_ns or PLAIN_WINDOW_NS
            if self.config.switching.rule == "plain"
            else evidence_window_ns(self.config) or PLAIN_WINDOW_NS
        )
        self.counted: deque[tuple[int, int, int]] = deque()  # time, sent and ok of each reading
        self.latencies = RecentLatencies()
        self.judged = Judged(self.config.timeout_ns + self.config.lag_ns + 2 * HUNG_NS)
        self.lateness_p99_ns: int | None = None

    def __call__(self, phase: Phase, now_ns: int) -> None:
        """Read everything now."""
        segment, tally = self.coordinator.segment, phase.tally
        by_outcome = tally.counts.sum(axis=(0, 2))
        ok, dropped = int(by_outcome[Outcome.OK]), int(by_outcome[Outcome.DROPPED])
        taken = sum(
            len(range(worker, segment.cursor(worker), segment.workers))
            for worker in range(segment.workers)
        )
        sent_rate, ok_rate = self._rates(now_ns, taken - dropped, ok)
        if self.latencies.turn(now_ns, tally.recent):
            self.lateness_p99_ns = tally.histogram("lateness").percentile_ns(99)
        complete = min(self.coordinator.slowest_ns // BUCKET_NS, tally.bucket_count)
        decided, violations = self.judged.so_far(tally, now_ns)
        recent = judged_within(tally, complete - self.window_ns // BUCKET_NS, complete)
        in_use = segment.verdict()[1]
        servers = self._servers(in_use, now_ns)
        self.on_progress(
            Progress(
                phase=self.name,
                t_ns=now_ns,
                duration_ns=phase.spec.duration_ns,
                ok=ok,
                decided=decided,
                violations=violations,
                in_flight=sum(server.in_flight for server in servers),
                p50_ns=self.latencies.p50_ns,
                p99_ns=self.latencies.p99_ns,
                in_use=in_use if len(servers) > 1 else (),
                cut_ns=phase.cut_ns,
                end_ns=phase.end_ns,
                target_rate=phase.spec.rate,
                concurrency=self.config.concurrency,
                sent_rate=sent_rate,
                ok_rate=ok_rate,
                dropped=dropped,
                inflight_cap=self.cap,
                lateness_p99_ns=self.lateness_p99_ns,
                recent_decided=recent[0],
                recent_violations=recent[1],
                recent_ns=self.window_ns,
                limit=self.config.slo.limit if self.config.slo else None,
                servers=servers,
                model=self.model,
                dist=phase.spec.dist,
            )
        )

    def _rates(self, now_ns: int, sent: int, ok: int) -> tuple[float | None, float | None]:
        """Of slots taken and not dropped, and of OK answers."""
        self.counted.append((now_ns, sent, ok))
        while len(self.counted) > 2 and now_ns - self.counted[1][0] >= RATES_OVER_NS:
            self.counted.popleft()
        t_ns, sent_before, ok_before = self.counted[0]
        if now_ns <= t_ns:
            return None, None
        seconds = (now_ns - t_ns) / NS_PER_S
        return (sent - sent_before) / seconds, (ok - ok_before) / seconds

    def _servers(self, in_use: tuple[int, ...], now_ns: int) -> tuple[ServerState, ...]:
        segment, fleet = self.coordinator.segment, self.coordinator.fleet
        links = [
            segment.pulse(worker.index)[2] for worker in fleet.workers if worker.state == "running"
        ]
        found = []
        for server, url in enumerate(self.urls):
            connected = all(one >> server & 1 for one in links)
            back_ns = self.policy.out_until_ns(server) - now_ns
            missing = not connected and server in self.prepared.missing
            if server in in_use:
                state = ACTIVE
            elif missing:
                state = MISSING
            elif back_ns > 0:
                state = COOLING if self.config.switching.policy == "failover" else EJECTED
            else:
                state = STANDBY
            cooling = state in (COOLING, EJECTED)
            in_flight = fleet.in_flight(server)
            found.append(
                ServerState(url, state, connected, in_flight, back_ns if cooling else None)
            )
        return tuple(found)


class RecentLatencies:
    """Response latencies of the OK answers of the last seconds."""

    def __init__(self) -> None:
        self.p50_ns: int | None = None
        self.p99_ns: int | None = None
        self._blocks: deque[Histogram] = deque(maxlen=LATENCIES_OVER_S)  # of a second each
        self._t_ns: int | None = None

    def turn(self, now_ns: int, source: Histogram) -> bool:
        """True once a second: then what ``source`` holds is taken over, and it is emptied."""
        if self._t_ns is not None and now_ns - self._t_ns < NS_PER_S:
            if not self._blocks:
                self._read(source)
            return False
        first, self._t_ns = self._t_ns is None, now_ns
        if first:
            self._read(source)
            return True
        block, merged = Histogram(), Histogram()
        block.merge(source)
        source.clear()
        self._blocks.append(block)
        for one in self._blocks:
            merged.merge(one)
        self._read(merged)
        return True

    def _read(self, histogram: Histogram) -> None:
        self.p50_ns, self.p99_ns = histogram.percentile_ns(50), histogram.percentile_ns(99)


class Judged:
    """Decided slots and violations of a phase.

    Buckets older than ``settled_ns`` are counted once: a day has two million.
    """

    def __init__(self, settled_ns: int) -> None:
        self._settled_ns = settled_ns
        self._first = 0
        self._counted = (0, 0)

    def so_far(self, tally: Tally, now_ns: int) -> tuple[int, int]:
        """By bucket, since an overdue slot is judged long before it ends. None is due after now."""
        settled = max(self._first, (now_ns - self._settled_ns) // BUCKET_NS)
        self._counted = _sum(self._counted, judged_within(tally, self._first, settled))
        self._first = settled
        return _sum(self._counted, judged_within(tally, settled, now_ns // BUCKET_NS + 1))


def judged_within(tally: Tally, first: int, end: int) -> tuple[int, int]:
    """Decided slots and violations of the buckets from ``first`` to before ``end``."""
    found = tally.buckets[:, max(0, first) : max(0, end), JUDGED].sum(axis=(0, 1))
    return int(found[0]), int(found[1])


def _sum(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]
