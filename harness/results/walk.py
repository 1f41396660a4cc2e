"""One pass over the rows of a run, slot by slot: what each must look like."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.plan import CHUNK, PlanFacts
from harness.records import Decision, Flag, Outcome, Reason
from harness.results.recount import Recount
from harness.results.requests_file import release_rows
from harness.results.rundata import RunData
from harness.results.totals import HANDED

RELEASE_EVERY_SLOTS = 16 * CHUNK
"""How many rows may be in memory at a time."""


@dataclass(frozen=True)
class Imbalance:
    """One broken rule (1 to 5, as in docs/results.md) and what shows it, in one line."""

    rule: int
    text: str


class _Rows:
    """Notes what is wrong with rows, and counts them once more."""

    def __init__(self, run: RunData) -> None:
        self._suspects: dict[tuple[int, str], tuple[int, int]] = {}
        self._run = run
        self._slo_ns = np.iinfo(np.int64).max
        if run.config.slo is not None:
            self._slo_ns = run.config.slo.threshold_ns
        self.recount = None if run.tally.rows is None else Recount(run.tally)

    def imbalances(self) -> Iterator[Imbalance]:
        for (rule, what), (count, first) in self._suspects.items():
            yield Imbalance(rule, f"{what}: {count} slots, the first is {first}")

    def _note(self, rule: int, what: str, suspect: NDArray[np.bool_], slots: NDArray[Any]) -> None:
        if found := int(np.count_nonzero(suspect)):
            count, first = self._suspects.get((rule, what), (0, int(slots[suspect.argmax()])))
            self._suspects[rule, what] = (count + found, first)

    def _check(
        self, rows: NDArray[np.void], offsets_ns: NDArray[np.int64] | None, slots: NDArray[Any]
    ) -> None:
        """Rows of ``slots``, each of which must have one; no offsets: t_sched must be t_taken."""
        present = rows["outcome"] != Outcome.NONE
        self._note(4, "no final record", ~present, slots)
        if not present.all():
            rows, slots = rows[present], slots[present]
            offsets_ns = None if offsets_ns is None else offsets_ns[present]
        self._note(4, "the row is another slot's", rows["slot"] != slots, slots)
        workers = max(1, len(self._run.workers))
        self._note(4, "recorded by another's worker", rows["worker"] != slots % workers, slots)
        if offsets_ns is None:
            unlike = rows["t_sched_ns"] != rows["t_taken_ns"]
            self._note(3, "t_sched differs from t_taken", unlike, slots)
        else:
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


class Walk(_Rows):
    """Along the plan: ``plan`` and ``until_cut`` are what it says, recomputed."""

    def __init__(self, run: RunData) -> None:
        super().__init__(run)
        rows = run.tally.rows
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
                self._check(used, offsets_ns[: len(used)], np.arange(slots, slots + len(used)))
                self._check_unused(rows[slots + kept : slots + len(offsets_ns)], slots + kept)
                if slots % RELEASE_EVERY_SLOTS == 0:
                    release_rows(rows)
            slots += len(offsets_ns)
        if rows is not None:
            self._check_unused(rows[slots:], slots)
        self.plan = PlanFacts(slots, digest.hexdigest())

    def share(self, worker: int) -> int:
        """Slots that worker must have come to the end of."""
        return len(range(worker, self.until_cut, len(self._run.workers)))


class ClosedWalk(_Rows):
    """Along the slots that the workers say they have taken, each as many as it could."""

    def __init__(self, run: RunData) -> None:
        super().__init__(run)
        rows = run.tally.rows
        taken = np.array([worker.taken for worker in run.workers], dtype=np.int64)
        self.until_cut = int(taken.sum())
        self.plan = PlanFacts(self.until_cut, None)
        if rows is None:
            return
        workers = len(taken)
        last_ns = run.spec.duration_ns if run.cut_ns is None else run.cut_ns
        end = max(run.tally.slots_end, int(max(taken)) * workers)
        for first in range(0, min(end, len(rows)), CHUNK):
            slots = np.arange(first, min(first + CHUNK, end, len(rows)))
            chunk = rows[first : first + len(slots)]
            due = slots // workers < taken[slots % workers]
            self._check(chunk[due], None, slots[due])
            self._note(3, "taken after the cut", chunk["t_taken_ns"] > last_ns, slots)
            self._note(4, "a record after the cut", ~due & (chunk["outcome"] != 0), slots)
            if first % RELEASE_EVERY_SLOTS == 0:
                release_rows(rows)

    def share(self, worker: int) -> int:
        """Slots that worker has taken."""
        return self._run.workers[worker].taken
