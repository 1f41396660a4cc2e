"""The plan as people and results see it: slot count, hash, offsets."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness._plan import CLOSED, Plan

__all__ = ["CLOSED", "Plan", "PlanFacts", "PlanSpec"]

CHUNK = 65536


@dataclass(frozen=True)
class PlanFacts:
    """``slots`` of the whole plan and the SHA-256 over their little-endian int64 offsets.

    Of a closed loop there is no hash, and slots are those that were taken.
    """

    slots: int
    hash: str | None


@dataclass(frozen=True)
class PlanSpec:
    """Everything a plan depends on; never the worker count.

    ``dist`` is ``constant``, ``poisson``, or ``closed``: then there is no rate, and a slot is due
    as soon as fewer requests are in flight than there should be.
    """

    dist: str
    rate: float | None
    seed: int
    duration_ns: int

    @property
    def closed(self) -> bool:
        """Whether slots have no planned times."""
        return self.dist == CLOSED

    @property
    def expected_slots(self) -> int:
        """About how many slots there will be, without walking the plan; 0 if nobody knows."""
        return round((self.rate or 0) * self.duration_ns / 1e9)

    def open(self) -> Plan:
        """A walk from slot 0."""
        return Plan(self.dist, self.rate or 0.0, self.seed, self.duration_ns)

    def chunks(self) -> Iterator[NDArray[np.int64]]:
        """All offsets in order, 65536 at a time; each array is overwritten by the next.

        A closed loop has none.
        """
        if self.closed:
            return
        plan = self.open()
        offsets_ns = np.empty(CHUNK, dtype=np.int64)
        while n := plan.fill(offsets_ns):
            yield offsets_ns[:n]

    def facts(self) -> PlanFacts:
        """Walk the whole plan once."""
        if self.closed:
            return PlanFacts(0, None)
        digest = hashlib.sha256()
        slots = 0
        for offsets_ns in self.chunks():
            digest.update(offsets_ns.astype("<i8", copy=False).tobytes())
            slots += len(offsets_ns)
        return PlanFacts(slots, digest.hexdigest())

    def slots_until(self, cut_ns: int) -> int:
        """How many slots have t_sched <= ``cut_ns``."""
        slots = 0
        for offsets_ns in self.chunks():
            within = int(np.searchsorted(offsets_ns, cut_ns, side="right"))
            slots += within
            if within < len(offsets_ns):
                break
        return slots
