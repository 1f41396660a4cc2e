"""What runs are compared by: how each figure is called, read and judged."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from harness.config import NS_PER_S
from harness.results.parts import Latencies
from harness.results.summary import Summary

Unit = Literal["/s", "%", "ns", "J", "USD", ""]


@dataclass(frozen=True)
class Figure:
    """One run's value. ``censored``: the true one is at least this, as no answer came in time."""

    value: float
    censored: bool = False


@dataclass(frozen=True)
class Metric:
    """One row. ``better``: which way is good; None: neither.

    ``least`` is what stands in for 0 in a ratio: the smallest amount this run could have shown.
    """

    name: str
    label: str
    unit: Unit
    better: Literal["lower", "higher"] | None
    read: Callable[[Summary], Figure | None]
    least: Callable[[Summary], float] = lambda summary: 1.0

    def positive(self, summary: Summary) -> float | None:
        """The value for a ratio; None if there is none."""
        figure = self.read(summary)
        return None if figure is None else max(figure.value, self.least(summary))


def _seconds(summary: Summary) -> float:
    cut_ns = summary.plan.cut_ns
    return summary.plan.duration_s if cut_ns is None else max(1, cut_ns) / NS_PER_S


def _one_request(summary: Summary) -> float:
    return 1 / _seconds(summary)


def _rate(name: str) -> Callable[[Summary], Figure | None]:
    return lambda summary: Figure(getattr(summary.rate, name))


def _in_slo(summary: Summary) -> Figure | None:
    return None if summary.slo is None else Figure(summary.rate.in_slo)


def _violated(summary: Summary) -> Figure | None:
    if summary.slo is None or summary.slo.violation_share is None:
        return None
    return Figure(summary.slo.violation_share)


def _latency(kind: str, name: str) -> Callable[[Summary], Figure | None]:
    def read(summary: Summary) -> Figure | None:
        latencies: Latencies = getattr(summary, kind)
        value = getattr(latencies, name)
        if value is not None:
            return Figure(value)
        if kind == "response_ns" and summary.totals.population:
            return Figure(summary.limits.timeout_ns, censored=True)
        return None

    return read


def _server_mean(*names: str) -> Callable[[Summary], Figure | None]:
    """The mean over all servers, each by the requests it executed."""

    def read(summary: Summary) -> Figure | None:
        weighted, executed = 0.0, 0
        for stats in summary.server_stats.values():
            parts = [getattr(stats, name) for name in names]
            if stats.executed and all(part is not None for part in parts):
                weighted += stats.executed * sum(parts)
                executed += stats.executed
        return Figure(weighted / executed) if executed else None

    return read


def _longest_outage(summary: Summary) -> Figure | None:
    if summary.slo is None:
        return None
    return Figure(max((one.duration_ns for one in summary.outages), default=0))


def _switching_delay(summary: Summary) -> Figure | None:
    """From onset to the last worker, the mean over the switches."""
    delays_ns = [
        max(seen_ns for seen_ns in one.t_seen_ns if seen_ns is not None) - one.t_onset_ns
        for one in summary.switches
        if one.t_onset_ns is not None and any(seen is not None for seen in one.t_seen_ns)
    ]
    return Figure(sum(delays_ns) / len(delays_ns)) if delays_ns else None


def _energy(summary: Summary) -> Figure | None:
    energy = summary.energy
    if energy is None or energy.joules_per_in_slo is None:
        return None
    return Figure(energy.joules_per_in_slo)


def _cost(summary: Summary) -> Figure | None:
    cost = summary.cost
    return None if cost is None or cost.usd_per_million is None else Figure(cost.usd_per_million)


LEAST_AMOUNT = 1e-12
"""Of energy and money, which have no smallest step: a figure of 0 is none to divide by."""

IN_SLO, P99 = "in_slo", "p99"
PRIMARY = (P99, IN_SLO)
"""Judged unless others are asked for."""

METRICS = (
    Metric("offered", "offered", "/s", None, _rate("offered"), _one_request),
    Metric("ok", "OK", "/s", "higher", _rate("ok"), _one_request),
    Metric(IN_SLO, "in SLO", "/s", "higher", _in_slo, _one_request),
    Metric(
        "violated",
        "violated",
        "%",
        "lower",
        _violated,
        lambda summary: 1 / max(1, summary.totals.decided),
    ),
    *(
        Metric(name, f"response {label}", "ns", "lower", _latency("response_ns", name))
        for name, label in (("p50", "p50"), ("p90", "p90"), (P99, "p99"), ("p999", "p99.9"))
    ),
    *(
        Metric(f"service_{name}", f"service {label}", "ns", "lower", _latency("service_ns", name))
        for name, label in (("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("p999", "p99.9"))
    ),
    Metric("queue", "server queue", "ns", "lower", _server_mean("queue_mean_ns")),
    Metric(
        "compute",
        "server compute",
        "ns",
        "lower",
        _server_mean("compute_input_mean_ns", "compute_infer_mean_ns", "compute_output_mean_ns"),
    ),
    Metric(
        "switches", "switches", "", "lower", lambda summary: Figure(float(len(summary.switches)))
    ),
    Metric("switching", "onset to switch", "ns", "lower", _switching_delay),
    Metric("outage", "longest outage", "ns", "lower", _longest_outage),
    Metric("energy", "energy each", "J", "lower", _energy, lambda summary: LEAST_AMOUNT),
    Metric("cost", "cost a million", "USD", "lower", _cost, lambda summary: LEAST_AMOUNT),
)
"""In the order they are shown."""

BY_NAME = {metric.name: metric for metric in METRICS}
