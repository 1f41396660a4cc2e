"""One load: warm-up and run over ready workers, and what the run leaves in memory."""

import contextlib
import dataclasses
import secrets
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from harness._shm import Segment
from harness._tally import Tally
from harness.config import NS_PER_S
from harness.control import server_stats
from harness.control.inputs import SLOT_PREFIX, WARMUP_PREFIX
from harness.control.keep_warm import kept_warm
from harness.control.preflight import Preflight
from harness.control.server_stats import Snapshot
from harness.detector.policy import Policy, make_policy
from harness.devices.watch import DeviceWatch
from harness.errors import InterruptedRunError, NotStartedError
from harness.gauges import Gauges
from harness.load.commands import AtCommands
from harness.load.controller import Controller, blind_ns
from harness.load.coordinator import Coordinator, Phase
from harness.load.event_text import event_text
from harness.load.fleet import Fleet
from harness.load.preparation import CONNECT_NS, Preparation
from harness.load.signals import Interrupts
from harness.machine.observed import observed_host
from harness.plan import PlanFacts, PlanSpec
from harness.progress import Progress
from harness.results.redaction import Redactor
from harness.results.requests_file import RequestsFile, RowKeeper
from harness.results.rundata import RunData
from harness.results.totals import totals

MOST_SLOTS = 2**60
"""A bound, where nobody knows how many there will be."""

WARMUP_DRAIN_NS = 2 * NS_PER_S
STATS_BEFORE_S = 3.0
STATS_AFTER_S = 0.5
"""A hung server must not hold up the end of a run."""
DEVICES_BEFORE_S = 1.0


