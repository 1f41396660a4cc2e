"""How a run becomes its summary."""

import contextlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import ValidationError

import harness
from harness._histogram import Histogram
from harness.config import NS_PER_S
from harness.control.server_stats import StatsDelta, delta
from harness.detector.rules import PLAIN_WINDOW_NS
from harness.load.fleet import WorkerReport
from harness.results.cost import cost_part
from harness.results.devices import with_devices
from harness.results.energy import energy_part
from harness.results.findings import Verdict
from harness.results.outages import evidence_window_ns, find_outages
from harness.results.parts import (
    Client,
    DetectorPart,
    KeptWarm,
    Latencies,
    PerServer,
    Rate,
    ServerStats,
    SloPart,
)
from harness.results.redaction import Redactor
from harness.results.rundata import RunData
from harness.results.server_findings import error_codes, failure_reasons
from harness.results.summary import SCHEMA, Summary
from harness.results.switches import describe_switches
from harness.results.totals import Totals, totals

LIMITING = frozenset({"overflow", "worker_lost", "client_late", "client_late_slots"})
"""Invalid reasons that say the client, not the servers, set the figures."""

BUSY_LIMIT = 0.9
"""Share of its CPU above which a worker that sleeps between slots limits the run."""


def build_summary(run: RunData, verdict: Verdict) -> Summary:
    """Everything ``summary.json`` says about a run, without any secret."""
    redactor = Redactor(run.config)
    found = totals(run.tally)
    clean = redactor.clean(
        {
            "argv": run.argv,
            "host": run.host,
            "servers": with_devices(run.servers, run.devices),
            "signature": run.signature,
            "invalid_reasons": [reason.model_dump() for reason in verdict.invalid_reasons],
            "findings": [finding.model_dump() for finding in verdict.findings],
        }
    )
    urls = [str(server["url"]) for server in clean["servers"]]
    outages = find_outages(run)
    return Summary.model_validate(
        {
            **clean,
            "workers": [
                {**asdict(worker), "connections": redactor.clean(worker.connections)}
                for worker in run.workers
            ],
            "schema": SCHEMA,
            "harness_version": harness.__version__,
            "run_id": run.run_id,
            "started_utc": run.started_utc,
            "origin_ns": run.origin_ns,
            "config": redactor.config(),
            "limits": {
                "timeout_ns": run.config.timeout_ns,
                "drain_timeout_ns": run.config.drain_timeout_ns,
                "lag_ns": run.config.lag_ns,
                "inflight_cap": run.inflight_cap,
            },
            "plan": {
                "dist": run.spec.dist,
                "rate": run.spec.rate,
                "concurrency": run.config.concurrency,
                "seed": run.spec.seed,
                "duration_s": run.spec.duration_ns / NS_PER_S,
                "slots": run.plan.slots,
                "cut_ns": run.cut_ns,
                "hash": run.plan.hash,
            },
            "valid": verdict.valid,
            "interrupted_by": run.interrupted_by,
            "slo": _slo(run, verdict, found),
            "totals": found,
            "rate": _rate(run, found),
            **_latencies(run, found, None),
            "lateness_ns": latencies(run.tally.histogram("lateness")),
            "per_server": {url: _per_server(run, index) for index, url in enumerate(urls)},
            "server_stats": {url: _stats(run, index) for index, url in enumerate(urls)},
            "switches": describe_switches(run, urls, outages),
            "outages": outages,
            "detector": _detector(run),
            "client": _client(run, verdict),
            "energy": energy_part(run, urls),
            "cost": cost_part(run),
        }
    )


def latencies(histogram: Histogram, population: int | None = None) -> Latencies:
    """Nearest-rank figures; ``population`` may exceed the values, as in Histogram."""
    complete = population is None or population <= histogram.count
    return Latencies(
        mean=histogram.mean_ns if complete else None,
        p50=histogram.percentile_ns(50, population),
        p90=histogram.percentile_ns(90, population),
        p95=histogram.percentile_ns(95, population),
        p99=histogram.percentile_ns(99, population),
        p999=histogram.percentile_ns(99.9, population),
        max=histogram.max_ns if complete else None,
    )


