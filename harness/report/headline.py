"""What a report says first: the verdict, its reasons, the findings, and the figures that matter."""

from collections.abc import Iterator
from dataclasses import dataclass

from harness.config import NS_PER_S
from harness.report.table import NONE
from harness.results.lines import share_text
from harness.results.summary import Summary
from harness.units import format_count, format_latency_ms

MOST_FINDINGS = 100
SAID_ABOVE = ("slo_broken", "switched")
"""Findings that have a place of their own."""


@dataclass(frozen=True)
class Figure:
    """One large number."""

    label: str
    value: str
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Headline:
    """``slo``: ``held``, ``broken`` or empty; ``slo_text`` says the rest."""

    model: str
    load: str
    valid: bool
    slo: str
    slo_text: str
    reasons: tuple[tuple[str, str], ...]
    findings: tuple[str, ...]
    figures: tuple[Figure, ...]


def headline(summary: Summary) -> Headline:
    """Of one run."""
    slo, held = summary.slo, None
    if slo is not None:
        held = slo.held
    config = summary.config
    version = str(config.get("model_version") or "")
    reasons = summary.invalid_reasons[:MOST_FINDINGS]
    findings = [one.text for one in summary.findings if one.code not in SAID_ABOVE]
    return Headline(
        model=str(config.get("model", "")) + (f" v{version}" if version else ""),
        load=_load(summary),
        valid=summary.valid,
        slo={True: "held", False: "broken", None: ""}[held],
        slo_text=_slo_text(summary),
        reasons=tuple((one.text, one.advice) for one in reasons),
        findings=tuple(findings[:MOST_FINDINGS]),
        figures=tuple(_figures(summary)),
    )


def _load(summary: Summary) -> str:
    plan = summary.plan
    what = f"closed loop, {plan.concurrency} in flight"
    if plan.rate is not None:
        what = f"{plan.dist} {plan.rate:g}/s"
    parts = [what, f"{plan.duration_s:g} s", f"seed {plan.seed}"]
    if plan.hash is not None:
        parts.append(f"plan {plan.hash[:8]}")
    return " · ".join(parts)


def _slo_text(summary: Summary) -> str:
    slo = summary.slo
    if slo is None:
        return "No SLO was given."
    bound = f"{slo.text} allows {100 * slo.limit:.4g} %"
    if slo.violation_share is None:
        return f"Nothing was decided ({bound})."
    decided = format_count(summary.totals.decided)
    return f"{share_text(slo.violation_share)} violated of {decided} ({bound})"


def _figures(summary: Summary) -> Iterator[Figure]:
    slo, response = summary.slo, summary.response_ns
    if slo is not None and slo.violation_share is not None:
        limit = f"limit {100 * slo.limit:.4g} %"
        yield Figure("violated", f"{100 * slo.violation_share:.2f}", "%", limit)
    p50, p99, p999 = (
        _latency(summary, value) for value in (response.p50, response.p99, response.p999)
    )
    yield Figure("response p99", *p99, f"p50 {_joined(p50)}, p99.9 {_joined(p999)}")
    rate = summary.rate
    name, value = ("OK", rate.ok) if slo is None else ("in SLO", rate.in_slo)
    yield Figure(name, f"{value:.1f}", "/s", f"{rate.offered:.1f}/s offered")
    longest = max((one.duration_ns for one in summary.outages if one.failed), default=None)
    note = "no outage" if longest is None else f"longest outage {longest / NS_PER_S:.3f} s"
    yield Figure("switches", str(len(summary.switches)), "", note)


def _latency(summary: Summary, value_ns: int | None) -> tuple[str, str]:
    if value_ns is not None:
        return format_latency_ms(value_ns), "ms"
    if not summary.totals.population:
        return NONE, ""
    return f">{summary.limits.timeout_ns / NS_PER_S:g}", "s"


def _joined(latency: tuple[str, str]) -> str:
    return " ".join(part for part in latency if part)
