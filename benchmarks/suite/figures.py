"""The names of figures, and how their values are written."""

LABELS = {
    "rate": "requests/s",
    "asked_rate": "asked for, requests/s",
    "held_rate": "rate held, /s",
    "broken_rate": "rate not held, /s",
    "sent_mb_s": "sent, MB/s",
    "cpu_us": "CPU a request, us",
    "coordinator_us": "coordinator CPU a record, us",
    "cpu_s": "CPU, s",
    "first_slot_s": "command to first slot, s",
    "lateness_p50_us": "lateness p50, us",
    "lateness_p99_us": "lateness p99, us",
    "late_percent": "later than 1 ms, %",
    "delayed_percent": "delayed, in its words, %",
    "latency_p50_us": "latency p50, us",
    "latency_p99_us": "latency p99, us",
    "valid": "runs that are valid",
    "killed": "runs killed",
    "dropped": "dropped",
    "drops_backpressure": "dropped at the cap",
    "drops_not_violations": "of them no violation",
    "in_flight_max": "in flight, most",
    "in_flight_cap": "cap",
    "peak_rss_mb": "client's memory, MB",
    "client_rss_mb": "client's memory, MB",
    "server_rss_mb": "Triton's memory, MB",
    "recovery_s": "well again after, s",
    "coordinator_early_mb": "coordinator early, MB",
    "coordinator_late_mb": "coordinator at the end, MB",
    "coordinator_growth_percent": "coordinator grows, %",
    "worker_early_mb": "worker early, MB",
    "worker_late_mb": "worker at the end, MB",
    "worker_growth_percent": "worker grows, %",
}
"""What is shown, in this order; other figures are stored only."""


COMPARED = frozenset(
    {
        *("rate", "sent_mb_s", "cpu_us", "lateness_p50_us", "lateness_p99_us"),
        *("latency_p50_us", "latency_p99_us", "peak_rss_mb", "client_rss_mb", "server_rss_mb"),
        "recovery_s",
    }
)
"""Figures whose ratio to a peer's says something."""


def number(value: float | None) -> str:
    """Three figures, whole above 100, millions above one."""
    if value is None:
        return "-"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g}M"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ratio_text(value: float | None) -> str:
    """At most six characters; empty if there is none."""
    if value is None:
        return ""
    if value < 0.001:
        return "<0.001"
    return f"{value:.2g}" if value < 10 else f"{min(value, 99999):.0f}"


def span(low: float, high: float) -> str:
    """From the least to the most; empty where they are the same."""
    return "" if low == high else f"{number(low)} .. {number(high)}"
