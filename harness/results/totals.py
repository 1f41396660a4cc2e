"""How many slots of a run came to what: the figures every result and check starts from."""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from harness._tally import BUCKET_FIELDS, Tally
from harness.records import Decision, Outcome
from harness.results.bounds import Count

HANDED = (Outcome.OK, Outcome.ERROR, Outcome.TIMEOUT, Outcome.CANCELLED, Outcome.LOST)
"""Outcomes of slots that were given to a server."""

VIOLATION = (Decision.STATUS, Decision.SLOW)


class ViolationCauses(BaseModel):
    """Violations by what became of their slots; they sum up to ``violations``."""

    model_config = ConfigDict(frozen=True)

    timeout: Count
    error: Count
    slow: Count  # OK answers, too late
    dropped: Count
    cancelled: Count
    lost: Count


class Totals(BaseModel):
    """Slots of a run, or of those charged to one server. ``sent`` is the number handed."""

    model_config = ConfigDict(frozen=True)

    scheduled: Count
    sent: Count
    dropped: Count
    dropped_backpressure: Count
    dropped_client: Count
    unsent: Count
    ok: Count
    error: Count
    timeout: Count
    cancelled: Count
    lost: Count
    decided: Count
    in_time: Count
    violations: Count
    violations_by: ViolationCauses
    client_late: Count  # lateness > max(1 ms, T / 10)

    def check(self) -> None:
        """Raises ValueError if they do not add up."""
        by = self.violations_by
        sums = {
            "scheduled": self.sent + self.dropped + self.unsent,
            "sent": self.ok + self.error + self.timeout + self.cancelled + self.lost,
            "dropped": self.dropped_backpressure + self.dropped_client,
            "decided": self.in_time + self.violations,
            "violations": by.timeout + by.error + by.slow + by.dropped + by.cancelled + by.lost,
        }
        for name, total in sums.items():
            if getattr(self, name) != total:
                raise ValueError(f"{getattr(self, name)} {name}, but the parts of it are {total}")
        if self.client_late > self.scheduled or self.decided > self.scheduled:
            raise ValueError(f"more slots were judged than the {self.scheduled} scheduled")

    @property
    def population(self) -> int:
        """What a response percentile ranks over: all slots but those the client dropped."""
        return self.scheduled - self.dropped_client

    @property
    def violation_share(self) -> float | None:
        """Violations of those decided; None if nothing was."""
        return self.violations / self.decided if self.decided else None


def totals(tally: Tally, server: int | None = None) -> Totals:
    """Of the slots charged to one server, or of all, those charged to none included."""
    if server is None:
        return _totals(tally.counts.sum(axis=0), tally.buckets.sum(axis=(0, 1)))
    return _totals(tally.counts[server], tally.buckets[server].sum(axis=0))


def _totals(counts: NDArray[np.int64], bucket_sums: NDArray[np.int64]) -> Totals:
    """``counts`` by [Outcome, Decision], ``bucket_sums`` by BUCKET_FIELDS."""
    by_outcome = counts.sum(axis=1)
    violations = counts[:, list(VIOLATION)].sum(axis=1)
    # Only the client's own drops stay undecided; one at the cap is a violation at once.
    dropped_client = int(counts[Outcome.DROPPED, Decision.UNDECIDED])
    return Totals(
        scheduled=int(by_outcome.sum()),
        sent=int(by_outcome[list(HANDED)].sum()),
        dropped=int(by_outcome[Outcome.DROPPED]),
        dropped_backpressure=int(by_outcome[Outcome.DROPPED]) - dropped_client,
        dropped_client=dropped_client,
        unsent=int(by_outcome[Outcome.UNSENT]),
        ok=int(by_outcome[Outcome.OK]),
        error=int(by_outcome[Outcome.ERROR]),
        timeout=int(by_outcome[Outcome.TIMEOUT]),
        cancelled=int(by_outcome[Outcome.CANCELLED]),
        lost=int(by_outcome[Outcome.LOST]),
        decided=int(counts[:, Decision.IN_TIME :].sum()),
        in_time=int(counts[:, Decision.IN_TIME].sum()),
        violations=int(violations.sum()),
        violations_by=ViolationCauses(
            timeout=int(violations[Outcome.TIMEOUT]),
            error=int(violations[Outcome.ERROR]),
            slow=int(violations[Outcome.OK]),
            dropped=int(violations[Outcome.DROPPED]),
            cancelled=int(violations[Outcome.CANCELLED]),
            lost=int(violations[Outcome.LOST]),
        ),
        client_late=int(bucket_sums[BUCKET_FIELDS.index("client_late")]),
    )
