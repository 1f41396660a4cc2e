"""The text at the end of a run: plain, at most 80 columns, the same on a terminal and in a file."""

import string
import textwrap
from collections.abc import Iterator, Sequence

from harness.config import NS_PER_MS, NS_PER_S
from harness.summary import Latencies, PerServer, Summary
from harness.units import format_latency_ms
from harness.untrusted import clean_text

WIDTH = 80
LABEL_CHARS = 11  # VALID, INVALID, violations, findings
MAX_NAME_CHARS = 24
MAX_URL_CHARS = 21

PERCENTILES = ("p50", "p90", "p95", "p99", "p999", "max")


def closing_text(summary: Summary, results: str | None = None) -> str:
    """What a person should know of a run; ``results``: where its files are, if anywhere."""
    lines = [
        *_header(summary),
        *_verdict(summary),
        *_rates(summary),
        *_violations(summary),
        *_latencies(summary),
        *_servers(summary),
        *_findings(summary),
        *_client(summary),
    ]
    if results is not None:
        lines.append(_labelled("results", clean_text(results, 4096)))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _header(summary: Summary) -> Iterator[str]:
    model = clean_text(str(summary.config.get("model", "")), MAX_NAME_CHARS)
    version = clean_text(str(summary.config.get("model_version") or ""), 8)
    plan = summary.plan
    parts = [
        f"harness bench  {model}" + (f" v{version}" if version else ""),
        f"{clean_text(plan.dist, 10)} {plan.rate:g}/s",
        f"{plan.duration_s:g} s",
        f"seed {plan.seed}",
        f"plan {clean_text(plan.hash, 64)[:8]}",
    ]
    yield from _wrapped("", parts, "   ")


def _verdict(summary: Summary) -> Iterator[str]:
    yield from _wrapped("VALID" if summary.valid else "INVALID", [_slo(summary)], " ")
    for reason in summary.invalid_reasons:
        yield from _wrapped("", [clean_text(reason.text, 1000)], " ")
        yield from _wrapped("", [f"-> {clean_text(reason.advice)}"], " ")


def _slo(summary: Summary) -> str:
    slo = summary.slo
    if slo is None:
        return "no SLO given (--slo 50ms)"
    bound = f"{clean_text(slo.text, 24)} allows {100 * slo.limit:.4g} %"
    if slo.held is None or slo.violation_share is None:
        return f"SLO: nothing was decided ({bound})"
    return (
        f"SLO {'HELD' if slo.held else 'BROKEN'}: {_share(slo.violation_share)} violated"
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
    yield from _wrapped("violations", [f"{found.violations} = {' + '.join(parts)}"], " ")
    undecided = {
        "dropped by the client": found.dropped_client,
        "unsent": found.unsent,
        "cancelled": found.cancelled - by.cancelled,
        "lost": found.lost - by.lost,
    }
    if any(undecided.values()):
        text = ", ".join(f"{count} {what}" for what, count in undecided.items() if count)
        yield from _wrapped("undecided", [text], " ")


def _latencies(summary: Summary) -> Iterator[str]:
    beyond = f">{summary.limits.timeout_ns / NS_PER_S:g} s"
    yield (f"{'latency ms':<13}{'p50':>8}{'p90':>9}{'p95':>9}{'p99':>9}{'p99.9':>13}{'max':>10}")
    found = summary.totals
    rows = (
        ("response *", summary.response_ns, found.population, beyond),
        ("response, ok", summary.response_ok_ns, found.ok, "-"),
        ("service (ok)", summary.service_ns, found.ok, "-"),
        ("lateness", summary.lateness_ns, found.scheduled - found.unsent, "-"),
        ("send delay", summary.send_delay_ns, found.sent, "-"),
    )
    for label, latencies, population, missing in rows:
        yield _latency_row(label, latencies, missing if population else "-")
    yield f"* from the planned time, every scheduled slot; no OK answer = {beyond}"


def _latency_row(label: str, latencies: Latencies, missing: str) -> str:
    values: list[int | None] = [getattr(latencies, name) for name in PERCENTILES]
    shown = [missing if value is None else format_latency_ms(value) for value in values]
    widths = (8, 9, 9, 9, 13, 10)
    return f"{label:<13}" + "".join(
        f"{text:>{width}}" for text, width in zip(shown, widths, strict=True)
    )


def _servers(summary: Summary) -> Iterator[str]:
    names = {url: _name(index, url) for index, url in enumerate(summary.per_server)}
    used = [url for url, server in summary.per_server.items() if server.totals.scheduled]
    idle = [names[url] for url in names if url not in used]
    width = max([len("server"), *(len(names[url]) for url in used)])
    if used:
        yield (
            f"{'server':<{width}}{'sent':>9}{'ok':>9}{'in SLO':>9}{'violated':>10}"
            f"{'queue':>8}{'compute':>8} {'batch':>5}"[: WIDTH + 8]
        )
    for url in used:
        yield _server_row(summary, url, names[url].ljust(width), summary.per_server[url])
    if idle:
        yield from _wrapped("standby", [", ".join(idle)], " ")


def _server_row(summary: Summary, url: str, name: str, server: PerServer) -> str:
    found = server.totals
    slo = summary.slo is not None
    share = "-" if found.violation_share is None else _share(found.violation_share)
    stats = summary.server_stats.get(url)
    queue = None if stats is None else stats.queue_mean_ns
    compute: float | None = None
    if stats is not None:
        steps = (stats.compute_input_mean_ns, stats.compute_infer_mean_ns)
        known = [step for step in (*steps, stats.compute_output_mean_ns) if step is not None]
        compute = sum(known) if known else None
    batch = "-" if stats is None or stats.mean_batch is None else f"{stats.mean_batch:.1f}"
    return (
        f"{name}{found.sent:>9}{found.ok:>9}{found.in_time if slo else '-':>9}{share:>10}"
        f"{_mean_ms(queue):>8}{_mean_ms(compute):>8} {batch:>5}"
    )


def _findings(summary: Summary) -> Iterator[str]:
    for finding in summary.findings:
        yield from _wrapped("finding", [clean_text(finding.text, 600)], " ")


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
    state = "LIMITING" if client.limiting else "NOT LIMITING"
    yield from _wrapped("client", [f"{', '.join(parts)}: {state}"], " ")


def _name(index: int, url: str) -> str:
    """A letter and the URL; past Z a number."""
    letter = string.ascii_uppercase[index] if index < 26 else str(index)
    return f"{letter} {clean_text(url, MAX_URL_CHARS)}"


def _share(share: float) -> str:
    return f"{100 * share:.2f} %"


def _mean_ms(mean_ns: float | None) -> str:
    return "-" if mean_ns is None else f"{mean_ns / NS_PER_MS:.3g} ms"


def _ranges(cpus: Sequence[int]) -> str:
    """``0,2-3`` of ascending numbers."""
    spans: list[list[int]] = []
    for cpu in cpus:
        if spans and cpu == spans[-1][1] + 1:
            spans[-1][1] = cpu
        else:
            spans.append([cpu, cpu])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans)


def _labelled(label: str, text: str) -> str:
    return f"{label:<{LABEL_CHARS}}{text}"


def _wrapped(label: str, parts: Sequence[str], separator: str) -> list[str]:
    """The parts behind the label, on as many lines as they need, the rest indented."""
    text = separator.join(parts)
    indent = LABEL_CHARS if label else 2 * bool(separator == " ") + 0
    first = _labelled(label, "") if label else " " * indent
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * max(indent, 2),
        break_long_words=True,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
