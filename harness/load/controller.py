"""The controller: feeds the detector, asks the policy, and moves the load by one store."""

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from harness._shm import Segment
from harness._tally import BUCKET_FIELDS, EVIDENCE_FIELDS, Tally
from harness.config import NS_PER_S, BenchConfig
from harness.detector.detector import Detector, limit_of, make_rules
from harness.detector.evidence import Evidence
from harness.detector.failover import Why
from harness.detector.policy import Policy
from harness.detector.rules import HARD_DOWN, STALLED, Trigger, window_ns
from harness.detector.stall import Stall, make_stalls
from harness.load.coordinator import SILENT_NS, Phase
from harness.load.fleet import Fleet
from harness.load.switch import Switch
from harness.records import BUCKET_NS

QUIET_NS = NS_PER_S
"""A failure the load cannot leave is told again only after so long without it."""
MOST_OF_A_KIND = 200
"""Events of one kind: a server that resets every connection, say, would fill the disk."""
UNBOUNDED = frozenset({"switch", "eject", "readmit"})  # these have guards of their own


@dataclass
class Watch:
    """One server in use: what follows its buckets, and the first one not fed yet."""

    detector: Detector
    stalls: list[Stall]
    next_bucket: int
    told: set[Why] = field(default_factory=set)  # since it last was well
    t_failing_ns: int = -QUIET_NS


