"""The accounting that always holds: five rules over what a run left in memory."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness._tally import BUCKET_FIELDS
from harness.plan import PlanFacts
from harness.records import Decision, Outcome
from harness.results.recount import COUNTED
from harness.results.rundata import RunData
from harness.results.totals import HANDED, VIOLATION, totals
from harness.results.walk import ClosedWalk, Imbalance, Walk

__all__ = ["Imbalance", "check_books"]

UNDECIDABLE = (Outcome.DROPPED, Outcome.UNSENT, Outcome.CANCELLED, Outcome.LOST)
"""Outcomes of slots that may stay undecided."""


def check_books(run: RunData) -> list[Imbalance]:
    """Everything that does not balance; empty if the books do.

    1 scheduled = handed + dropped + unsent, each handed slot has one outcome at one server;
    2 scheduled = decided + undecided, each decided once and as its times say;
    3 scheduled = the plan's slots up to the cut, at the plan's times;
    4 each slot has exactly one row, and no ring record was lost;
    5 counts and buckets equal a recount from the rows.

    Walks the plan once, in chunks. Without rows the rules are checked on the counts alone.
    """
    walk = ClosedWalk(run) if run.spec.closed else Walk(run)
    return [
        *_handed(run),
        *_decided(run),
        *_planned(run, walk),
        *_recorded(run, walk),
        *_recounted(run, walk),
        *walk.imbalances(),
    ]


def _handed(run: RunData) -> Iterator[Imbalance]:
    """Rule 1, on the counts."""
    counts = run.tally.counts
    found = totals(run.tally)
    if found.scheduled != found.sent + found.dropped + found.unsent:
        yield Imbalance(
            1,
            f"{found.scheduled} scheduled, but {found.sent} handed + {found.dropped} dropped"
            f" + {found.unsent} unsent",
        )
    if nobodys := int(counts[run.tally.servers, list(HANDED)].sum()):
        yield Imbalance(1, f"{nobodys} slots were handed to no server")
    if run.in_flight_after_drain:
        yield Imbalance(1, f"{run.in_flight_after_drain} requests in flight after the drain")


def _decided(run: RunData) -> Iterator[Imbalance]:
    """Rule 2, on the counts."""
    counts = run.tally.counts.sum(axis=0)
    undecided = counts[:, Decision.UNDECIDED]
    in_time = counts[:, Decision.IN_TIME]
    for outcome in Outcome:
        name = outcome.name.lower()
        if outcome not in UNDECIDABLE and undecided[outcome]:
            yield Imbalance(2, f"{undecided[outcome]} slots ended {name} and were never decided")
        if outcome is not Outcome.OK and in_time[outcome]:
            yield Imbalance(2, f"{in_time[outcome]} slots ended {name} and count as in time")
    if judged := int(counts[Outcome.UNSENT, list(VIOLATION)].sum()):
        yield Imbalance(2, f"{judged} slots were never sent and count as violations")
    if run.config.slo is None and (slow := int(counts[:, Decision.SLOW].sum())):
        yield Imbalance(2, f"{slow} slots are slow without an SLO")
    found = run.tally.buckets.sum(axis=(0, 1))
    for field, column in (("decided", [Decision.IN_TIME, *VIOLATION]), ("violations", VIOLATION)):
        of_buckets = int(found[BUCKET_FIELDS.index(field)])
        of_slots = int(counts[:, list(column)].sum())
        if of_buckets != of_slots:
            yield Imbalance(2, f"{of_slots} slots count as {field}, the buckets say {of_buckets}")


def _planned(run: RunData, walk: Walk | ClosedWalk) -> Iterator[Imbalance]:
    """Rule 3, but for the rows' times."""
    if run.plan != walk.plan:
        yield Imbalance(
            3,
            f"plan of {_shown(run.plan)}; walked again: {_shown(walk.plan)}",
        )
    if run.slots_until_cut != walk.until_cut:
        yield Imbalance(
            3, f"{run.slots_until_cut} slots up to the cut; walked again: {walk.until_cut}"
        )
    scheduled = int(run.tally.counts.sum())
    if scheduled != walk.until_cut:
        yield Imbalance(3, f"{scheduled} slots have an end, the plan has {walk.until_cut}")


def _recorded(run: RunData, walk: Walk | ClosedWalk) -> Iterator[Imbalance]:
    """Rule 4, but for the rows."""
    if run.tally.duplicates:
        yield Imbalance(4, f"{run.tally.duplicates} slots ended a second time")
    if run.tally.strays:
        yield Imbalance(4, f"{run.tally.strays} records belong to no slot of the plan")
    if run.tally.rows is not None and run.tally.unrecorded:
        yield Imbalance(4, f"{run.tally.unrecorded} records found no row to lie in")
    rows = run.tally.rows
    if rows is not None and len(rows) < walk.until_cut:
        yield Imbalance(4, f"{len(rows)} rows for {walk.until_cut} slots")
    for worker in run.workers:
        if worker.overflowed:
            yield Imbalance(4, f"worker {worker.index}: {worker.overflowed} records overflowed")
        if worker.pushed != worker.popped + worker.overflowed:
            yield Imbalance(
                4, f"worker {worker.index}: {worker.pushed} records pushed, {worker.popped} popped"
            )
        share = walk.share(worker.index)
        if worker.slots != share:
            yield Imbalance(
                4, f"worker {worker.index}: {worker.slots} slots have an end, its share is {share}"
            )


def _recounted(run: RunData, walk: Walk | ClosedWalk) -> Iterator[Imbalance]:
    """Rule 5: counts against each other and, where rows were kept, against those."""
    tally = run.tally
    by_outcome = tally.counts.sum(axis=2)
    buckets = tally.buckets.sum(axis=1)
    errors = by_outcome[:, Outcome.ERROR]
    answers = by_outcome[:, Outcome.OK]
    pairs = {
        "OK answers in the buckets": (buckets[:, BUCKET_FIELDS.index("ok")], answers),
        "errors in the buckets": (
            buckets[:, BUCKET_FIELDS.index("errors")],
            errors + by_outcome[:, Outcome.TIMEOUT],
        ),
        "errors by status": (tally.statuses.sum(axis=1), errors),
        "slots by reason": (tally.reasons.sum(axis=1), by_outcome.sum(axis=1)),
        "response latencies": (_histogram_counts(run, "response"), answers),
        "service latencies": (_histogram_counts(run, "service"), answers),
    }
    for what, (found, expected) in pairs.items():
        if (found != expected).any():
            yield Imbalance(5, f"{what}: {found.sum()}, by outcome {expected.sum()}")
    if walk.recount is None:
        return
    for name in COUNTED:
        counted, again = getattr(tally, name), getattr(walk.recount, name)
        differing = counted != again
        if differing.any():
            yield Imbalance(
                5,
                f"{name}: {np.count_nonzero(differing)} figures differ from a recount of the rows,"
                f" the first is {counted[differing][0]}, recounted {again[differing][0]}",
            )


def _shown(plan: PlanFacts) -> str:
    return f"{plan.slots} slots" + (f", hash {plan.hash[:8]}" if plan.hash else "")


def _histogram_counts(run: RunData, name: str) -> NDArray[np.int64]:
    """Values in each server's histogram, those of no server last."""
    servers = range(run.tally.servers + 1)
    return np.array([run.tally.histogram(name, server).count for server in servers])
