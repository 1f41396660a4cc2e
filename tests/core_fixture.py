"""What the tests of the data plane core share: a segment seen byte by byte."""

import mmap
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness._ledger import Ledger
from harness._shm import ENTRY_BYTES, RECORD_BYTES, Segment
from harness.records import RECORD

RUN_PAGE_BYTES = 128
RING_BYTES = 128


class SegmentView:
    """A segment's rings, read without moving their tails."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.memory = np.frombuffer(mmap.mmap(segment.fd, segment.size_bytes), dtype=np.uint8)
        self.worker_bytes = (segment.size_bytes - RUN_PAGE_BYTES) // segment.workers
        records_bytes = segment.ring_capacity * RECORD_BYTES
        self.records_at = self.worker_bytes - segment.table_capacity * ENTRY_BYTES - records_bytes

    def ring(self, worker: int) -> NDArray[np.void]:
        """The worker's ring, as records in memory order."""
        first = RUN_PAGE_BYTES + worker * self.worker_bytes + self.records_at
        last = first + self.segment.ring_capacity * RECORD_BYTES
        return self.memory[first:last].view(RECORD)

    def pushed(self, worker: int, first: int) -> NDArray[np.void]:
        """A copy of the records at ring positions ``first`` up to the head."""
        positions = np.arange(first, self.segment.pushed(worker))
        return self.ring(worker)[positions % self.segment.ring_capacity].copy()


def copy_of(segment: Segment) -> Segment:
    """A segment of its own that holds the same bytes now."""
    copy = Segment(segment.workers, segment.ring_capacity, segment.table_capacity)
    os.pwrite(copy.fd, os.pread(segment.fd, segment.size_bytes, 0), 0)
    return copy


def ledger_of(segment: Segment, worker: int = 0, **changes: Any) -> Ledger:
    """A ledger whose times are small numbers of ns."""
    given: dict[str, Any] = {
        "servers": 2,
        "slo_ns": 50,
        "timeout_ns": 500,
        "lag_ns": 20,
        "cap": 4,
    }
    return Ledger(segment, worker, **given | changes)
