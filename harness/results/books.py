"""The accounting that always holds: five rules over what a run left in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness._tally import BUCKET_FIELDS
from harness.plan import CHUNK, PlanFacts
from harness.records import Decision, Flag, Outcome, Reason
from harness.results.recount import COUNTED, Recount
from harness.results.requests_file import release_rows
from harness.results.rundata import RunData
from harness.results.totals import HANDED, VIOLATION, totals

UNDECIDABLE = (Outcome.DROPPED, Outcome.UNSENT, Outcome.CANCELLED, Outcome.LOST)
"""Outcomes of slots that may stay undecided."""

RELEASE_EVERY_SLOTS = 16 * CHUNK
"""How many rows may be in memory at a time."""


@dataclass(frozen=True)
class Imbalance:
    """One broken rule (1 to 5, as in docs/results.md) and what shows it, in one line."""

    rule: int
    text: str


def check_books(run: RunData) -> list[Imbalance]:
    """Everything that does not balance; empty if the books do.

    1 scheduled = handed + dropped + unsent, each handed slot has one outcome at one server;
    2 scheduled = decided + undecided, each decided once and as its times say;
    3 scheduled = the plan's slots up to the cut, at the plan's times;
    4 each slot has exactly one row, and no ring record was lost;
    5 counts and buckets equal a recount from the rows.

    Walks the plan once, in chunks. Without rows the rules are checked on the counts alone.
    """
    walk = _Walk(run)
    return [
        *_handed(run),
        *_decided(run),
        *_planned(run, walk),
        *_recorded(run, walk),
        *_recounted(run, walk),
        *walk.imbalances(),
    ]


class _Walk:
    """One pass over the plan and, where they were kept, the rows."""

    def __init__(self, run: RunData) -> None:
        self._suspects: dict[tuple[int, str], tuple[int, int]] = {}
        self._run = run
        self._slo_ns = np.iinfo(np.int64).max
        if run.config.slo is not None:
            self._slo_ns = run.config.slo.threshold_ns
        rows = run.tally.rows
        self.recount = None if rows is None else Recount(run.tally)
        self.until_cut = 0
        digest, slots = sha256(), 0
        for offsets_ns in run.spec.chunks():
            digest.update(offsets_ns.astype("<i8", copy=False).tobytes())
            kept = len(offsets_ns)
            if run.cut_ns is not None:
                kept = int(np.searchsorted(offsets_ns, run.cut_ns, side="right"))
            self.until_cut += kept
            if rows is not None:
                used = rows[slots : slots + kept]
                self._check(used, offsets_ns[: len(used)], slots)
                self._check_unused(rows[slots + kept : slots + len(offsets_ns)], slots + kept)
                if slots % RELEASE_EVERY_SLOTS == 0:
                    release_rows(rows)
            slots += len(offsets_ns)
        if rows is not None:
            self._check_unused(rows[slots:], slots)
        self.plan = PlanFacts(slots, digest.hexdigest())

    def imbalances(self) -> Iterator[Imbalance]:
        for (rule, what), (count, first) in self._suspects.items():
            yield Imbalance(rule, f"{what}: {count} slots, the first is {first}")

    def _note(self, rule: int, what: str, suspect: NDArray[np.bool_], slots: NDArray[Any]) -> None:
        if found := int(np.count_nonzero(suspect)):
            count, first = self._suspects.get((rule, what), (0, int(slots[suspect.argmax()])))
            self._suspects[rule, what] = (count + found, first)

    def _check(
        self, rows: NDArray[np.void], offsets_ns: NDArray[np.int64], first_slot: int
    ) -> None:
        slots = np.arange(first_slot, first_slot + len(rows))
        present = rows["outcome"] != Outcome.NONE
        self._note(4, "no final record", ~present, slots)
        if not present.all():
            rows, slots, offsets_ns = rows[present], slots[present], offsets_ns[present]
        self._note(4, "the row is another slot's", rows["slot"] != slots, slots)
        workers = max(1, len(self._run.workers))
        self._note(4, "recorded by another's worker", rows["worker"] != slots % workers, slots)
        self._note(3, "t_sched differs from the plan", rows["t_sched_ns"] != offsets_ns, slots)
        self._check_handing(rows, slots)
        self._check_decision(rows, slots)
        if self.recount is not None:
            self.recount.add(rows)

    def _check_handing(self, rows: NDArray[np.void], slots: NDArray[Any]) -> None:
        outcome = rows["outcome"]
        handed = np.isin(outcome, HANDED)
        self._note(1, "no such outcome", outcome > max(Outcome), slots)
        self._note(1, "handed, but never taken", handed & (rows["t_taken_ns"] < 0), slots)
        self._note(1, "sent, but not handed", ~handed & (rows["t_sent_ns"] >= 0), slots)
        self._note(
            1, "OK without an answer", (outcome == Outcome.OK) & (rows["t_done_ns"] < 0), slots
        )
        self._note(
            1,
            "dropped neither at the cap nor by the client",
            (outcome == Outcome.DROPPED)
            & ~np.isin(rows["reason"], (Reason.BACKPRESSURE, Reason.CLIENT)),
            slots,
        )

    def _check_decision(self, rows: NDArray[np.void], slots: NDArray[Any]) -> None:
        outcome, decision = rows["outcome"], rows["decision"]
        overdue = rows["flags"] & Flag.OVERDUE != 0
        in_time = rows["t_done_ns"] - rows["t_sched_ns"] <= self._slo_ns
        judged = np.where(in_time, Decision.IN_TIME, Decision.SLOW)
        self._note(2, "no such decision", decision > max(Decision), slots)
        # Judged overdue is judged for good, should an answer stamped just before come up after.
        self._note(
            2,
            "OK, and judged unlike its response latency",
            (outcome == Outcome.OK) & ~overdue & (decision != judged),
            slots,
        )
        self._note(2, "overdue, but not judged slow", overdue & (decision != Decision.SLOW), slots)
        self._note(
            2,
            "dropped by the client, but judged; or at the cap, and not judged",
            (outcome == Outcome.DROPPED)
            & ((rows["reason"] == Reason.CLIENT) != (decision == Decision.UNDECIDED)),
            slots,
        )

    def _check_unused(self, rows: NDArray[np.void], first_slot: int) -> None:
        slots = np.arange(first_slot, first_slot + len(rows))
        self._note(4, "a record after the cut", rows["outcome"] != Outcome.NONE, slots)


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


def _planned(run: RunData, walk: _Walk) -> Iterator[Imbalance]:
    """Rule 3, but for the rows' times."""
    if run.plan != walk.plan:
        yield Imbalance(
            3,
            f"plan of {run.plan.slots} slots, hash {run.plan.hash[:8]}; walked again:"
            f" {walk.plan.slots}, {walk.plan.hash[:8]}",
        )
    if run.slots_until_cut != walk.until_cut:
        yield Imbalance(
            3, f"{run.slots_until_cut} slots up to the cut; walked again: {walk.until_cut}"
        )
    scheduled = int(run.tally.counts.sum())
    if scheduled != walk.until_cut:
        yield Imbalance(3, f"{scheduled} slots have an end, the plan has {walk.until_cut}")


def _recorded(run: RunData, walk: _Walk) -> Iterator[Imbalance]:
    """Rule 4, but for the rows."""
    if run.tally.duplicates:
        yield Imbalance(4, f"{run.tally.duplicates} slots ended a second time")
    if run.tally.strays:
        yield Imbalance(4, f"{run.tally.strays} records belong to no slot of the plan")
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
        share = len(range(worker.index, walk.until_cut, len(run.workers)))
        if worker.slots != share:
            yield Imbalance(
                4, f"worker {worker.index}: {worker.slots} slots have an end, its share is {share}"
            )


def _recounted(run: RunData, walk: _Walk) -> Iterator[Imbalance]:
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


def _histogram_counts(run: RunData, name: str) -> NDArray[np.int64]:
    """Values in each server's histogram, those of no server last."""
    servers = range(run.tally.servers + 1)
    return np.array([run.tally.histogram(name, server).count for server in servers])
