"""What a tool is asked to send, and what came of it."""

from dataclasses import dataclass, field

from benchmarks.suite.limits import Ended


@dataclass(frozen=True)
class Load:
    """Closed loop with ``concurrency`` in flight, or open loop at ``rate``/s. One connection."""

    url: str
    model: str
    seconds: float
    concurrency: int | None = None
    rate: float | None = None
    dist: str = "constant"
    slo: str | None = None  # understood by the harness alone
    timestamps: bool = False  # have the tool keep the time of each request, if that costs extra


@dataclass(frozen=True)
class Outcome:
    """One run of one tool. ``figures``: name with unit -> value, those the tool has.

    ``requests``: by the tool's own count; ``counts_itself``: the server's holds others too.
    ``load_end_ns``: CLOCK_MONOTONIC, the last planned time.
    ``trouble``: empty, or why there are no figures.
    """

    ended: Ended
    requests: int | None = None
    figures: dict[str, float] = field(default_factory=dict)
    load_end_ns: int | None = None
    counts_itself: bool = False
    trouble: str = ""


def present(figures: dict[str, float | None]) -> dict[str, float]:
    """Without those that are not known."""
    return {name: float(value) for name, value in figures.items() if value is not None}
