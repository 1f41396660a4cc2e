"""The parts of ``summary.json``; latencies and times in ns."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from harness.results.totals import Totals


class Part(BaseModel):
    """An object of the file."""

    # A later version may add keys: they are ignored here, not refused.
    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null")


class Latencies(Part):
    """ns. None: no value, or among slots that have none (never answered OK)."""

    mean: float | None
    p50: int | None
    p90: int | None
    p95: int | None
    p99: int | None
    p999: int | None
    max: int | None


class PlanPart(Part):
    """The whole plan; ``cut_ns`` where it was cut short, None if it ran to its end."""

    dist: str  # "constant", "poisson", "closed"
    rate: float | None  # requests/s; None in a closed loop
    concurrency: int | None = None  # requests kept in flight, in a closed loop
    seed: int
    duration_s: float
    slots: int  # of a closed loop: those that were taken
    cut_ns: int | None
    hash: str | None  # SHA-256 over the little-endian int64 offsets of all slots; closed: None


class Rate(Part):
    """Requests/s over the planned duration, or up to the cut."""

    target: float | None  # None in a closed loop
    offered: float
    sent: float
    ok: float  # OK answers within the duration
    in_slo: float  # of those, in time
    dropped: float


class SloPart(Part):
    """The SLO and what became of it; share and ``held`` are None if nothing was decided."""

    threshold_ns: int
    limit: float
    text: str
    violation_share: float | None
    held: bool | None


class Limits(Part):
    """Bounds the run was under, given or derived."""

    timeout_ns: int
    drain_timeout_ns: int
    lag_ns: int
    inflight_cap: int  # per server


class KeptWarm(Part):
    """Requests sent beside the load, in no other figure."""

    sent: int = 0
    ok: int = 0


class PerServer(Part):
    """What was charged to one server."""

    totals: Totals
    response_ns: Latencies
    response_ok_ns: Latencies
    service_ns: Latencies
    send_delay_ns: Latencies
    errors: dict[str, int]  # error outcomes by gRPC status
    reasons: dict[str, int]  # slots by why they are not OK
    in_flight_max: int  # the workers' own maxima, added up
    kept_warm: KeptWarm = KeptWarm()


class ServerStats(Part):
    """A server's own statistics over the run. Means over nothing are None, and all if unknown."""

    executed: int | None
    failed: int | None
    inference_count: int | None
    execution_count: int | None
    cache_hit_count: int | None
    cache_miss_count: int | None
    request_mean_ns: float | None
    queue_mean_ns: float | None
    compute_input_mean_ns: float | None
    compute_infer_mean_ns: float | None
    compute_output_mean_ns: float | None
    mean_batch: float | None
    reason: str | None  # why they are unknown


class Worker(Part):
    """One worker process."""

    index: int
    pid: int
    cpu: int | None
    slots: int
    taken: int = 0
    pushed: int
    popped: int
    overflowed: int
    cpu_s: float | None
    max_loop_gap_ns: int
    loop_turns: int
    max_rss_bytes: int | None
    in_flight_max: list[int]  # by server
    state: str
    connections: list[dict[str, Any]]


class Client(Part):
    """The load generator's own part in the figures."""

    spin: bool
    busy: float | None  # CPU time of the workers by the time planned, at most 1; None: unknown
    connections: int  # per worker and server
    path_floor_ns: int | None  # what an empty call takes
    limiting: bool


class DetectorPart(Part):
    """What judged the servers, and what it could not see."""

    rule: str  # "default" or "plain"
    window_ns: int | None  # None: without an SLO no window is judged
    stall_tolerance_ns: int
    blind_ns: int  # time without evidence because the client was late
