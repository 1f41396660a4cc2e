"""Runs that never happened: RunData as a consistent load would leave it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness._tally import Tally
from harness.config import NS_PER_MS, NS_PER_S, BenchConfig, Slo
from harness.control.server_stats import ModelCounts, Snapshot
from harness.load.fleet import WorkerReport
from harness.load.switch import Switch
from harness.plan import PlanFacts, PlanSpec
from harness.records import ABSENT_NS, NO_SERVER, RECORD, Decision, Flag, Outcome, Reason
from harness.results.rundata import RunData

HANDED = (Outcome.OK, Outcome.ERROR, Outcome.TIMEOUT, Outcome.CANCELLED)


@dataclass(frozen=True)
class Failure:
    """The active server hangs from ``t_onset_ns`` on, and the load leaves it at ``t_decide_ns``."""

    t_onset_ns: int
    t_decide_ns: int
    target: int

    def t_seen_ns(self, worker: int) -> int:
        return self.t_decide_ns + 100_000 * (worker + 1)


@dataclass(frozen=True)
class Spec:
    """What to make up. ``mix``: weight of each outcome; lost and unsent come from dead workers."""

    dist: str = "poisson"
    rate: float = 200.0  # of a closed loop: what comes of it, about
    concurrency: int | None = None  # a closed loop, whose workers take unevenly many slots
    duration_ns: int = NS_PER_S
    seed: int = 1
    urls: tuple[str, ...] = ("gpu1:8001",)
    workers: int = 2
    slo_ns: int | None = 50 * NS_PER_MS
    limit: float = 0.05
    cut_ns: int | None = None
    dead_workers: frozenset[int] = frozenset()
    mix: dict[Outcome, int] = field(default_factory=lambda: {Outcome.OK: 1})
    client_drops: bool = False  # or, of DROPPED, all at the cap
    median_ns: int = 8 * NS_PER_MS
    lateness_ns: int = 20_000
    failures: tuple[Failure, ...] = ()  # hard-down; server 0 is active first
    draw: int = 7  # seed of everything made up
    rows: bool = True
    config: dict[str, Any] = field(default_factory=dict)


def synthetic_run(spec: Spec | None = None, **changes: Any) -> RunData:
    """A run whose books balance, its records counted by a real Tally."""
    spec = Spec(**changes) if spec is None else spec
    config = _config(spec)
    plan = PlanSpec(config.dist, config.rate, config.seed, config.duration_ns)
    facts = plan.facts()
    if plan.closed:
        slots, offsets_ns = _taken(spec)
        until, room = len(slots), int(slots.max(initial=-1)) + 1
        facts = PlanFacts(until, None)
    else:
        until = facts.slots if spec.cut_ns is None else plan.slots_until(spec.cut_ns)
        room, slots = facts.slots, np.arange(until)
        chunks = [chunk.copy() for chunk in plan.chunks()]
        offsets_ns = np.concatenate([np.empty(0, np.int64), *chunks])[:until]
    records = make_records(spec, config, offsets_ns, slots)
    kept = np.zeros(room, dtype=RECORD) if spec.rows else None
    tally = Tally(len(spec.urls), room, config.duration_ns, kept)
    tally.add_rows(overdue_records(records))
    tally.add_rows(records)
    switches = _switches(spec, records)
    return RunData(
        config=config,
        spec=plan,
        plan=facts,
        slots_until_cut=until,
        cut_ns=spec.cut_ns,
        tally=tally,
        inflight_cap=110,
        spin=False,
        workers=[_worker(spec, records, index) for index in range(spec.workers)],
        servers=[{"url": url, "name": "triton", "version": "2.51.0"} for url in spec.urls],
        signature={"inputs": [{"name": "INPUT0", "datatype": "FP32", "shape": [-1, 16]}]},
        stats_before=[Snapshot(ModelCounts()) for _ in spec.urls],
        stats_after=[_stats(records, index) for index in range(len(spec.urls))],
        events=_events(config, switches),
        host={"cpu_model": "none", "cpus_allowed": [0, 1]},
        started_utc="2026-01-02T03:04:05.678Z",
        origin_ns=1_000_000_000,
        run_id="0123456789abcdef",
        argv=["harness", "bench"],
        interrupted_by=None if spec.cut_ns is None else "SIGINT",
        in_flight_after_drain=0,
        warmup={"ok": 3},
        in_flight_samples=np.full((len(spec.urls), tally.bucket_count), 4, dtype=np.int32),
        path_floor_ns=110_000,
        switches=switches,
    )


def _taken(spec: Spec) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Slots that the workers of a closed loop took, in order, and when."""
    random = np.random.default_rng(spec.draw)
    end_ns = spec.duration_ns if spec.cut_ns is None else spec.cut_ns
    most = int(spec.rate * end_ns / NS_PER_S / spec.workers) + 1
    counts = random.integers(0, most, size=spec.workers, endpoint=True)
    slots = [np.arange(count) * spec.workers + worker for worker, count in enumerate(counts)]
    times_ns = [np.sort(random.integers(0, end_ns, size=count, endpoint=True)) for count in counts]
    order = np.argsort(np.concatenate(slots))
    return np.concatenate(slots)[order], np.minimum(
        np.concatenate(times_ns)[order], spec.duration_ns - 1
    )


