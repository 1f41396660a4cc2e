"""Whether the instrument's figures can be trusted, and if not, why and what to do."""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

from pydantic import BaseModel, ConfigDict

from harness.config import NS_PER_S
from harness.results.books import Imbalance
from harness.results.rundata import RunData
from harness.results.totals import Totals
from harness.units import format_latency_ms

LATENESS_FLOOR_NS = 100_000
CLIENT_LATE_LIMIT = 0.01
MIN_SLOTS_BEYOND = 10
"""How many slots must lie above a percentile that was asked for."""

MAX_SHOWN_IMBALANCES = 10

ALWAYS_FATAL = frozenset({"books", "overflow"})
"""Reasons that ``allow_invalid`` does not excuse."""


class InvalidReason(BaseModel):
    """Why the instrument's figures cannot be trusted, and what to do."""

    model_config = ConfigDict(frozen=True)

    code: str
    text: str
    advice: str


def invalid_reasons(
    run: RunData, found: Totals, imbalances: Sequence[Imbalance]
) -> list[InvalidReason]:
    """All of them; empty if the run is valid. ``found``: the totals of the run."""
    return [
        *_books(imbalances),
        *_overflow(run),
        *_workers(run),
        *_client_late(run, found),
        *_interrupted(run),
        *_too_few(run, found),
    ]


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
    load = "--concurrency" if run.spec.closed else "--rate"
    advice = f"give it idle CPUs (--cpus), more --workers, or a lower {load}"
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
            text=f"interrupted by {run.interrupted_by}{when}: {run.slots_until_cut}"
            + (" slots" if run.spec.closed else f" of {run.plan.slots} planned slots"),
            advice="run again and let it end",
        )


def _too_few(run: RunData, found: Totals) -> Iterator[InvalidReason]:
    percent = run.config.percentile
    if percent is None:
        return
    needed = math.ceil(100 * MIN_SLOTS_BEYOND / (100 - Fraction(str(percent))))
    if found.population < needed:
        seconds = math.ceil(needed / run.rate)
        yield InvalidReason(
            code="too_few_requests",
            text=f"{found.population} slots are too few for p{percent:g}, which needs {needed}",
            advice=f"run for {seconds} s or more at this rate (--duration {seconds}s)",
        )
