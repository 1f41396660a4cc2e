"""How a phase of a run stands: one snapshot, for whatever shows it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerState:
    """One server at the moment. ``state``: one of STATES."""

    url: str
    state: str
    connected: bool
    in_flight: int
    back_ns: int | None = None  # until its cool-down is over


ACTIVE = "active"
STANDBY = "standby"
COOLING = "cooling down"
EJECTED = "ejected"
MISSING = "missing"  # since the start
STATES = (ACTIVE, STANDBY, COOLING, EJECTED, MISSING)

LATENCIES_OVER_S = 3


@dataclass(frozen=True)
class Progress:
    """A phase so far. Rates are per second; None: not known, or there is no such thing.

    ``recent_*`` cover the ``recent_ns`` of scheduled time before the slowest worker's watermark.
    """

    phase: str  # "warm-up" or "run"
    t_ns: int
    duration_ns: int
    ok: int
    decided: int
    violations: int
    in_flight: int
    p50_ns: int | None  # response latency, of the OK answers of the last LATENCIES_OVER_S
    p99_ns: int | None
    in_use: tuple[int, ...] = ()  # servers the load goes to, where there is more than one
    cut_ns: int | None = None
    end_ns: int | None = None  # the drain is over by then
    target_rate: float | None = None
    concurrency: int | None = None
    sent_rate: float | None = None
    ok_rate: float | None = None
    dropped: int = 0
    inflight_cap: int | None = None  # of each server
    lateness_p99_ns: int | None = None  # of the whole phase
    recent_decided: int = 0
    recent_violations: int = 0
    recent_ns: int = 0
    limit: float | None = None  # share of violations that is allowed
    servers: tuple[ServerState, ...] = ()
    model: str = ""
    dist: str = ""

    @property
    def violated(self) -> float:
        """Share of violations in the whole phase."""
        return self.violations / self.decided if self.decided else 0.0

    @property
    def recently_violated(self) -> float | None:
        """Share of violations in the last ``recent_ns``; None if nothing was decided in them."""
        return self.recent_violations / self.recent_decided if self.recent_decided else None
