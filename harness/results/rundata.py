"""What a run leaves in memory: the input of the books, the findings and the results."""

from dataclasses import dataclass, field
from typing import Any

from harness._tally import Tally
from harness.config import NS_PER_S, BenchConfig
from harness.control.keep_warm import KeptWarm
from harness.devices.device import DeviceUse
from harness.load.fleet import WorkerReport
from harness.load.switch import Switch
from harness.plan import PlanFacts, PlanSpec


@dataclass
class RunData:
    """One finished load. Times in ns since the run's start unless a name says otherwise."""

    config: BenchConfig
    spec: PlanSpec
    plan: PlanFacts
    slots_until_cut: int  # of the plan, recomputed offline; closed loop: slots taken
    cut_ns: int | None  # None: the plan ran to its end
    tally: Tally
    inflight_cap: int  # per server, for the whole run
    spin: bool
    workers: list[WorkerReport]
    servers: list[dict[str, Any]]  # facts of preflight, in -u order; key "url" at least
    signature: dict[str, Any]
    stats_before: list[Any]  # server_stats snapshots, None where there is none
    stats_after: list[Any]
    events: list[dict[str, Any]]  # in order; keys "t_ns" and "event" at least
    host: dict[str, Any]
    started_utc: str  # ISO 8601
    origin_ns: int  # CLOCK_MONOTONIC of the run's start, to line up with a server's journal
    run_id: str
    argv: list[str]  # redacted
    interrupted_by: str | None  # "SIGINT", "SIGTERM"
    in_flight_after_drain: int
    warmup: dict[str, int]  # counts of the warm-up, in no result
    in_flight_samples: Any  # int32 [servers, buckets], -1 where none was taken
    path_floor_ns: int | None
    switches: list[Switch] = field(default_factory=list)  # in order
    blind_ns: int = 0  # how long the detector had no evidence because the client was late
    kept_warm: list[KeptWarm] = field(default_factory=list)  # by server; empty: none was
    devices: list[list[DeviceUse]] = field(default_factory=list)  # by server; empty: none known

    @property
    def rate(self) -> float:
        """Slots/s: as planned, or in a closed loop as they came."""
        if self.spec.rate is not None:
            return self.spec.rate
        return max(1, self.plan.slots) * NS_PER_S / max(1, self.end_ns)

    @property
    def end_ns(self) -> int:
        """The end of the planned time, or the cut."""
        if self.cut_ns is None:
            return self.spec.duration_ns
        return min(self.spec.duration_ns, max(0, self.cut_ns))