def make_records(
    spec: Spec,
    config: BenchConfig,
    offsets_ns: NDArray[np.int64],
    slots: NDArray[np.int64] | None = None,
) -> NDArray[np.void]:
    """The final record of each slot, by default the first ones."""
    random = np.random.default_rng(spec.draw)
    records = np.zeros(len(offsets_ns), dtype=RECORD)
    weights = np.array([spec.mix.get(outcome, 0) for outcome in Outcome], dtype=float)
    slots = np.arange(len(offsets_ns)) if slots is None else slots
    for record, slot, t_sched_ns in zip(records, slots, offsets_ns, strict=True):
        for name in ("t_taken_ns", "t_sent_ns", "t_first_ns", "t_done_ns"):
            record[name] = ABSENT_NS
        record["slot"], record["t_sched_ns"] = slot, t_sched_ns
        record["worker"] = slot % spec.workers
        record["server"] = random.integers(len(spec.urls))
        outcome = Outcome(random.choice(len(Outcome), p=weights / weights.sum()))
        if spec.failures:
            outcome = _hand_over(record, outcome, spec)
        if record["worker"] in spec.dead_workers and random.random() < 0.5:
            outcome = Outcome.LOST if random.random() < 0.5 else Outcome.UNSENT
            record["flags"] |= Flag.MADE
        _fill(record, outcome, spec, config, random)
    return records


def _hand_over(record: Any, outcome: Outcome, spec: Spec) -> Outcome:
    """Give the slot to the server that was active when its worker came to it."""
    t_sched_ns, worker = int(record["t_sched_ns"]), int(record["worker"])
    past = [one for one in spec.failures if one.t_seen_ns(worker) <= t_sched_ns]
    record["epoch"] = len(past)
    record["server"] = past[-1].target if past else 0
    following = spec.failures[len(past) :]
    hangs = bool(following) and following[0].t_onset_ns <= t_sched_ns
    return Outcome.TIMEOUT if hangs else outcome


def _switches(spec: Spec, records: NDArray[np.void]) -> list[Switch]:
    """As measured for each failure: the evidence is what was overdue at its decision."""
    t_overdue_ns = records["t_sched_ns"] + (spec.slo_ns or 0)
    servers = [0, *(failure.target for failure in spec.failures)]
    switches = []
    for index, failure in enumerate(spec.failures):
        evidence = (records["t_sched_ns"] >= failure.t_onset_ns) & (
            t_overdue_ns < failure.t_decide_ns
        )
        found = int(np.count_nonzero(evidence))
        switches.append(
            Switch(
                epoch=index + 1,
                source=servers[index],
                target=failure.target,
                rule="hard-down",
                n=found,
                x=found,
                bound=5.0,
                t_onset_ns=failure.t_onset_ns,
                t_detect_ns=failure.t_decide_ns - 2_000_000,
                t_decide_ns=failure.t_decide_ns,
                t_seen_ns=[failure.t_seen_ns(worker) for worker in range(spec.workers)],
                in_flight=[found if one == servers[index] else 0 for one in range(len(spec.urls))],
            )
        )
    return switches


def _events(config: BenchConfig, switches: list[Switch]) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [{"t_ns": 0, "event": "start"}]
    for switch in switches:
        events.append({"t_ns": switch.t_decide_ns, "event": "switch", **vars(switch)})
    return [*events, {"t_ns": config.duration_ns, "event": "end"}]