class Controller:
    """One phase's switching. ``look`` before the rings are drained, ``turn`` after that."""

    def __init__(
        self,
        segment: Segment,
        fleet: Fleet,
        phase: Phase,
        policy: Policy,
        config: BenchConfig,
    ) -> None:
        self.segment = segment
        self.fleet = fleet
        self.phase = phase
        self.policy = policy
        self.config = config
        self.servers = len(config.urls)
        self.switches: list[Switch] = []
        self.epoch = 0
        self.stopped = False
        self.complete_ns = -1
        self.clock_ns = 0
        self.silent: set[int] = set()
        self.links: dict[int, int] = {}  # by worker: a bit for each server, as last told
        self.pulses: dict[int, tuple[int, int, int]] = {}  # of the workers heard of
        self.told: Counter[str] = Counter()
        self.in_use = policy.in_use
        self.watches = {server: self._watch(0, config.warmup_ns) for server in self.in_use}

    def look(self, now_ns: int) -> None:
        """Read how far each worker is, so that what is drained next covers it."""
        self.pulses = {}
        for worker in self.fleet.workers:
            if worker.state != "running":
                continue
            pulse = self.segment.pulse(worker.index)
            silent = now_ns - max(0, pulse[0]) > SILENT_NS
            if silent != (worker.index in self.silent):
                self.silent ^= {worker.index}
                kind = "worker_silent" if silent else "worker_back"
                self._tell(kind, now_ns, worker=worker.index)
            if not silent:
                self.pulses[worker.index] = pulse
        if self.pulses:
            self.clock_ns = min(beat_ns for beat_ns, _, _ in self.pulses.values())
            slowest_ns = min(watermark_ns for _, watermark_ns, _ in self.pulses.values())
            # What a worker brings once it is back is recorded, but is no evidence any more.
            self.complete_ns = max(self.complete_ns, slowest_ns)

    def turn(self, now_ns: int) -> bool:
        """Judge what is complete. True: the run is to stop, as all servers are bad."""
        self._collect_seen()
        last_ns = self.phase.spec.duration_ns if self.phase.cut_ns is None else self.phase.cut_ns
        if self.stopped or not 0 <= now_ns < last_ns:
            return False
        self._follow_connections(now_ns)
        back = self.policy.turn(now_ns)
        if back:
            t_ns = self._publish(now_ns)
            for server in back:
                self._tell("readmit", t_ns, server=server)
        return self._judge(now_ns)

    def finish(self) -> None:
        """The phase is over."""
        self._collect_seen()

    def _judge(self, now_ns: int) -> bool:
        """Feed every complete bucket of the servers in use."""
        complete = min(max(0, self.complete_ns) // BUCKET_NS, self.phase.tally.bucket_count)
        for server in self.in_use:
            watch = self.watches[server]
            while watch.next_bucket < complete:
                bucket = watch.next_bucket
                watch.next_bucket += 1
                evidence = Evidence(*self.phase.tally.evidence_of(server, bucket))
                detection = watch.detector.feed(bucket, evidence)
                if detection is None:
                    continue
                onset_ns = detection.onset_bucket * BUCKET_NS
                moved, stop = self._failed(server, detection.trigger, onset_ns, now_ns)
                if moved or stop:
                    return stop
            if not watch.stalls:
                continue
            in_flight = sum(self.segment.in_flight(one, server)[0] for one in self.pulses)
            completed = self.phase.tally.completed(server)
            for stall in watch.stalls:
                trigger = stall.feed(self.clock_ns, completed, in_flight)
                if trigger is not None:
                    assert stall.since_ns is not None
                    moved, stop = self._failed(server, trigger, stall.since_ns, now_ns)
                    if moved or stop:
                        return stop
                    break
        return False

    def _failed(
        self, server: int, trigger: Trigger, onset_ns: int, now_ns: int
    ) -> tuple[bool, bool]:
        """A rule holds the server for failed. Whether the load moved, whether the run stops."""
        move = self.policy.failed(
            server,
            now_ns,
            hard_down=trigger.rule in (HARD_DOWN, STALLED),
            connected=[self._connected(one) for one in range(self.servers)],
        )
        evidence: dict[str, Any] = {
            "rule": trigger.rule,
            "n": trigger.n,
            "x": trigger.x,
            "bound": trigger.bound,
        }
        in_flight = [self.fleet.in_flight(one) for one in range(self.servers)]
        moved = self.policy.in_use != self.in_use
        t_ns = self._publish(now_ns) if moved else now_ns
        if move.why is Why.SWITCH:
            assert move.to is not None
            switch = Switch(
                epoch=self.epoch,
                source=server,
                target=move.to,
                **evidence,
                t_onset_ns=onset_ns,
                t_detect_ns=now_ns,
                t_decide_ns=t_ns,
                t_seen_ns=[None] * len(self.fleet.workers),
                in_flight=in_flight,
            )
            self.switches.append(switch)
            # The list of t_seen_ns is shared with the event, so that both fill up.
            self._tell(
                "switch", t_ns, **{one.name: getattr(switch, one.name) for one in fields(switch)}
            )
        elif move.why is Why.EJECT:
            in_use = list(self.in_use)
            self._tell("eject", t_ns, server=server, **evidence, t_onset_ns=onset_ns, in_use=in_use)
        else:
            return moved, self._stays(server, move.why, evidence, now_ns)
        return moved, False

    def _stays(self, server: int, why: Why, evidence: dict[str, Any], now_ns: int) -> bool:
        """The load cannot leave a failed server; told once for as long as that lasts."""
        if why is Why.DWELL:
            return False
        watch = self.watches[server]
        if now_ns - watch.t_failing_ns > QUIET_NS:
            watch.told.clear()
        watch.t_failing_ns = now_ns
        if why not in watch.told:
            watch.told.add(why)
            kind = {Why.FLAPPING: "flapping", Why.ALL_BAD: "all_bad"}.get(why, "failing")
            self._tell(kind, now_ns, server=server, **evidence)
        if why is Why.ALL_BAD and self.config.switching.on_all_bad == "stop":
            self.stopped = True
            self._tell("stopped", now_ns)
        return self.stopped

    def _publish(self, now_ns: int) -> int:
        """Store the policy's servers, wake the workers, and watch those that are new."""
        self.epoch += 1
        self.in_use = self.policy.in_use
        t_decide_ns = self.segment.set_verdict(self.epoch, self.in_use) - self.phase.origin_ns
        self.fleet.wake()
        first = now_ns // BUCKET_NS
        self.watches = {
            server: self.watches.get(server) or self._watch(first, 0) for server in self.in_use
        }
        return t_decide_ns

    def _watch(self, first_bucket: int, under_load_ns: int) -> Watch:
        config = self.config
        limit = limit_of(config.slo)
        rules = make_rules(config.switching, config.slo, under_load_ns)
        history = config.switching.given_window_ns or window_ns(
            limit, config.switching.stall_tolerance_ns
        )
        detector = Detector(rules, limit, -(-history // BUCKET_NS))
        stalls: list[Stall] = []
        # Where slots come due by themselves and are judged by T, buckets show all there is.
        if config.slo is None or (config.concurrency and config.switching.rule == "default"):
            stalls = make_stalls(config.switching, config.slo, under_load_ns, self.phase.probe_ns)
        return Watch(detector, stalls, first_bucket)

    def _collect_seen(self) -> None:
        for switch in self.switches[-2:]:
            for worker, t_ns in enumerate(switch.t_seen_ns):
                if t_ns is None:
                    epoch, seen_ns = self.segment.seen(worker)
                    if epoch >= switch.epoch:
                        switch.t_seen_ns[worker] = seen_ns

    def _connected(self, server: int) -> bool:
        return bool(self.pulses) and all(
            links >> server & 1 for _, _, links in self.pulses.values()
        )

    def _follow_connections(self, now_ns: int) -> None:
        for worker, (_, watermark_ns, links) in self.pulses.items():
            if watermark_ns < 0:
                continue  # it has not begun
            changed = links ^ self.links.setdefault(worker, links)
            self.links[worker] = links
            for server in range(self.servers if changed else 0):
                if changed >> server & 1:
                    kind = "connection_back" if links >> server & 1 else "connection_lost"
                    self._tell(kind, now_ns, server=server, worker=worker)

    def _tell(self, kind: str, t_ns: int, **facts: Any) -> None:
        self.told[kind] += 1
        if self.told[kind] <= MOST_OF_A_KIND or kind in UNBOUNDED:
            self.phase.tell({"t_ns": t_ns, "event": kind, **facts})


def blind_ns(tally: Tally) -> int:
    """How long the detector had nothing to go by because the client was late."""
    late = tally.buckets[:, :, BUCKET_FIELDS.index("client_late")].sum(axis=0)
    decided = tally.evidence[:, :, EVIDENCE_FIELDS.index("decided")].sum(axis=0)
    return int(np.count_nonzero((late > 0) & (decided == 0))) * BUCKET_NS
