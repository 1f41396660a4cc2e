"""Nothing completes any more: what shows a hung server where no slot comes due by itself.

Buckets of scheduled time show a hung server through the slots that stay unanswered. Without an SLO
none of them is a violation, and in a closed loop no new slot is taken once all are stuck.
"""

from harness.config import NS_PER_MS, Slo, Switching
from harness.detector.detector import limit_of
from harness.detector.rules import (
    SETTLING_NS,
    SETTLING_STALL_NS,
    STALLED,
    Trigger,
    least_in_a_row,
)

STALL_NS = SETTLING_STALL_NS
PROBES = 3
STOOD_STILL_NS = 250 * NS_PER_MS
"""A jump of the time fed by five buckets: the client stood still, the server may not have."""


class Stall:
    """Nothing completed for ``span_ns`` while at least ``least`` requests were in flight.

    Fed often, every few ms, with the number of requests that one server has ended so far and those
    in flight there. Only workers that are heard of count: a stopped worker ends nothing either.
    In the first ``settling_ns`` with requests in flight the span is 1 s at least.
    """

    def __init__(self, span_ns: int = STALL_NS, least: int = 1, settling_ns: int = 0) -> None:
        self.span_ns = span_ns
        self.least = least
        self.settling_ns = settling_ns
        self.completed = 0
        self.last_ns: int | None = None
        self.loaded_ns: int | None = None  # since when there is load
        self.since_ns: int | None = None

    def feed(self, now_ns: int, completed: int, in_flight: int) -> Trigger | None:
        """A Trigger for as long as the server has failed; n = x = ``in_flight``."""
        stood_still = self.last_ns is not None and now_ns - self.last_ns >= STOOD_STILL_NS
        changed, self.completed, self.last_ns = completed != self.completed, completed, now_ns
        if in_flight and self.loaded_ns is None:
            self.loaded_ns = now_ns
        if in_flight < self.least:
            self.since_ns = None
            return None
        if self.since_ns is None or changed or stood_still:
            self.since_ns = now_ns
        if now_ns - self.since_ns < self._needed_ns(self.since_ns):
            return None
        return Trigger(STALLED, in_flight, in_flight, self.least)

    def _needed_ns(self, since_ns: int) -> int:
        if self.loaded_ns is not None and since_ns - self.loaded_ns < self.settling_ns:
            return max(self.span_ns, STALL_NS)
        return self.span_ns


def make_stalls(
    switching: Switching, slo: Slo | None, under_load_ns: int, probe_ns: int = 0
) -> list[Stall]:
    """For a server that has been under load for ``under_load_ns``; hard-down if any of them fires.

    Without an SLO: nothing completed for 1 s, and for three times what a single request took before
    the load (``probe_ns``), since nothing else says how slow the model may be. With one, for a
    closed loop: nothing completed for S + T, so that everything in flight has been overdue for S;
    with fewer in flight than hard-down needs in a row, 1 s at least.
    """
    if slo is None:
        return [Stall(max(STALL_NS, PROBES * probe_ns))]
    overdue_ns = switching.stall_tolerance_ns + slo.threshold_ns
    settling_ns = max(0, SETTLING_NS - under_load_ns)
    return [
        Stall(overdue_ns, least_in_a_row(limit_of(slo)), settling_ns),
        Stall(max(STALL_NS, overdue_ns)),
    ]
