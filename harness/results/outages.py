"""Outages: times without an answer within the SLO, what failed in them, when all was well again."""

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from harness._tally import BUCKET_FIELDS
from harness.config import NS_PER_S, BenchConfig
from harness.detector.detector import limit_of
from harness.detector.rules import window_ns
from harness.records import BUCKET_NS
from harness.results.bounds import Count, DurationNs, TimeNs
from harness.results.parts import Part
from harness.results.rundata import RunData

MAX_OUTAGES = 20
LEAST_MEAN_GAPS = 5

Counts = NDArray[np.int64]


class Failed(Part):
    """Violations by what became of their slots; they sum up to ``failed``."""

    error_or_timeout: Count
    slow: Count  # OK answers, too late
    other: Count  # dropped at the cap, cancelled, lost


class Outage(Part):
    """A time without an answer within the SLO."""

    t_start_ns: TimeNs  # the last such answer before it, or 0
    t_end_ns: TimeNs  # the next one, or the end of the planned time, or the cut
    failed: Count  # violations of the slots due in the buckets it touches
    failed_by: Failed
    recovery_ns: DurationNs | None
    """From t_start_ns to the end of a full window within L; None: none came."""

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> "Outage":
        if self.t_end_ns < self.t_start_ns:
            raise ValueError("an outage ends before it starts")
        return self

    @property
    def duration_ns(self) -> int:
        """How long no answer was in time."""
        return self.t_end_ns - self.t_start_ns


def find_outages(run: RunData) -> list[Outage]:
    """The longest outage of the run, and the others of at least ``least_outage_ns``, in order.

    The longest MAX_OUTAGES at most; none of a run that ended at 0. From the tally alone, so the
    same with rows and without. It knows the first and the last answer in each bucket of completion
    time (50 ms): an outage of 50 ms or more is exact, a shorter one may go unseen.
    """
    spans_ns = silences_ns(run.tally.answers, run.end_ns)
    lengths_ns = spans_ns[:, 1] - spans_ns[:, 0]
    ranked = np.argsort(-lengths_ns, kind="stable")[:MAX_OUTAGES]
    least_ns = least_outage_ns(run.rate, run.config.switching.stall_tolerance_ns)
    chosen = [*ranked[:1], *ranked[1:][lengths_ns[ranked[1:]] >= least_ns]]
    buckets = run.tally.buckets.sum(axis=0)
    recovery = _Recovery(run, buckets)
    found = []
    for start_ns, end_ns in spans_ns[sorted(chosen)].tolist():
        due = buckets[start_ns // BUCKET_NS : (end_ns - 1) // BUCKET_NS + 1]
        found.append(
            Outage(
                t_start_ns=start_ns,
                t_end_ns=end_ns,
                recovery_ns=recovery.after_ns(start_ns, end_ns),
                failed=int(due[:, BUCKET_FIELDS.index("violations")].sum()),
                failed_by=_failed_by(due),
            )
        )
    return found


def silences_ns(answers: Counts, end_ns: int) -> Counts:
    """[start, end) of each time without an answer up to ``end_ns``; ``answers`` as in Tally."""
    answered = np.minimum(answers[answers[:, 0] >= 0], end_ns)
    spans_ns = np.empty((len(answered) + 1, 2), dtype=np.int64)
    spans_ns[0, 0], spans_ns[-1, 1] = 0, end_ns
    spans_ns[1:, 0], spans_ns[:-1, 1] = answered[:, 1], answered[:, 0]
    return spans_ns[spans_ns[:, 1] > spans_ns[:, 0]]


def least_outage_ns(rate: float, stall_tolerance_ns: int) -> int:
    """max(stall tolerance, 5 mean gaps of the planned rate): less may be the arrivals' doing."""
    return max(stall_tolerance_ns, math.ceil(LEAST_MEAN_GAPS * NS_PER_S / rate))


def evidence_window_ns(config: BenchConfig) -> int | None:
    """W = max(5 s, S / L), or the window that was given; None without an SLO."""
    if config.slo is None:
        return None
    if config.switching.given_window_ns is not None:
        return config.switching.given_window_ns
    return window_ns(limit_of(config.slo), config.switching.stall_tolerance_ns)


def _failed_by(buckets: Counts) -> Failed:
    """What ``buckets``, by [bucket, BUCKET_FIELDS], say of their violations."""
    found = dict(zip(BUCKET_FIELDS, map(int, buckets.sum(axis=0)), strict=True))
    # Every slot in time is OK, and every error and timeout is a violation.
    slow = found["ok"] - (found["decided"] - found["violations"])
    other = found["violations"] - found["errors"] - slow
    return Failed(error_or_timeout=found["errors"], slow=slow, other=other)


class _Recovery:
    """Where full windows within the limit begin."""

    def __init__(self, run: RunData, buckets: Counts) -> None:
        width_ns = evidence_window_ns(run.config)
        self.starts: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self.width = 0
        if run.config.slo is None or width_ns is None:
            return
        self.width = -(-width_ns // BUCKET_NS)
        full = run.end_ns // BUCKET_NS
        if full < self.width:
            return
        limit = limit_of(run.config.slo)
        decided, violations = (
            self._sums(buckets[:full, BUCKET_FIELDS.index(name)])
            for name in ("decided", "violations")
        )
        # Python's integers: the products of a share with many digits need more than 64 bits.
        allowed = decided.astype(object) * limit.numerator
        held = violations.astype(object) * limit.denominator <= allowed
        self.starts = np.flatnonzero(held.astype(bool) & (decided > 0))

    def after_ns(self, start_ns: int, end_ns: int) -> int | None:
        """From ``start_ns`` to the end of the first such window that begins at ``end_ns`` or later.

        None if there is none.
        """
        following = np.searchsorted(self.starts, -(-end_ns // BUCKET_NS))
        if following == len(self.starts):
            return None
        return (int(self.starts[following]) + self.width) * BUCKET_NS - start_ns

    def _sums(self, counts: Counts) -> Counts:
        """Of every ``width`` consecutive buckets, by the first one."""
        sums: Counts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
        within: Counts = sums[self.width :] - sums[: -self.width]
        return within
