"""One run from configuration to results: what ``harness bench`` does, as a library."""

import contextlib
import dataclasses
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import harness
from harness._shm import Segment
from harness._tally import Tally
from harness.config import BenchConfig
from harness.control import server_stats
from harness.control.address import pack_socket_address, parse_address
from harness.control.client import ControlClient
from harness.control.headers import check_headers
from harness.control.inputs import SLOT_PREFIX, WARMUP_PREFIX
from harness.control.preflight import Preflight, preflight
from harness.control.server_stats import Snapshot
from harness.embedded.model import ModelSpec
from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.errors import InterruptedRunError, NotStartedError, ResultsError
from harness.host import allowed_cpus, cpu_quota, host_facts, memory_available_bytes
from harness.load import limits
from harness.load.coordinator import Coordinator, Phase
from harness.load.cpus import CpuPlan, plan_cpus
from harness.load.fleet import Fleet
from harness.load.signals import Interrupts, interrupts_to
from harness.plan import PlanFacts, PlanSpec
from harness.progress import Progress
from harness.results.books import check_books
from harness.results.closing import closing_text
from harness.results.directory import ResultsDir, check_space, prepare
from harness.results.findings import Verdict, exit_code, judge
from harness.results.rundata import RunData, WorkerReport
from harness.results.summary import Summary, build_summary
from harness.results.totals import totals
from harness.units import format_count

EMBEDDED_SERVERS = 2
MANY_SLOTS = 100_000_000
"""Walking a plan takes about 15 s a thousand million slots."""
CONNECT_NS = 3_000_000_000
WARMUP_DRAIN_NS = 2_000_000_000
WAITING_ENTRIES = 32_768
STATS_BEFORE_S = 3.0
STATS_AFTER_S = 0.5
"""A hung server must not hold up the end of a run."""


@dataclass(frozen=True)
class Result:
    """A finished run. ``path``: its results directory."""

    summary: Summary
    verdict: Verdict
    path: Path
    exit_code: int

    @property
    def text(self) -> str:
        """The closing text."""
        return closing_text(self.summary, str(self.path))


