"""What a run's figures are worth (validity) and what the servers did (findings)."""

import math
import signal
from collections.abc import Iterator, Sequence
from fractions import Fraction

from pydantic import BaseModel, ConfigDict

from harness._tally import Tally
from harness.config import NS_PER_MS, NS_PER_S, BenchConfig
from harness.control.server_stats import Snapshot, delta
from harness.grpc_codes import GRPC_CODES
from harness.load.limits import MAX_RECORDED_SLOTS
from harness.records import Reason
from harness.results.books import Imbalance
from harness.results.rundata import RunData
from harness.results.totals import Totals, totals
from harness.units import format_latency_ms
from harness.untrusted import clean_text

LATENESS_FLOOR_NS = 100_000
CLIENT_LATE_LIMIT = 0.01
MIN_SLOTS_BEYOND = 10
"""How many slots must lie above a percentile that was asked for."""

MAX_SHOWN_IMBALANCES = 10

ALWAYS_FATAL = frozenset({"books", "overflow"})
"""Reasons that ``allow_invalid`` does not excuse."""

EXIT_RESULTS, EXIT_INVALID, EXIT_VIOLATED = 5, 4, 99

STATUS_COLUMNS = ("NO_STATUS", *GRPC_CODES[1:], "OTHER")
"""Names of the columns of ``Tally.statuses``."""


class InvalidReason(BaseModel):
    """Why the instrument's figures cannot be trusted, and what to do."""

    model_config = ConfigDict(frozen=True)

    code: str
    text: str
    advice: str


class Finding(BaseModel):
    """Something the servers did, or that a reader of the figures should know."""

    model_config = ConfigDict(frozen=True)

    code: str
    text: str


class Verdict(BaseModel):
    """``valid`` speaks of the instrument only. ``slo_held`` is None without an SLO."""

    model_config = ConfigDict(frozen=True)

    valid: bool
    invalid_reasons: list[InvalidReason]
    findings: list[Finding]
    slo_held: bool | None


def judge(run: RunData, imbalances: Sequence[Imbalance]) -> Verdict:
    """Validity with its reasons, and the findings, of one run."""
    found = totals(run.tally)
    reasons = [
        *_books(imbalances),
        *_overflow(run),
        *_workers(run),
        *_client_late(run, found),
        *_interrupted(run),
        *_too_few(run, found),
    ]
    held = _slo_held(run.config, found)
    findings = [
        *_slo(run.config, found, held),
        *_backpressure(run, found),
        *_executed(run),
        *_errors(run),
        *_records(run),
    ]
    return Verdict(valid=not reasons, invalid_reasons=reasons, findings=findings, slo_held=held)


def exit_code(
    run: RunData, verdict: Verdict, config: BenchConfig, *, results_failed: bool = False
) -> int:
    """Of the process: 130 or 143 interrupted, 5 no results, 4 invalid, 99 SLO broken, else 0."""
    if run.interrupted_by is not None:
        return 128 + signal.Signals[run.interrupted_by]
    if results_failed:
        return EXIT_RESULTS
    fatal = any(reason.code in ALWAYS_FATAL for reason in verdict.invalid_reasons)
    if not verdict.valid and (fatal or not config.allow_invalid):
        return EXIT_INVALID
    if config.fail_on_violation and verdict.slo_held is False:
        return EXIT_VIOLATED
    return 0


def lateness_limit_ns(run: RunData, found: Totals) -> float:
    """The p99 of lateness a valid run may have: max(100 us, a tenth of the median response)."""
    median_ns = run.tally.histogram("response").percentile_ns(50, found.population)
    # A median among slots without an OK answer is longer than any answer could take.
    return max(LATENESS_FLOOR_NS, (run.config.timeout_ns if median_ns is None else median_ns) / 10)


def _books(imbalances: Sequence[Imbalance]) -> Iterator[InvalidReason]:
    if not imbalances:
        return
    texts = [f"rule {one.rule}: {one.text}" for one in imbalances[:MAX_SHOWN_IMBALANCES]]
    if (more := len(imbalances) - len(texts)) > 0:
        texts.append(f"{more} more")
    yield InvalidReason(
        code="books",
        text="the books do not balance: " + "; ".join(texts),
        advice="do not use these figures; report this with the results directory",
    )


def _overflow(run: RunData) -> Iterator[InvalidReason]:
    if overflowed := sum(worker.overflowed for worker in run.workers):
        yield InvalidReason(
            code="overflow",
            text=f"{overflowed} records found their ring full",
            advice="lower the rate, or leave the coordinator a CPU that no worker uses (--cpus)",
        )


def _workers(run: RunData) -> Iterator[InvalidReason]:
    lost = [worker for worker in run.workers if worker.state != "finished"]
    if lost:
        which = ", ".join(f"{worker.index} (pid {worker.pid}) {worker.state}" for worker in lost)
        yield InvalidReason(
            code="worker_lost",
            text=f"{len(lost)} of {len(run.workers)} workers did not finish: {which}",
            advice="look for the kernel's out-of-memory killer and for signals sent to them",
        )


