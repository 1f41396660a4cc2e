"""The tables of a report: latency, rates, servers, switches, outages, workers, events."""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from harness.config import NS_PER_S
from harness.report.table import NONE, ServerName, Table, cut_rows
from harness.results.lines import share_text
from harness.results.parts import Latencies
from harness.results.stored import StoredRun
from harness.results.summary import Summary
from harness.results.switches import Switch, last_seen_ns
from harness.units import (
    format_bytes,
    format_count,
    format_duration_ns,
    format_latency_ms,
    server_letter,
)

MOST_ROWS = 200
PERCENTILES = ("p50", "p90", "p95", "p99", "p999", "max")
STEPS = ("queue", "compute_input", "compute_infer", "compute_output", "request")


def latency_table(summary: Summary) -> Table:
    """Every kind of latency by its percentiles."""
    beyond = f">{summary.limits.timeout_ns / NS_PER_S:g} s"
    found = summary.totals
    rows = [
        ("response", summary.response_ns, beyond if found.population else NONE),
        ("response, OK", summary.response_ok_ns, NONE),
        ("service (OK)", summary.service_ns, NONE),
        ("lateness", summary.lateness_ns, NONE),
        ("send delay", summary.send_delay_ns, NONE),
    ]
    since = "from the planned time, over every scheduled slot"
    if summary.plan.rate is None:
        rows = [row for row in rows if row[0] not in ("service (OK)", "lateness")]
        since = "over every slot"
    return Table(
        ("ms", "p50", "p90", "p95", "p99", "p99.9", "max"),
        tuple((name, *_percentiles(one, missing)) for name, one, missing in rows),
        note=f"Response: {since}; without an OK answer it is {beyond}.",
    )


def _percentiles(latencies: Latencies, missing: str) -> Iterator[str]:
    for name in PERCENTILES:
        value: int | None = getattr(latencies, name)
        yield missing if value is None else format_latency_ms(value)


def slot_table(summary: Summary) -> Table:
    """What became of the slots."""
    found, by = summary.totals, summary.totals.violations_by
    seconds = max(1e-9, summary.plan.duration_s)
    if summary.plan.cut_ns is not None:
        seconds = min(seconds, max(1, summary.plan.cut_ns) / NS_PER_S)
    rows = [
        ("scheduled", found.scheduled, ""),
        ("sent", found.sent, ""),
        ("OK", found.ok, by.slow),
        ("error", found.error, by.error),
        ("timeout", found.timeout, by.timeout),
        ("cancelled", found.cancelled, by.cancelled),
        ("lost", found.lost, by.lost),
        ("dropped at the cap", found.dropped_backpressure, by.dropped),
        ("dropped by the client", found.dropped_client, ""),
        ("unsent", found.unsent, ""),
        ("client-late", found.client_late, ""),
    ]
    told = ("scheduled", "sent", "OK", "error", "timeout")
    return Table(
        ("slots", "count", "per second", "violations"),
        tuple(
            (
                name,
                format_count(count),
                f"{count / seconds:.1f}",
                format_count(violations) if isinstance(violations, int) else "",
            )
            for name, count, violations in rows
            if count or name in told
        ),
    )


def server_table(run: StoredRun) -> Table:
    """What was charged to each server."""
    heads = (
        *("server", "scheduled", "sent", "OK", "in SLO", "violated", "p50 ms", "p99 ms"),
        *("most in flight", "errors and reasons"),
    )
    rows: list[tuple[object, ...]] = []
    for index, (url, server) in enumerate(run.summary.per_server.items()):
        found = server.totals
        share = found.violation_share
        in_slo = NONE if run.summary.slo is None else format_count(found.in_time)
        missing = f">{run.summary.limits.timeout_ns / NS_PER_S:g} s" if found.population else NONE
        p50, _, _, p99, *_ = _percentiles(server.response_ns, missing)
        why = [
            f"{count} {name}" for name, count in (*server.errors.items(), *server.reasons.items())
        ]
        rows.append(
            (
                server_name(index, url),
                *map(format_count, (found.scheduled, found.sent, found.ok)),
                in_slo,
                NONE if share is None else share_text(share),
                *(p50, p99),
                format_count(server.in_flight_max),
                ", ".join(why) or NONE,
            )
        )
    kept, note = cut_rows(rows, MOST_ROWS, "servers")
    return Table(heads, kept, frozenset({len(heads) - 1}), note)


def statistics_table(run: StoredRun) -> Table:
    """What each server says of itself over the run; means in ms."""
    heads: tuple[str, ...] = (
        *("server", "executed", "failed", "batches", "mean batch", "cache hits"),
        *(f"{step.replace('_', ' ')} ms" for step in STEPS),
        "",
    )
    rows: list[tuple[object, ...]] = []
    for index, (url, stats) in enumerate(run.summary.server_stats.items()):
        means = [getattr(stats, f"{step}_mean_ns") for step in STEPS]
        counts = (stats.executed, stats.failed, stats.execution_count)
        batch = NONE if stats.mean_batch is None else f"{stats.mean_batch:.2f}"
        rows.append(
            (
                server_name(index, url),
                *(NONE if count is None else format_count(count) for count in counts),
                batch,
                NONE if stats.cache_hit_count is None else format_count(stats.cache_hit_count),
                *(NONE if mean is None else format_latency_ms(round(mean)) for mean in means),
                stats.reason or "",
            )
        )
    kept, note = cut_rows(rows, MOST_ROWS, "servers")
    if not any(row[-1] for row in kept):
        heads, kept = heads[:-1], tuple(row[:-1] for row in kept)
    return Table(heads, kept, frozenset({1 + 5 + len(STEPS)}), note)