class Bench:
    """``Bench(config).run()`` sends one plan and accounts for every slot of it.

    ``on_progress`` is called once a second, ``on_note`` with what a person may wonder about;
    ``argv`` is what results name as the command.
    """

    def __init__(
        self,
        config: BenchConfig,
        *,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        on_note: Callable[[str], None] = lambda text: None,
        argv: Sequence[str] = (),
    ) -> None:
        self.config = config
        self.on_progress = on_progress
        self.on_note = on_note
        self.argv = list(argv)

    def run(self) -> Result:
        """Raises UsageError, NotStartedError, InterruptedRunError (nothing measured), ResultsError.

        While it runs, SIGINT and SIGTERM are caught in the main thread: one drains, two give up.
        """
        config = self.config
        spec = PlanSpec(config.dist, config.rate, config.seed, config.duration_ns)
        cpus = plan_cpus(
            allowed_cpus(),
            cpu_quota(),
            config.rate,
            config.workers,
            config.cpus,
            config.spin,
            config.max_inflight,
        )
        check_space(config, spec.expected_slots)
        if spec.expected_slots > MANY_SLOTS:
            self.on_note(f"walking a plan of about {format_count(spec.expected_slots)} slots")
        plan = spec.facts()
        with contextlib.ExitStack() as stack:
            stack.enter_context(_pinned(cpus.coordinator_cpus))
            if not config.urls:
                self.on_note(f"no -u given: starting {EMBEDDED_SERVERS} embedded servers")
            config = stack.enter_context(_with_servers(config))
            checked = preflight(config)
            directory = prepare(config, plan.slots)
            try:
                run = self._load(config, spec, plan, cpus, checked, directory)
            except BaseException:
                directory.discard()
                raise
        verdict = judge(run, check_books(run))
        summary = build_summary(run, verdict)
        try:
            directory.write(run, summary)
        except ResultsError as error:
            error.exit_code = exit_code(run, verdict, config, results_failed=True)
            raise
        return Result(summary, verdict, directory.path, exit_code(run, verdict, config))

    def _load(
        self,
        config: BenchConfig,
        spec: PlanSpec,
        plan: PlanFacts,
        cpus: CpuPlan,
        checked: Preflight,
        directory: ResultsDir,
    ) -> RunData:
        """Warm up, then send the plan."""
        payload = checked.payload
        slo_ns = config.slo.threshold_ns if config.slo else None
        cap = limits.in_flight_cap(
            config.rate,
            slo_ns,
            payload.request_bytes,
            payload.response_bytes_estimate,
            config.max_inflight,
        ).total
        if cap < cpus.workers:
            raise NotStartedError(
                f"an in-flight cap of {cap} cannot be shared by {cpus.workers} workers;"
                " give fewer --workers or a higher --max-inflight"
            )
        servers = len(config.urls)
        limits.check_memory(
            limits.memory_needed_bytes(
                rate=config.rate,
                workers=cpus.workers,
                servers=servers,
                cap=cap,
                request_bytes=payload.request_bytes,
                response_bytes=payload.response_bytes_estimate,
                duration_ns=config.duration_ns,
            ),
            memory_available_bytes(),
        )
        waiting = int(config.rate / cpus.workers * config.lag_ns / 1e9 * 1.5) + 64
        segment = Segment(
            cpus.workers,
            limits.ring_records(config.rate, cpus.workers, cap, servers),
            servers * limits.worker_share(cap, 0, cpus.workers) + min(waiting, WAITING_ENTRIES),
        )
        requests = directory.open_requests(config, plan.slots)
        setups = [self._setup(config, cpus, checked, segment, cap, w) for w in range(cpus.workers)]
        with contextlib.ExitStack() as stack:
            stack.callback(segment.close)
            fleet = stack.enter_context(Fleet(segment, payload.message, setups))
            self._check_settled(config, fleet)
            coordinator = Coordinator(segment, fleet, servers)
            interrupts = stack.enter_context(interrupts_to(coordinator.interrupt))
            warmup = self._warm_up(config, coordinator, slo_ns, servers)
            if interrupts.first is not None:
                raise InterruptedRunError(interrupts.first)
            stats_before = _statistics(config, STATS_BEFORE_S)
            phase = Phase(
                spec,
                SLOT_PREFIX,
                Tally(
                    servers,
                    plan.slots,
                    config.duration_ns,
                    None if requests is None else requests.rows,
                ),
                config.drain_timeout_ns,
                slo_ns,
                release=requests.release if requests else lambda: None,
                progress=self._reporter("run", coordinator),
            )
            started = datetime.now(UTC)
            coordinator.run(phase)
            stats_after = _statistics(config, STATS_AFTER_S)
            return self._run_data(
                config, spec, plan, cpus, checked, cap, coordinator, phase, interrupts,
                stats_before, stats_after, started, warmup,
            )  # fmt: skip

    @staticmethod
    def _setup(
        config: BenchConfig,
        cpus: CpuPlan,
        checked: Preflight,
        segment: Segment,
        cap: int,
        worker: int,
    ) -> dict[str, Any]:
        """What a worker is told first; see ``worker.serve``."""
        headers = check_headers(config.headers)
        return {
            "worker": worker,
            "workers": cpus.workers,
            "cpu": cpus.worker_cpus[worker],
            "spin": cpus.spin,
            "transport": config.transport,
            "ring_capacity": segment.ring_capacity,
            "table_capacity": segment.table_capacity,
            "slo_ns": config.slo.threshold_ns if config.slo else None,
            "timeout_ns": config.timeout_ns,
            "lag_ns": config.lag_ns,
            "cap": limits.worker_share(cap, worker, cpus.workers),
            "cancel_expired": config.on_timeout == "cancel",
            "connections": config.connections,
            "connect_ns": CONNECT_NS,
            "id_offset": checked.payload.id_offset,
            "outputs": checked.payload.n_outputs,
            "response_limit_bytes": config.max_response_bytes,
            "response_bytes": checked.payload.response_bytes_estimate,
            "headers": headers,
            "servers": [
                {
                    "url": server.url,
                    "sockaddr": pack_socket_address(server.sockaddrs[0]).hex(),
                    "fields": _fields(server.url, headers),
                }
                for server in checked.servers
            ],
        }

    @staticmethod
    def _check_settled(config: BenchConfig, fleet: Fleet) -> None:
        for worker in fleet.workers:
            for url, settled in zip(config.urls, worker.ready["settled"], strict=True):
                if not settled:
                    raise NotStartedError(
                        f"server {url} did not settle an HTTP/2 connection within"
                        f" {CONNECT_NS // 10**9} s; check that it is up and speaks gRPC"
                    )

    def _warm_up(
        self, config: BenchConfig, coordinator: Coordinator, slo_ns: int | None, servers: int
    ) -> dict[str, int]:
        """Send a plan whose slots are counted apart, in no result."""
        if config.warmup_ns == 0:
            return {}
        spec = PlanSpec(config.dist, config.rate, config.seed, config.warmup_ns)
        phase = Phase(
            spec,
            WARMUP_PREFIX,
            Tally(servers, spec.facts().slots, config.warmup_ns),
            min(config.drain_timeout_ns, WARMUP_DRAIN_NS),
            slo_ns,
            progress=self._reporter("warm-up", coordinator),
        )
        coordinator.run(phase)
        if any(worker.state != "finished" for worker in coordinator.fleet.workers):
            raise NotStartedError("a worker died during the warm-up; nothing was measured")
        found = totals(phase.tally)
        return {"scheduled": found.scheduled, "sent": found.sent, "ok": found.ok}

    def _reporter(self, name: str, coordinator: Coordinator) -> Callable[[Phase, int], None]:
        def report(phase: Phase, now_ns: int) -> None:
            found, recent = totals(phase.tally), phase.tally.recent
            in_flight = sum(
                coordinator.segment.in_flight(worker, server)[0]
                for worker in range(coordinator.segment.workers)
                for server in range(coordinator.servers)
            )
            self.on_progress(
                Progress(
                    name,
                    now_ns,
                    phase.spec.duration_ns,
                    found.scheduled,
                    found.ok,
                    found.decided,
                    found.violations,
                    in_flight,
                    recent.percentile_ns(50),
                    recent.percentile_ns(99),
                )
            )
            recent.clear()

        return report

    def _run_data(
        self,
        config: BenchConfig,
        spec: PlanSpec,
        plan: PlanFacts,
        cpus: CpuPlan,
        checked: Preflight,
        cap: int,
        coordinator: Coordinator,
        phase: Phase,
        interrupts: Interrupts,
        stats_before: list[Snapshot],
        stats_after: list[Snapshot],
        started: datetime,
        warmup: dict[str, int],
    ) -> RunData:
        reports = _worker_reports(coordinator, phase)
        servers = []
        for facts in checked.servers:
            one = dataclasses.asdict(facts)
            del one["sockaddrs"]
            servers.append(one)
        cut_ns = phase.cut_ns
        return RunData(
            config=config,
            spec=spec,
            plan=plan,
            slots_until_cut=plan.slots if cut_ns is None else spec.slots_until(cut_ns),
            cut_ns=cut_ns,
            tally=phase.tally,
            inflight_cap=cap,
            spin=cpus.spin,
            workers=reports,
            servers=servers,
            signature=dataclasses.asdict(checked.signature),
            stats_before=list(stats_before),
            stats_after=list(stats_after),
            events=phase.events,
            host={**host_facts(), "cpu_plan": cpus.reason},
            started_utc=started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            origin_ns=phase.origin_ns,
            run_id=secrets.token_hex(8),
            argv=self.argv,
            interrupted_by=interrupts.first,
            in_flight_after_drain=sum(
                worker.ended["entries_left"]
                for worker in coordinator.fleet.workers
                if worker.ended is not None
            ),
            warmup=warmup,
            in_flight_samples=phase.samples,
            path_floor_ns=checked.servers[0].path_floor_ns,
        )


