"""One run from configuration to results: what ``harness bench`` does, as a library."""

import contextlib
import dataclasses
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness._shm import Segment
from harness._tally import Tally
from harness.config import EMBEDDED_SERVERS, NS_PER_S, BenchConfig
from harness.control import server_stats
from harness.control.inputs import SLOT_PREFIX, WARMUP_PREFIX
from harness.control.keep_warm import kept_warm
from harness.control.preflight import Preflight, preflight
from harness.control.server_stats import Snapshot
from harness.embedded.model import ModelSpec
from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.errors import InterruptedRunError, NotStartedError, ResultsError, UsageError
from harness.host import allowed_cpus, cpu_quota, host_facts
from harness.load.coordinator import Coordinator, Phase
from harness.load.cpus import plan_cpus
from harness.load.fleet import Fleet
from harness.load.preparation import CONNECT_NS, Preparation
from harness.load.signals import Interrupts, interrupts
from harness.plan import PlanSpec
from harness.progress import Progress
from harness.results.books import check_books
from harness.results.closing import closing_text
from harness.results.directory import ResultsDir, check_space, prepare
from harness.results.findings import Verdict, exit_code, judge
from harness.results.rundata import RunData
from harness.results.summary import Summary, build_summary
from harness.results.totals import totals
from harness.units import format_count, format_duration_ns