class Session:
    """The load of one prepared run.

    ``control`` makes what decides on switches; commands of ``--at`` run on ``cpus``; ``origin_ns``
    says when slot 0 is; ``devices`` has begun to look for GPUs.
    """

    def __init__(
        self,
        prepared: Preparation,
        on_progress: Callable[[Progress], None],
        on_note: Callable[[str], None],
        control: Callable[..., Controller],
        cpus: Collection[int],
        origin_ns: Callable[[], int],
        devices: DeviceWatch,
    ) -> None:
        self.prepared = prepared
        self.config = prepared.config
        self.on_progress = on_progress
        self.on_note = on_note
        self.control = control
        self.origin_ns = origin_ns
        self.devices = devices
        self.commands = AtCommands(self.config.at, cpus)
        self.redactor = Redactor(self.config)

    def run(
        self, requests: RequestsFile | None, caught: Interrupts, argv: Sequence[str]
    ) -> RunData:
        """Warm up, then send the plan. Raises NotStartedError, InterruptedRunError."""
        prepared = self.prepared
        segment = prepared.segment()
        setups = [prepared.setup(segment, worker) for worker in range(segment.workers)]
        with contextlib.ExitStack() as stack:
            stack.callback(segment.close)
            fleet = stack.enter_context(Fleet(segment, prepared.checked.payload.message, setups))
            _check_settled(prepared.checked, fleet)
            coordinator = Coordinator(segment, fleet, prepared.servers)
            stack.callback(coordinator.close)
            caught.target = coordinator.interrupt
            policy = make_policy(self.config.switching, prepared.servers, prepared.missing)
            warmup = self._warm_up(coordinator, policy)
            if caught.first is not None:
                raise InterruptedRunError(caught.first)
            look = self.devices.look(DEVICES_BEFORE_S)
            stats_before = server_stats.take_all(self.config, STATS_BEFORE_S)
            devices_before = look.seen()
            phase = self._phase(requests, policy, coordinator, segment)
            control = self.control(segment, fleet, phase, policy, self.config)
            phase.control = control
            with (
                observed_host(prepared.cpus.worker_cpus) as host,
                kept_warm(self.config, prepared.checked, lambda: segment.verdict()[1]) as warmed,
            ):
                started = datetime.now(UTC)
                coordinator.run(phase)
                # Energy is counted until here, whatever is asked of the servers after it.
                last = None if coordinator.gave_up else self.devices.look(STATS_AFTER_S)
            phase.release()  # decides whether the last records all found room
            for event in self.commands.close():
                phase.tell(event)
            workers = [
                worker.report(segment, prepared.servers, phase.tally) for worker in fleet.workers
            ]
            plan = prepared.plan
            if prepared.spec.closed:
                plan = PlanFacts(sum(worker.taken for worker in workers), None)
            return RunData(
                config=self.config,
                spec=prepared.spec,
                plan=plan,
                slots_until_cut=(
                    plan.slots
                    if phase.cut_ns is None or prepared.spec.closed
                    else prepared.spec.slots_until(phase.cut_ns)
                ),
                cut_ns=phase.cut_ns,
                tally=phase.tally,
                inflight_cap=prepared.inflight_cap,
                spin=prepared.cpus.spin,
                workers=workers,
                servers=[server.known() for server in prepared.checked.servers],
                signature=dataclasses.asdict(prepared.checked.signature),
                stats_before=list(stats_before),
                stats_after=self._statistics_after(coordinator),
                events=phase.events,
                host={**host, "cpu_plan": prepared.cpus.reason},
                started_utc=started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                origin_ns=phase.origin_ns,
                run_id=secrets.token_hex(8),
                argv=list(argv),
                interrupted_by=caught.first,
                in_flight_after_drain=sum(worker.entries_left for worker in fleet.workers),
                warmup=warmup,
                in_flight_samples=phase.samples,
                path_floor_ns=prepared.checked.present[0].path_floor_ns,
                switches=control.switches,
                blind_ns=blind_ns(phase.tally),
                kept_warm=warmed,
                devices=self.devices.uses(devices_before, {} if last is None else last.seen()),
            )

    def _phase(
        self,
        requests: RequestsFile | None,
        policy: Policy,
        coordinator: Coordinator,
        segment: Segment,
    ) -> Phase:
        """The run itself."""
        prepared = self.prepared
        tally = Tally(
            prepared.servers,
            MOST_SLOTS if prepared.spec.closed else prepared.plan.slots,
            self.config.duration_ns,
            None if requests is None else requests.rows,
        )
        keep = RowKeeper(tally, requests, 2 * segment.workers * segment.ring_capacity)
        keep()
        return Phase(
            prepared.spec,
            SLOT_PREFIX,
            tally,
            self.config.drain_timeout_ns,
            prepared.slo_ns,
            in_use=policy.in_use,
            commands=self.commands.turn,
            prompt=bool(self.config.at),
            on_event=self._tell,
            release=keep,
            progress=self._gauges("run", policy, coordinator),
            begin=self.origin_ns,
            probe_ns=max(one.probe_latency_ns or 0 for one in prepared.checked.present),
        )

    def _warm_up(self, coordinator: Coordinator, policy: Policy) -> dict[str, int]:
        """Send a plan whose slots are counted apart, in no result."""
        config = self.config
        if config.warmup_ns == 0:
            return {}
        spec = PlanSpec(config.dist, config.rate, config.seed, config.warmup_ns)
        phase = Phase(
            spec,
            WARMUP_PREFIX,
            Tally(
                self.prepared.servers,
                MOST_SLOTS if spec.closed else spec.facts().slots,
                config.warmup_ns,
            ),
            min(config.drain_timeout_ns, WARMUP_DRAIN_NS),
            self.prepared.slo_ns,
            in_use=policy.in_use,
            progress=self._gauges("warm-up", policy, coordinator),
        )
        coordinator.run(phase)
        if any(worker.state != "finished" for worker in coordinator.fleet.workers):
            raise NotStartedError("a worker died during the warm-up; nothing was measured")
        found = totals(phase.tally)
        return {"scheduled": found.scheduled, "sent": found.sent, "ok": found.ok}

    def _statistics_after(self, coordinator: Coordinator) -> list[Snapshot | None]:
        """A run that was given up ends at once, without asking anybody."""
        if coordinator.gave_up:
            return [None] * len(self.config.urls)
        return list(server_stats.take_all(self.config, STATS_AFTER_S))

    def _tell(self, event: dict[str, Any]) -> None:
        """What a person sees of an event as it happens."""
        text = event_text(self.redactor.clean(event), self.config.urls)
        if text is not None:
            self.on_note(text)

    def _gauges(self, name: str, policy: Policy, coordinator: Coordinator) -> Gauges:
        return Gauges(name, self.prepared, policy, coordinator, self.on_progress)


def _check_settled(checked: Preflight, fleet: Fleet) -> None:
    """Raises NotStartedError for a server that was not missing before."""
    for worker in fleet.workers:
        for server, settled in zip(checked.servers, worker.ready["settled"], strict=True):
            if not settled and server.missing is None:
                raise NotStartedError(
                    f"server {server.url} did not settle an HTTP/2 connection within"
                    f" {CONNECT_NS // NS_PER_S} s; check that it is up and speaks gRPC"
                )