def _fill(
    record: Any,
    outcome: Outcome,
    spec: Spec,
    config: BenchConfig,
    random: np.random.Generator,
) -> None:
    t_sched_ns = int(record["t_sched_ns"])
    threshold_ns = np.inf if spec.slo_ns is None else spec.slo_ns
    closed = spec.concurrency is not None
    late_ns = 0 if closed else int(random.exponential(spec.lateness_ns))
    record["outcome"] = outcome
    if outcome is Outcome.UNSENT:
        # Of a closed loop it was taken, and waited for credit.
        record["t_taken_ns"] = t_sched_ns if closed else ABSENT_NS
        record["server"] = NO_SERVER
        return
    if outcome is Outcome.DROPPED and spec.client_drops and not closed and random.random() < 0.5:
        late_ns += config.lag_ns
        record["reason"], record["flags"] = Reason.CLIENT, Flag.CLIENT_LATE
    elif outcome is Outcome.DROPPED:
        record["reason"], record["decision"] = Reason.BACKPRESSURE, Decision.STATUS
        record["flags"] |= Flag.WAITED
    record["t_taken_ns"] = t_sched_ns + late_ns
    if outcome is Outcome.DROPPED:
        return
    record["t_sent_ns"] = record["t_taken_ns"] + int(random.exponential(30_000))
    if outcome is Outcome.LOST:
        if spec.slo_ns is not None and random.random() < 0.5:
            record["flags"] |= Flag.OVERDUE
            record["decision"] = Decision.SLOW
        return
    took_ns = int(random.lognormal(np.log(spec.median_ns), 0.5))
    if outcome is Outcome.TIMEOUT:
        took_ns = config.timeout_ns
    t_done_ns = record["t_sent_ns"] + took_ns
    response_ns = int(t_done_ns) - t_sched_ns
    record["t_done_ns"] = t_done_ns
    if outcome is Outcome.OK:
        record["t_first_ns"] = t_done_ns
    elif outcome is Outcome.ERROR:
        record["reason"], record["status"] = Reason.GRPC_STATUS, 14
    if response_ns > threshold_ns:
        record["decision"] = Decision.SLOW
        record["flags"] |= Flag.OVERDUE | Flag.COMPLETED_AFTER_DECISION
    elif outcome is Outcome.OK:
        record["decision"] = Decision.IN_TIME
    elif outcome is not Outcome.CANCELLED:
        record["decision"] = Decision.STATUS


def overdue_records(records: NDArray[np.void]) -> NDArray[np.void]:
    """The overdue records that were pushed ahead of these final ones."""
    overdue = records[records["flags"] & Flag.OVERDUE != 0].copy()
    overdue["outcome"] = Outcome.NONE
    return overdue


def _config(spec: Spec) -> BenchConfig:
    slo = None
    if spec.slo_ns is not None:
        text = f"{spec.slo_ns / NS_PER_MS:g}ms"
        slo = Slo(threshold_ns=spec.slo_ns, limit=spec.limit, text=text)
    given = {
        "model": "identity",
        "urls": spec.urls,
        **(
            {"dist": spec.dist, "rate": spec.rate}
            if spec.concurrency is None
            else {"concurrency": spec.concurrency}
        ),
        "duration_ns": spec.duration_ns,
        "seed": spec.seed,
        "slo": slo,
        "workers": spec.workers,
    }
    return BenchConfig.model_validate({**given, **spec.config})


def _worker(spec: Spec, records: NDArray[np.void], index: int) -> WorkerReport:
    own = records[records["worker"] == index]
    finals = int(np.count_nonzero(own["flags"] & Flag.MADE == 0))
    pushed = finals + len(overdue_records(own))
    return WorkerReport(
        index=index,
        pid=1000 + index,
        cpu=2 + index,
        slots=len(own),
        taken=len(own),
        pushed=pushed,
        popped=pushed,
        overflowed=0,
        cpu_s=0.31 * spec.duration_ns / NS_PER_S,
        max_loop_gap_ns=90_000,
        loop_turns=1000,
        max_rss_bytes=20 * 2**20,
        in_flight_max=[5 for _ in spec.urls],
        state="died" if index in spec.dead_workers else "finished",
    )


def _stats(records: NDArray[np.void], server: int) -> Snapshot:
    """As of a server that executed every handed request."""
    own = records[records["server"] == server]
    ok = int(np.count_nonzero(own["outcome"] == Outcome.OK))
    handed = int(np.count_nonzero(np.isin(own["outcome"], (*HANDED, Outcome.LOST))))
    return Snapshot(
        ModelCounts(
            success_count=ok,
            fail_count=handed - ok,
            inference_count=ok,
            execution_count=max(1, ok // 2) if ok else 0,
            queue_count=ok,
            queue_ns=ok * 1_200_000,
            compute_infer_count=ok,
            compute_infer_ns=ok * 6_000_000,
        )
    )