def _latencies(run: RunData, found: Totals, server: int | None) -> dict[str, Latencies]:
    response = run.tally.histogram("response", server)
    return {
        "response_ns": latencies(response, found.population),
        "response_ok_ns": latencies(response),
        "service_ns": latencies(run.tally.histogram("service", server)),
        "send_delay_ns": latencies(run.tally.histogram("send_delay", server)),
    }


def span_ns(run: RunData) -> int:
    """What rates are over: the planned duration, or up to the cut."""
    return max(1, run.end_ns)


def _rate(run: RunData, found: Totals) -> Rate:
    seconds = span_ns(run) / NS_PER_S
    ok, in_slo = (int(count) for count in run.tally.inside.sum(axis=0))
    return Rate(
        target=run.spec.rate,
        offered=found.scheduled / seconds,
        sent=found.sent / seconds,
        ok=ok / seconds,
        in_slo=in_slo / seconds,
        dropped=found.dropped / seconds,
    )


def _slo(run: RunData, verdict: Verdict, found: Totals) -> SloPart | None:
    slo = run.config.slo
    if slo is None:
        return None
    return SloPart(
        threshold_ns=slo.threshold_ns,
        limit=slo.limit,
        text=slo.text,
        violation_share=found.violation_share,
        held=verdict.slo_held,
    )


def _per_server(run: RunData, index: int) -> PerServer:
    found = totals(run.tally, index)
    return PerServer(
        totals=found,
        **_latencies(run, found, index),
        errors=error_codes(run.tally, index),
        reasons=failure_reasons(run.tally, index),
        in_flight_max=sum(worker.in_flight_max[index] for worker in run.workers),
        kept_warm=_kept_warm(run, index),
    )


def _kept_warm(run: RunData, index: int) -> KeptWarm:
    if not run.kept_warm:
        return KeptWarm()
    return KeptWarm(sent=run.kept_warm[index].sent, ok=run.kept_warm[index].ok)


def _detector(run: RunData) -> DetectorPart:
    switching = run.config.switching
    window_ns = evidence_window_ns(run.config)
    if switching.rule == "plain":
        window_ns = switching.given_window_ns or PLAIN_WINDOW_NS
    return DetectorPart(
        rule=switching.rule,
        window_ns=window_ns,
        stall_tolerance_ns=switching.stall_tolerance_ns,
        blind_ns=run.blind_ns,
    )


def _stats(run: RunData, index: int) -> ServerStats:
    before, after = run.stats_before[index], run.stats_after[index]
    done: StatsDelta | None = None
    reason: str | None = "no statistics were taken"
    if before is not None and after is not None:
        outcome = delta(before, after)
        done, reason = outcome.delta, outcome.reason
    unknown: Mapping[str, Any] = dict.fromkeys(StatsDelta.__dataclass_fields__)
    if done is not None:
        # A server may say anything of itself.
        with contextlib.suppress(ValidationError):
            return ServerStats.model_validate({**asdict(done), "reason": reason})
        reason = "its figures are beyond reason"
    return ServerStats.model_validate({**unknown, "reason": reason})


def _client(run: RunData, verdict: Verdict) -> Client:
    busy = _busy(run.workers, span_ns(run))
    starved = not run.spin and busy is not None and busy > BUSY_LIMIT
    return Client(
        spin=run.spin,
        busy=busy,
        connections=run.config.connections,
        path_floor_ns=run.path_floor_ns,
        limiting=starved or any(reason.code in LIMITING for reason in verdict.invalid_reasons),
    )


def _busy(workers: list[WorkerReport], over_ns: int) -> float | None:
    used_s = [worker.cpu_s for worker in workers if worker.cpu_s is not None]
    if not used_s:
        return None
    return min(1.0, sum(used_s) / len(used_s) / (over_ns / NS_PER_S))
