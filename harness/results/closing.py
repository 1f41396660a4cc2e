"""The text at the end of a run: plain, at most 80 columns, the same on a terminal and in a file."""

import textwrap
from collections.abc import Iterator, Sequence

from harness.config import NS_PER_MS, NS_PER_S
from harness.results.device_text import device_lines
from harness.results.lines import WIDTH, labelled, share_text, wrapped
from harness.results.parts import Latencies
from harness.results.summary import Summary
from harness.results.switch_text import switch_lines
from harness.units import format_latency_ms, server_letter
from harness.untrusted import clean_text

CLIENT_CHARS = 8  # lets its usual line fit
MAX_NAME_CHARS = 24
MAX_URL_CHARS = 76
SERVER_CHARS = 20  # the name's column; a longer one has a line of its own

NOT_LIMITING = "NOT\N{NO-BREAK SPACE}LIMITING"
"""Kept on one line: its halves apart would say the opposite."""

SAID_ABOVE = ("slo_broken", "switched")
"""Findings that a line of their own has told already."""

PERCENTILES = ("p50", "p90", "p95", "p99", "p999", "max")


def closing_text(summary: Summary, results: str | None = None, report: str | None = None) -> str:
    """What a person should know of a run; ``results``, ``report``: where they are, if anywhere."""
    lines = [
        *_header(summary),
        *_verdict(summary),
        *_rates(summary),
        *_violations(summary),
        *_latencies(summary),
        *_servers(summary),
        *switch_lines(summary),
        *_findings(summary),
        *device_lines(summary),
        *_client(summary),
    ]
    if results is not None:
        lines.append(labelled("results", clean_text(results, 4096)))
    if report is not None:
        lines.append(labelled("report", clean_text(report, 4096)))
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ") + "\n"


def _header(summary: Summary) -> Iterator[str]:
    model = clean_text(str(summary.config.get("model", "")), MAX_NAME_CHARS)
    version = clean_text(str(summary.config.get("model_version") or ""), 8)
    plan = summary.plan
    parts = [
        f"harness bench  {model}" + (f" v{version}" if version else ""),
        f"closed loop, {plan.concurrency} in flight"
        if plan.rate is None
        else f"{clean_text(plan.dist, 10)} {plan.rate:g}/s",
        f"{plan.duration_s:g} s",
        f"seed {plan.seed}",
    ]
    if plan.hash is not None:
        parts.append(f"plan {clean_text(plan.hash, 64)[:8]}")
    yield from textwrap.wrap("   ".join(parts), WIDTH, subsequent_indent="  ")


def _verdict(summary: Summary) -> Iterator[str]:
    yield from wrapped("VALID" if summary.valid else "INVALID", _slo(summary))
    for reason in summary.invalid_reasons:
        yield from wrapped("", clean_text(reason.text, 1000))
        yield from wrapped("", f"-> {clean_text(reason.advice)}")


def _slo(summary: Summary) -> str:
    slo = summary.slo
    if slo is None:
        return "no SLO given (--slo 50ms)"
    bound = f"{clean_text(slo.text, 24)} allows {100 * slo.limit:.4g} %"
    if slo.held is None or slo.violation_share is None:
        return f"SLO: nothing was decided ({bound})"
    return (
        f"SLO {'HELD' if slo.held else 'BROKEN'}: {share_text(slo.violation_share)} violated"
        f" of {summary.totals.decided} ({bound})"
    )


def _rates(summary: Summary) -> Iterator[str]:
    rate = summary.rate
    in_flight = max((server.in_flight_max for server in summary.per_server.values()), default=0)
    peak = f"{in_flight} / {summary.limits.inflight_cap}"
    yield (
        f"requests/s {'offered':>9}{'sent':>9}{'ok':>9}{'in SLO':>9}{'dropped':>9}"
        f"{'in flight max / cap':>22}"
    )
    in_slo = "-" if summary.slo is None else f"{rate.in_slo:.1f}"
    yield (
        f"{'':11}{rate.offered:>9.1f}{rate.sent:>9.1f}{rate.ok:>9.1f}{in_slo:>9}"
        f"{rate.dropped:>9.1f}{peak:>22}"
    )


def _violations(summary: Summary) -> Iterator[str]:
    found = summary.totals
    by = found.violations_by
    parts = [f"{by.timeout} timeout", f"{by.error} error", f"{by.slow} slow"]
    parts.append(f"{by.dropped} dropped")
    if by.cancelled:
        parts.append(f"{by.cancelled} cancelled")
    if by.lost:
        parts.append(f"{by.lost} lost")
    yield from wrapped("violations", f"{found.violations} = {' + '.join(parts)}")
    undecided = {
        "dropped by the client": found.dropped_client,
        "unsent": found.unsent,
        "cancelled": found.cancelled - by.cancelled,
        "lost": found.lost - by.lost,
    }
    if any(undecided.values()):
        text = ", ".join(f"{count} {what}" for what, count in undecided.items() if count)
        yield from wrapped("undecided", text)