def _worker_reports(coordinator: Coordinator, phase: Phase) -> list[WorkerReport]:
    segment = coordinator.segment
    reports = []
    for worker in coordinator.fleet.workers:
        ended = worker.ended or {}
        turns, gap_ns = segment.loop(worker.index)
        reports.append(
            WorkerReport(
                index=worker.index,
                pid=worker.pid,
                cpu=worker.cpu,
                slots=int(phase.tally.worker_slots[worker.index]),
                pushed=segment.pushed(worker.index),
                popped=segment.popped(worker.index),
                overflowed=segment.overflowed(worker.index),
                cpu_s=ended.get("cpu_s"),
                max_loop_gap_ns=gap_ns,
                loop_turns=turns,
                max_rss_bytes=ended.get("max_rss_bytes"),
                in_flight_max=[
                    segment.in_flight(worker.index, server)[1]
                    for server in range(coordinator.servers)
                ],
                state=worker.state,
                connections=ended.get("connections", []),
            )
        )
    return reports


def _fields(url: str, headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The header fields of every request to one server."""
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/inference.GRPCInferenceService/ModelInfer"),
        (":authority", url),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", f"triton-harness/{harness.__version__}"),
        ("grpc-accept-encoding", "identity"),
        *headers,
    ]


def _statistics(config: BenchConfig, deadline_s: float) -> list[Snapshot]:
    """Each server's own counts, all asked at once."""
    snapshots = [Snapshot(None, "not asked")] * len(config.urls)

    def ask(index: int, url: str) -> None:
        client = ControlClient(parse_address(url), config.headers, deadline_s)
        try:
            snapshots[index] = server_stats.take(client, config.model, config.model_version)
        except NotStartedError as error:
            snapshots[index] = Snapshot(None, str(error))
        finally:
            client.close()

    threads = [
        threading.Thread(target=ask, args=one, daemon=True) for one in enumerate(config.urls)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return snapshots


@contextlib.contextmanager
def _pinned(cpus: Sequence[int]) -> Iterator[None]:
    """Keep the coordinator, and what it starts, off the workers' CPUs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def _with_servers(config: BenchConfig) -> Iterator[BenchConfig]:
    """The configuration with servers: those it names, or embedded ones for the run."""
    if config.urls:
        yield config
        return
    with contextlib.ExitStack() as stack:
        spec = ServeConfig(model=ModelSpec(name=config.model))
        servers = [stack.enter_context(EmbeddedServer(spec)) for _ in range(EMBEDDED_SERVERS)]
        yield config.model_copy(update={"urls": tuple(server.url for server in servers)})
