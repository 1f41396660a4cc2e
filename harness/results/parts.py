"""The parts of ``summary.json``; latencies and times in ns."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, Field

from harness.config import NS_PER_S
from harness.results.bounds import (
    LONGEST_NS,
    Count,
    DurationNs,
    Index,
    MeanNs,
    PerSecond,
    Share,
    TimeNs,
)
from harness.results.totals import Totals


class Part(BaseModel):
    """An object of the file."""

    # A later version may add keys: they are ignored here, not refused.
    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null")


class Latencies(Part):
    """ns. None: no value, or among slots that have none (never answered OK)."""

    mean: MeanNs | None
    p50: DurationNs | None
    p90: DurationNs | None
    p95: DurationNs | None
    p99: DurationNs | None
    p999: DurationNs | None
    max: DurationNs | None


class PlanPart(Part):
    """The whole plan; ``cut_ns`` where it was cut short, None if it ran to its end."""

    dist: str  # "constant", "poisson", "closed"
    rate: PerSecond | None  # requests/s; None in a closed loop
    concurrency: Count | None = None  # requests kept in flight, in a closed loop
    seed: int = Field(ge=0)
    duration_s: float = Field(gt=0, le=LONGEST_NS / NS_PER_S, allow_inf_nan=False)
    slots: Count  # of a closed loop: those that were taken
    cut_ns: TimeNs | None
    hash: str | None  # SHA-256 over the little-endian int64 offsets of all slots; closed: None


class Rate(Part):
    """Requests/s over the planned duration, or up to the cut."""

    target: PerSecond | None  # None in a closed loop
    offered: PerSecond
    sent: PerSecond
    ok: PerSecond  # OK answers within the duration
    in_slo: PerSecond  # of those, in time
    dropped: PerSecond


class SloPart(Part):
    """The SLO and what became of it; share and ``held`` are None if nothing was decided."""

    threshold_ns: DurationNs
    limit: Share
    text: str
    violation_share: Share | None
    held: bool | None


class Limits(Part):
    """Bounds the run was under, given or derived."""

    timeout_ns: DurationNs
    drain_timeout_ns: DurationNs
    lag_ns: DurationNs
    inflight_cap: Count  # per server


class KeptWarm(Part):
    """Requests sent beside the load, in no other figure."""

    sent: Count = 0
    ok: Count = 0


class PerServer(Part):
    """What was charged to one server."""

    totals: Totals
    response_ns: Latencies
    response_ok_ns: Latencies
    service_ns: Latencies
    send_delay_ns: Latencies
    errors: dict[str, Count]  # error outcomes by gRPC status
    reasons: dict[str, Count]  # slots by why they are not OK
    in_flight_max: Count  # the workers' own maxima, added up
    kept_warm: KeptWarm = KeptWarm()


class ServerStats(Part):
    """A server's own statistics over the run. Means over nothing are None, and all if unknown."""

    executed: Count | None
    failed: Count | None
    inference_count: Count | None
    execution_count: Count | None
    cache_hit_count: Count | None
    cache_miss_count: Count | None
    request_mean_ns: MeanNs | None
    queue_mean_ns: MeanNs | None
    compute_input_mean_ns: MeanNs | None
    compute_infer_mean_ns: MeanNs | None
    compute_output_mean_ns: MeanNs | None
    mean_batch: PerSecond | None
    reason: str | None  # why they are unknown


class Worker(Part):
    """One worker process."""

    index: Index
    pid: Count
    cpu: Index | None
    slots: Count
    taken: Count = 0
    pushed: Count
    popped: Count
    overflowed: Count
    cpu_s: PerSecond | None
    max_loop_gap_ns: DurationNs
    loop_turns: Count
    max_rss_bytes: Count | None
    in_flight_max: Annotated[list[Count], FailFast()]  # by server
    state: str
    connections: Annotated[list[dict[str, Any]], FailFast()]


class Client(Part):
    """The load generator's own part in the figures."""

    spin: bool
    busy: Share | None  # CPU time of the workers by the time planned, at most 1; None: unknown
    connections: Count  # per worker and server
    path_floor_ns: DurationNs | None  # what an empty call takes
    limiting: bool


class DetectorPart(Part):
    """What judged the servers, and what it could not see."""

    rule: str  # "default" or "plain"
    window_ns: DurationNs | None  # None: without an SLO no window is judged
    stall_tolerance_ns: DurationNs
    blind_ns: DurationNs  # time without evidence because the client was late