def _latencies(summary: Summary) -> Iterator[str]:
    beyond = f">{summary.limits.timeout_ns / NS_PER_S:g} s"
    yield (f"{'latency ms':<13}{'p50':>8}{'p90':>9}{'p95':>9}{'p99':>9}{'p99.9':>13}{'max':>10}")
    found = summary.totals
    rows = [
        ("response *", summary.response_ns, found.population, beyond),
        ("response, ok", summary.response_ok_ns, found.ok, "-"),
        ("service (ok)", summary.service_ns, found.ok, "-"),
        ("lateness", summary.lateness_ns, found.scheduled - found.unsent, "-"),
        ("send delay", summary.send_delay_ns, found.sent, "-"),
    ]
    since = "from the planned time, every scheduled slot"
    if summary.plan.rate is None:  # slots have no planned time to be late for, or answered from
        rows = [row for row in rows if row[0] not in ("service (ok)", "lateness")]
        since = "every slot"
    for label, latencies, population, missing in rows:
        yield _latency_row(label, latencies, missing if population else "-")
    yield f"* {since}; no OK answer = {beyond}"


def _latency_row(label: str, latencies: Latencies, missing: str) -> str:
    values: list[int | None] = [getattr(latencies, name) for name in PERCENTILES]
    shown = [missing if value is None else format_latency_ms(value) for value in values]
    widths = (8, 9, 9, 9, 13, 10)
    return f"{label:<13}" + "".join(
        f"{text:>{width}}" for text, width in zip(shown, widths, strict=True)
    )


def _servers(summary: Summary) -> Iterator[str]:
    names = {
        url: f"{server_letter(index)} {clean_text(url, MAX_URL_CHARS)}"
        for index, url in enumerate(summary.per_server)
    }
    used = [url for url, server in summary.per_server.items() if server.totals.scheduled]
    if used:
        heads = ("sent", "ok", "in SLO", "violated", "queue", "compute", "batch")
        yield _server_row("server", heads)
    for url in used:
        name = names[url]
        if len(name) > SERVER_CHARS:
            yield name
            name = ""
        yield _server_row(name, _server_figures(summary, url))
    missing = {str(server.get("url")) for server in summary.servers if server.get("missing")}
    idle = [
        name + " (missing)" * (url in missing) for url, name in names.items() if url not in used
    ]
    if idle:
        yield from wrapped("standby", ", ".join(idle))


def _server_row(name: str, figures: Sequence[object]) -> str:
    widths = (9, 9, 9, 9, 9, 9, 6)
    return f"{name:<{SERVER_CHARS}}" + "".join(
        f"{figure!s:>{width}}" for figure, width in zip(figures, widths, strict=True)
    )


def _server_figures(summary: Summary, url: str) -> tuple[object, ...]:
    found = summary.per_server[url].totals
    stats = summary.server_stats[url]
    in_time = "-" if summary.slo is None else found.in_time
    share = "-" if found.violation_share is None else share_text(found.violation_share)
    steps = (
        *(stats.compute_input_mean_ns, stats.compute_infer_mean_ns),
        stats.compute_output_mean_ns,
    )
    known = [step for step in steps if step is not None]
    compute = _mean_ms(sum(known) if known else None)
    batch = "-" if stats.mean_batch is None else f"{stats.mean_batch:.1f}"
    return found.sent, found.ok, in_time, share, _mean_ms(stats.queue_mean_ns), compute, batch


def _findings(summary: Summary) -> Iterator[str]:
    for finding in summary.findings:
        if finding.code in SAID_ABOVE:
            continue
        yield from wrapped("finding", clean_text(finding.text, 600))


def _client(summary: Summary) -> Iterator[str]:
    client, workers = summary.client, summary.workers
    cpus = sorted({worker.cpu for worker in workers if worker.cpu is not None})
    parts = [f"{len(workers)} worker{'s' * (len(workers) != 1)}"]
    if cpus:
        parts.append(f"CPU {_ranges(cpus)}")
    if client.busy is not None:
        parts.append(f"{client.busy:.0%} busy".replace("%", " %") + " (spins)" * client.spin)
    parts.append(f"{client.connections} connection{'s' * (client.connections != 1)} each")
    if client.path_floor_ns is not None:
        parts.append(f"path {client.path_floor_ns / NS_PER_MS:.2f} ms")
    state = "LIMITING" if client.limiting else NOT_LIMITING
    yield from wrapped("client", f"{', '.join(parts)}: {state}", CLIENT_CHARS)


def _mean_ms(mean_ns: float | None) -> str:
    if mean_ns is None:
        return "-"
    mean_ms = mean_ns / NS_PER_MS
    return f"{mean_ms:.{2 if mean_ms < 1 else 1 if mean_ms < 1000 else 0}f} ms"


def _ranges(cpus: Sequence[int]) -> str:
    """``0,2-3`` of ascending numbers."""
    spans: list[list[int]] = []
    for cpu in cpus:
        if spans and cpu == spans[-1][1] + 1:
            spans[-1][1] = cpu
        else:
            spans.append([cpu, cpu])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans)
