"""The plan as people and results see it: slot count, hash, offsets."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness._plan import Plan

__all__ = ["Plan", "PlanFacts", "PlanSpec"]

CHUNK = 65536


@dataclass(frozen=True)
class PlanFacts:
    """``slots`` of the whole plan and the SHA-256 over their little-endian int64 offsets."""

    slots: int
    hash: str


@dataclass(frozen=True)
class PlanSpec:
    """Everything a plan depends on; never the worker count."""

    dist: str
    rate: float
    seed: int
    duration_ns: int

    @property
    def expected_slots(self) -> int:
        """About how many slots there will be, without walking the plan."""
        return round(self.rate * self.duration_ns / 1e9)

    def open(self) -> Plan:
        """A walk from slot 0."""
        return Plan(self.dist, self.rate, self.seed, self.duration_ns)

    def chunks(self) -> Iterator[NDArray[np.int64]]:
        """All offsets in order, 65536 at a time; each array is overwritten by the next."""
        plan = self.open()
        offsets_ns = np.empty(CHUNK, dtype=np.int64)
        while n := plan.fill(offsets_ns):
            yield offsets_ns[:n]

    def facts(self) -> PlanFacts:
        """Walk the whole plan once."""
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