def worker_table(summary: Summary) -> Table:
    """The client's own processes."""
    heads = (
        *("worker", "pid", "CPU", "slots", "CPU time s", "longest loop gap ms", "loop turns"),
        *("memory", "records", "state"),
    )
    rows: list[tuple[object, ...]] = [
        (
            str(one.index),
            str(one.pid),
            NONE if one.cpu is None else str(one.cpu),
            format_count(one.slots),
            NONE if one.cpu_s is None else f"{one.cpu_s:.2f}",
            format_latency_ms(one.max_loop_gap_ns),
            format_count(one.loop_turns),
            NONE if one.max_rss_bytes is None else format_bytes(one.max_rss_bytes),
            format_count(one.popped) + f", {one.overflowed} overflowed" * bool(one.overflowed),
            one.state,
        )
        for one in summary.workers
    ]
    kept, note = cut_rows(rows, MOST_ROWS, "workers")
    return Table(heads, kept, frozenset({9}), note)


def switch_tables(run: StoredRun) -> list[tuple[str, Table, Table]]:
    """For each switch: what it says, its moments, and the load before, during and after it."""
    summary = run.summary
    return [
        (_switch_text(run, switch), _moments(switch), _phases(run, switch))
        for switch in summary.switches[:MOST_ROWS]
    ]


def _switch_text(run: StoredRun, switch: Switch) -> str:
    names = [
        server_letter(run.urls.index(url)) if url in run.urls else "?"
        for url in (switch.from_, switch.to)
    ]
    found = f"{switch.x} of {switch.n} decided slots violated, bound {math.floor(switch.bound)}"
    return (
        f"{names[0]} → {names[1]} at {switch.t_decide_ns / NS_PER_S:.3f} s: {switch.rule}, {found}"
    )


def _moments(switch: Switch) -> Table:
    moments = {
        "command (--at)": switch.command_ns,
        "onset": switch.t_onset_ns,
        "detected": switch.t_detect_ns,
        "decided": switch.t_decide_ns,
    }
    if any(seen is not None for seen in switch.t_seen_ns):
        moments["seen by the last worker"] = last_seen_ns(switch)
    start_ns = switch.t_decide_ns if switch.t_onset_ns is None else switch.t_onset_ns
    return Table(
        ("moment", "time s", "from onset s"),
        tuple(
            (name, f"{t_ns / NS_PER_S:.4f}", f"{(t_ns - start_ns) / NS_PER_S:+.4f}")
            for name, t_ns in moments.items()
            if t_ns is not None
        ),
    )


def _phases(run: StoredRun, switch: Switch) -> Table:
    rows: list[tuple[object, ...]] = []
    for phase_name in ("before", "during", "after"):
        phase = getattr(switch.phases, phase_name)
        for url, share in phase.servers.items():
            if share.decided:
                server = server_name(run.urls.index(url), url) if url in run.urls else url
                violated = share_text(share.violations / share.decided)
                rates = (f"{share.rate:.1f}", f"{share.ok_rate:.1f}")
                rows.append((phase_name, server, *rates, violated))
    return Table(("phase", "server", "slots/s", "OK/s", "violated"), tuple(rows), frozenset({1}))


def outage_table(summary: Summary) -> Table:
    """Times without an answer in time, the longest of them."""
    rows: list[tuple[object, ...]] = []
    for outage in summary.outages:
        by, recovery = outage.failed_by, outage.recovery_ns
        rows.append(
            (
                f"{outage.t_start_ns / NS_PER_S:.3f}",
                f"{outage.duration_ns / NS_PER_S:.3f}",
                *map(format_count, (outage.failed, by.error_or_timeout, by.slow, by.other)),
                NONE if recovery is None else f"{recovery / NS_PER_S:.3f}",
            )
        )
    heads = ("from s", "for s", "failed", "error or timeout", "slow", "other")
    kept, note = cut_rows(rows, MOST_ROWS, "outages")
    return Table((*heads, "back within the SLO after s"), kept, note=note)


def event_table(events: Sequence[dict[str, Any]]) -> Table:
    """What happened, in order."""
    rows: list[tuple[object, ...]] = []
    for event in events[: MOST_ROWS + 1]:
        rest = {key: value for key, value in event.items() if key not in ("t_ns", "event")}
        details = ", ".join(f"{key} {_plain(value)}" for key, value in rest.items())
        rows.append((f"{event['t_ns'] / NS_PER_S:.3f}", event["event"], details))
    kept, _ = cut_rows(rows, MOST_ROWS, "")
    note = f"The first {MOST_ROWS} of {len(events)} events." if len(events) > MOST_ROWS else ""
    return Table(("time s", "event", "details"), kept, frozenset({1, 2}), note)


def facts(content: dict[str, Any]) -> list[tuple[str, str]]:
    """Keys with their values as text; inner objects by path."""
    return list(_facts(content, ""))[:MOST_ROWS]


def _facts(content: dict[str, Any], before: str) -> Iterator[tuple[str, str]]:
    for key, value in content.items():
        name = f"{before}{key}"
        if isinstance(value, dict) and value:
            yield from _facts(value, f"{name}.")
        elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            for place, one in enumerate(value):
                yield from _facts(one, f"{name}[{place}].")
        elif name.endswith("_bytes") and isinstance(value, int) and not isinstance(value, bool):
            yield name.removesuffix("_bytes"), format_bytes(value)
        elif name.endswith("_ns") and isinstance(value, int) and not isinstance(value, bool):
            yield name.removesuffix("_ns"), format_duration_ns(value)
        else:
            yield name, _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def server_name(index: int, url: str) -> ServerName:
    """Of the i-th server."""
    return ServerName(index, server_letter(index), url)