MANY_SLOTS = 100_000_000
"""Walking a plan takes about 15 s a thousand million slots."""
WARMUP_DRAIN_NS = 2 * NS_PER_S
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

        SIGINT and SIGTERM are caught in the main thread: during the load one drains, two give up;
        before it they end the run, after it the results are written all the same.
        """
        with interrupts() as caught:
            return self._run(caught)

    def _run(self, caught: Interrupts) -> Result:
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
        if plan.slots == 0:
            raise UsageError(
                f"the plan has no slot: {config.rate:g}/s for"
                f" {format_duration_ns(config.duration_ns)}; give a higher rate or duration"
            )
        with contextlib.ExitStack() as stack:
            stack.enter_context(_pinned(cpus.coordinator_cpus))
            if not config.urls:
                self.on_note(f"no -u given: starting {EMBEDDED_SERVERS} embedded servers")
            config = stack.enter_context(_with_servers(config))
            prepared = Preparation(
                config, spec, plan, cpus, preflight(config, on_note=self.on_note)
            )
            prepared.check_memory()
            directory = prepare(config, plan.slots)
            try:
                run = self._load(prepared, directory, caught)
                verdict = judge(run, check_books(run))
                summary = build_summary(run, verdict)
            except BaseException:
                directory.discard()
                raise
        code = exit_code(run, verdict, config)
        try:
            directory.write(run, summary)
        except ResultsError as error:
            error.exit_code = exit_code(run, verdict, config, results_failed=True)
            raise
        return Result(summary, verdict, directory.path, code)

    def _load(self, prepared: Preparation, directory: ResultsDir, caught: Interrupts) -> RunData:
        """Warm up, then send the plan."""
        config = prepared.config
        requests = directory.open_requests(config, prepared.plan.slots)
        segment = prepared.segment()
        setups = [prepared.setup(segment, worker) for worker in range(segment.workers)]
        with contextlib.ExitStack() as stack:
            stack.callback(segment.close)
            fleet = stack.enter_context(Fleet(segment, prepared.checked.payload.message, setups))
            _check_settled(prepared.checked, fleet)
            coordinator = Coordinator(segment, fleet, prepared.servers)
            caught.target = coordinator.interrupt
            warmup = self._warm_up(prepared, coordinator)
            if caught.first is not None:
                raise InterruptedRunError(caught.first)
            stats_before = server_stats.take_all(config, STATS_BEFORE_S)
            phase = Phase(
                prepared.spec,
                SLOT_PREFIX,
                Tally(
                    prepared.servers,
                    prepared.plan.slots,
                    config.duration_ns,
                    None if requests is None else requests.rows,
                ),
                config.drain_timeout_ns,
                prepared.slo_ns,
                release=requests.release if requests else lambda: None,
                progress=self._reporter("run", coordinator),
            )
            started = datetime.now(UTC)
            with kept_warm(config, prepared.checked, lambda: _in_use(segment)) as warmed:
                coordinator.run(phase)
            return RunData(
                config=config,
                spec=prepared.spec,
                plan=prepared.plan,
                slots_until_cut=(
                    prepared.plan.slots
                    if phase.cut_ns is None
                    else prepared.spec.slots_until(phase.cut_ns)
                ),
                cut_ns=phase.cut_ns,
                tally=phase.tally,
                inflight_cap=prepared.inflight_cap,
                spin=prepared.cpus.spin,
                workers=[
                    worker.report(segment, prepared.servers, phase.tally)
                    for worker in fleet.workers
                ],
                servers=[server.known() for server in prepared.checked.servers],
                signature=dataclasses.asdict(prepared.checked.signature),
                stats_before=list(stats_before),
                stats_after=self._statistics_after(config, coordinator),
                events=phase.events,
                host={**host_facts(), "cpu_plan": prepared.cpus.reason},
                started_utc=started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                origin_ns=phase.origin_ns,
                run_id=secrets.token_hex(8),
                argv=self.argv,
                interrupted_by=caught.first,
                in_flight_after_drain=sum(worker.entries_left for worker in fleet.workers),
                warmup=warmup,
                in_flight_samples=phase.samples,
                path_floor_ns=prepared.checked.present[0].path_floor_ns,
                kept_warm=warmed,
            )

    def _warm_up(self, prepared: Preparation, coordinator: Coordinator) -> dict[str, int]:
        """Send a plan whose slots are counted apart, in no result."""
        config = prepared.config
        if config.warmup_ns == 0:
            return {}
        spec = PlanSpec(config.dist, config.rate, config.seed, config.warmup_ns)
        phase = Phase(
            spec,
            WARMUP_PREFIX,
            Tally(prepared.servers, spec.facts().slots, config.warmup_ns),
            min(config.drain_timeout_ns, WARMUP_DRAIN_NS),
            prepared.slo_ns,
            progress=self._reporter("warm-up", coordinator),
        )
        coordinator.run(phase)
        if any(worker.state != "finished" for worker in coordinator.fleet.workers):
            raise NotStartedError("a worker died during the warm-up; nothing was measured")
        found = totals(phase.tally)
        return {"scheduled": found.scheduled, "sent": found.sent, "ok": found.ok}

    @staticmethod
    def _statistics_after(config: BenchConfig, coordinator: Coordinator) -> list[Snapshot | None]:
        """A run that was given up ends at once, without asking anybody."""
        if coordinator.gave_up:
            return [None] * len(config.urls)
        return list(server_stats.take_all(config, STATS_AFTER_S))

    def _reporter(self, name: str, coordinator: Coordinator) -> Callable[[Phase, int], None]:
        def report(phase: Phase, now_ns: int) -> None:
            found, recent = totals(phase.tally), phase.tally.recent
            self.on_progress(
                Progress(
                    name,
                    now_ns,
                    phase.spec.duration_ns,
                    found.ok,
                    found.decided,
                    found.violations,
                    coordinator.in_flight(),
                    recent.percentile_ns(50),
                    recent.percentile_ns(99),
                )
            )
            recent.clear()

        return report


def _check_settled(checked: Preflight, fleet: Fleet) -> None:
    """Raises NotStartedError for a server that was not missing before."""
    for worker in fleet.workers:
        for server, settled in zip(checked.servers, worker.ready["settled"], strict=True):
            if not settled and server.missing is None:
                raise NotStartedError(
                    f"server {server.url} did not settle an HTTP/2 connection within"
                    f" {CONNECT_NS // NS_PER_S} s; check that it is up and speaks gRPC"
                )


def _in_use(segment: Segment) -> tuple[int, ...]:
    """The servers that slots are handed to now."""
    _, active = segment.verdict()
    return active if isinstance(active, tuple) else (active,)


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