def _client_late(run: RunData, found: Totals) -> Iterator[InvalidReason]:
    advice = "give it idle CPUs (--cpus), more --workers, or a lower --rate"
    p99_ns = run.tally.histogram("lateness").percentile_ns(99)
    limit_ns = lateness_limit_ns(run, found)
    if p99_ns is not None and p99_ns > limit_ns:
        yield InvalidReason(
            code="client_late",
            text=f"the client was late: p99 lateness {format_latency_ms(p99_ns)} ms, more than"
            f" {format_latency_ms(round(limit_ns))} ms",
            advice=advice,
        )
    # Both are bounds on the same lateness, so the slots over the larger one are among the others.
    late = max(found.client_late, found.dropped_client)
    if late > CLIENT_LATE_LIMIT * found.scheduled:
        yield InvalidReason(
            code="client_late_slots",
            text=f"the client came late to {late} of {found.scheduled} slots"
            f" ({found.dropped_client} of them dropped), more than {100 * CLIENT_LATE_LIMIT:g} %",
            advice=advice,
        )


def _interrupted(run: RunData) -> Iterator[InvalidReason]:
    if run.interrupted_by is not None:
        when = "" if run.cut_ns is None else f" at {run.cut_ns / NS_PER_S:.3f} s"
        yield InvalidReason(
            code="interrupted",
            text=f"interrupted by {run.interrupted_by}{when}: {run.slots_until_cut} of"
            f" {run.plan.slots} planned slots",
            advice="run again and let it end",
        )


def _too_few(run: RunData, found: Totals) -> Iterator[InvalidReason]:
    percent = run.config.percentile
    if percent is None:
        return
    needed = math.ceil(100 * MIN_SLOTS_BEYOND / (100 - Fraction(str(percent))))
    if found.population < needed:
        seconds = math.ceil(needed / run.config.rate)
        yield InvalidReason(
            code="too_few_requests",
            text=f"{found.population} slots are too few for p{percent:g}, which needs {needed}",
            advice=f"run for {seconds} s or more at this rate (--duration {seconds}s)",
        )


def _slo_held(config: BenchConfig, found: Totals) -> bool | None:
    if config.slo is None or found.violation_share is None:
        return None
    return found.violation_share <= config.slo.limit


def _slo(config: BenchConfig, found: Totals, held: bool | None) -> Iterator[Finding]:
    if config.slo is not None and held is False:
        yield Finding(
            code="slo_broken",
            text=f"SLO broken: {found.violations} of {found.decided} decided slots violated"
            f" {config.slo.threshold_ns / NS_PER_MS:g} ms, {100 * config.slo.limit:.4g} % may",
        )


def _backpressure(run: RunData, found: Totals) -> Iterator[Finding]:
    if found.dropped_backpressure:
        yield Finding(
            code="backpressure",
            text=f"rate not reached: {found.dropped_backpressure} slots dropped after waiting at"
            f" the cap of {run.inflight_cap} requests in flight a server",
        )


def _executed(run: RunData) -> Iterator[Finding]:
    for index, server in enumerate(run.servers):
        before, after = run.stats_before[index], run.stats_after[index]
        if before is None or after is None:
            continue
        handed = totals(run.tally, index).sent
        executed = executed_requests(before, after)
        if executed is not None and executed != handed:
            yield Finding(
                code="executed_differs",
                text=f"{clean_text(server['url'])}: {handed} requests handed, {executed} executed"
                " by its own statistics",
            )


def executed_requests(before: Snapshot, after: Snapshot) -> int | None:
    """Requests the server says it executed in between, failed ones too; None if not known."""
    done = delta(before, after).delta
    return None if done is None else done.executed + done.failed


def error_codes(tally: Tally, server: int) -> dict[str, int]:
    """Error outcomes of a server (or, for the last row, of none) by gRPC status, none left out."""
    counts = tally.statuses[server]
    return {name: int(count) for name, count in zip(STATUS_COLUMNS, counts, strict=True) if count}


def failure_reasons(tally: Tally, server: int) -> dict[str, int]:
    """Slots of a server by why they are not OK, none left out."""
    counts = tally.reasons[server]
    return {
        reason.name.lower(): int(counts[reason])
        for reason in Reason
        if reason is not Reason.NONE and counts[reason]
    }


def _errors(run: RunData) -> Iterator[Finding]:
    for index, server in enumerate(run.servers):
        if codes := error_codes(run.tally, index):
            shown = ", ".join(f"{count} {name}" for name, count in codes.items())
            why = ", ".join(
                f"{count} {name.replace('_', ' ')}"
                for name, count in failure_reasons(run.tally, index).items()
                if name not in ("grpc_status", "backpressure", "client")
            )
            yield Finding(
                code="errors",
                text=f"{clean_text(server['url'])}: errors: {shown}" + (why and f" ({why})"),
            )


def _records(run: RunData) -> Iterator[Finding]:
    if run.config.records == "auto" and run.tally.rows is None:
        yield Finding(
            code="no_records",
            text=f"requests.npy not kept: {run.plan.slots} slots are more than"
            f" {MAX_RECORDED_SLOTS} (--records all keeps it)",
        )
