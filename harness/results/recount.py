"""The coordinator's counts once more, from the rows alone."""

import numpy as np
from numpy.typing import NDArray

from harness._tally import BUCKET_FIELDS, EPOCH_LIMIT, EVIDENCE_FIELDS, INSIDE_FIELDS, Tally
from harness.records import BUCKET_NS, Decision, Flag, Outcome, Reason

Mask = NDArray[np.bool_]

COUNTED = ("counts", "buckets", "evidence", "inside", "reasons", "statuses", "answers", "epochs")
"""The arrays of a Tally that its rows determine."""


class Recount:
    """Arrays shaped and meant as those of ``tally``, filled from rows in chunks.

    A slot is decided once, so its final record alone says in which bucket it counts.
    """

    def __init__(self, tally: Tally) -> None:
        self.duration_ns = tally.duration_ns
        self.servers = tally.servers
        self.counts = np.zeros_like(tally.counts)
        self.buckets = np.zeros_like(tally.buckets)
        self.evidence = np.zeros_like(tally.evidence)
        self.inside = np.zeros_like(tally.inside)
        self.reasons = np.zeros_like(tally.reasons)
        self.statuses = np.zeros_like(tally.statuses)
        self.answers = np.full_like(tally.answers, -1)
        self.epochs = np.full_like(tally.epochs, -1)
        self.epochs[:, 0] = 0

    def add(self, rows: NDArray[np.void]) -> int:
        """Count rows of RECORD; return how many fit no array and were left out."""
        bucket = rows["t_sched_ns"] // BUCKET_NS
        fitting = (
            (rows["outcome"] != Outcome.NONE)
            & (rows["outcome"] <= max(Outcome))
            & (rows["decision"] <= max(Decision))
            & (bucket >= 0)
            & (bucket < self.buckets.shape[1])
        )
        left_out = len(rows) - int(np.count_nonzero(fitting))
        if left_out:
            rows, bucket = rows[fitting], bucket[fitting]
        if not len(rows):
            return left_out
        server = np.minimum(rows["server"], self.servers).astype(np.intp)
        outcome = rows["outcome"].astype(np.intp)
        decision = rows["decision"].astype(np.intp)
        ok = outcome == Outcome.OK
        error = outcome == Outcome.ERROR
        _count(self.counts, (server, outcome, decision))
        _count(self.reasons, (server, rows["reason"] % self.reasons.shape[1]))
        codes = np.minimum(rows["status"][error], self.statuses.shape[1] - 1)
        _count(self.statuses, (server[error], codes))
        inside = ok & (rows["t_done_ns"] < self.duration_ns)
        in_slo = inside & (decision == Decision.IN_TIME)
        for field, mask in zip(INSIDE_FIELDS, (inside, in_slo), strict=True):
            _count(self.inside[:, INSIDE_FIELDS.index(field)], (server[mask],))
        self._add_answers(rows["t_done_ns"][in_slo])
        handed = outcome <= Outcome.LOST
        self._add_handed(rows["epoch"][handed], rows["slot"][handed])
        late = rows["flags"] & Flag.CLIENT_LATE != 0
        at_cap = rows["reason"] == Reason.BACKPRESSURE
        overdue = rows["flags"] & Flag.OVERDUE != 0
        decided = decision != Decision.UNDECIDED
        _add_buckets(
            self.evidence,
            EVIDENCE_FIELDS,
            server,
            bucket,
            {
                "decided": decided & ~late,
                "violations": (decision > Decision.IN_TIME) & ~late,
                "slow": ((decision == Decision.SLOW) | at_cap) & ~late,
                "late_failed": late & (overdue | error),
                "late_answered": late & ok & ~overdue,
            },
        )
        _add_buckets(
            self.buckets,
            BUCKET_FIELDS,
            server,
            bucket,
            {
                "decided": decided,
                "violations": decision > Decision.IN_TIME,
                "ok": ok,
                "errors": error | (outcome == Outcome.TIMEOUT),
                "client_late": late,
            },
        )
        return left_out

    def _add_answers(self, t_done_ns: NDArray[np.int64]) -> None:
        t_done_ns = t_done_ns[t_done_ns >= 0]
        _widen(self.answers, t_done_ns // BUCKET_NS, t_done_ns)

    def _add_handed(self, epoch: NDArray[np.uint32], slot: NDArray[np.int64]) -> None:
        row = np.minimum(epoch, EPOCH_LIMIT - 1)
        self.epochs[:, 0] += np.bincount(row, minlength=EPOCH_LIMIT)
        _widen(self.epochs[:, 1:], row, slot)


def _widen(spans: NDArray[np.int64], index: NDArray[np.integer], values: NDArray[np.int64]) -> None:
    """Stretch ``spans`` [first, last] at ``index`` to ``values`` (>= 0); -1: nothing yet."""
    # The lower end is -1 at first, the highest number there is once it has no sign.
    np.minimum.at(spans[:, 0].view(np.uint64), index, values.astype(np.uint64))
    np.maximum.at(spans[:, 1], index, values)


def _add_buckets(
    into: NDArray[np.int64],
    names: tuple[str, ...],
    server: NDArray[np.intp],
    bucket: NDArray[np.int64],
    fields: dict[str, Mask],
) -> None:
    # Rows come in order of time, so a chunk lies in few buckets: only those are touched.
    first, end = int(bucket.min()), int(bucket.max()) + 1
    part = into[:, first:end]
    for field, mask in fields.items():
        target = part[:, :, names.index(field)]
        _count(target, (server[mask], bucket[mask] - first))


def _count(into: NDArray[np.int64], index: tuple[NDArray[np.integer], ...]) -> None:
    """``np.add.at(into, index, 1)``, by one bincount."""
    if len(index[0]):
        flat = np.ravel_multi_index(index, into.shape)
        into += np.bincount(flat, minlength=into.size).reshape(into.shape)
