"""How much a run may hold and needs: in-flight cap, rings, memory, disk."""

import math
from dataclasses import dataclass

from harness.config import NS_PER_S
from harness.errors import NotStartedError
from harness.records import BUCKET_NS, RECORD
from harness.units import format_bytes, format_duration_ns

MIN_INFLIGHT = 64
MAX_INFLIGHT = 16_384
INFLIGHT_BYTES = 256 * 2**20
INFLIGHT_EXTRA_NS = NS_PER_S // 2
THRESHOLD_WITHOUT_SLO_NS = NS_PER_S

MIN_RING_RECORDS = 2**12
MAX_RING_RECORDS = 2**21
RING_STALL_NS = 3 * NS_PER_S
"""How long the coordinator may stand still before a ring is full."""

RECORDS_PER_SLOT = 2  # an overdue record and the final one

MAX_RECORDED_SLOTS = 20_000_000
MOST_RECORDED_SLOTS = 1_000_000_000
"""Where nobody knows the number of slots beforehand and all are to be kept."""

CLOSED_RATE_PER_WORKER = 50_000.0
"""What a worker's memory is sized for where no rate is planned."""

WORKER_BYTES = 64 * 2**20
COORDINATOR_BYTES = 160 * 2**20
SLOT_STATE_BYTES = 1024  # of a request in flight: stream, tables, response headers
BUCKET_STATE_BYTES = 512  # per bucket and server, in memory and as a line of windows.csv
FIXED_DISK_BYTES = 8 * 2**20  # summary, events, report


@dataclass(frozen=True)
class InFlightCap:
    """Requests in flight per server for the whole run; ``reason`` says what set the figure."""

    total: int
    reason: str


def in_flight_cap(
    rate: float | None,
    threshold_ns: int | None,
    request_bytes: int,
    response_bytes: int,
    max_inflight: int | None = None,
) -> InFlightCap:
    """rate x (T + 0.5 s) within 64..16384 and 256 MiB, unless ``max_inflight`` is given.

    ``threshold_ns`` is the SLO's T; without one, 1 s stands in for it.
    """
    if max_inflight is not None:
        return InFlightCap(max_inflight, "asked for")
    if rate is None:
        raise ValueError("without a rate the cap has to be given")
    basis_ns = THRESHOLD_WITHOUT_SLO_NS if threshold_ns is None else threshold_ns
    wanted = math.ceil(rate * (basis_ns + INFLIGHT_EXTRA_NS) / NS_PER_S)
    held = "1 s, no SLO" if threshold_ns is None else format_duration_ns(basis_ns)
    total, reason = wanted, f"{rate:g}/s x ({held} + 0.5 s)"
    if total < MIN_INFLIGHT:
        total, reason = MIN_INFLIGHT, f"the least, {reason} is {wanted}"
    elif total > MAX_INFLIGHT:
        total, reason = MAX_INFLIGHT, f"the most, {reason} is {wanted}"
    fitting = max(1, INFLIGHT_BYTES // max(1, request_bytes + response_bytes))
    if total > fitting:
        total = fitting
        reason = (
            f"{format_bytes(INFLIGHT_BYTES)} of requests and responses of"
            f" {format_bytes(request_bytes + response_bytes)}"
        )
    return InFlightCap(total, reason)


def worker_share(cap: int, worker: int, workers: int) -> int:
    """Worker ``worker``'s part of the in-flight cap; the parts add up to ``cap``."""
    return cap // workers + (worker < cap % workers)


def slot_share(slots: int, worker: int, workers: int) -> int:
    """Slots of a plan that fall to ``worker``: those i with i mod ``workers`` = ``worker``."""
    return slots // workers + (worker < slots % workers)


def ring_records(rate: float, workers: int, cap: int, servers: int) -> int:
    """Records of one worker's ring: a power of two that holds RING_STALL_NS of its slots and the
    end of everything it may have in flight."""
    due = rate / workers * RING_STALL_NS / NS_PER_S * RECORDS_PER_SLOT
    needed = math.ceil(due) + math.ceil(cap / workers) * servers * RECORDS_PER_SLOT
    bounded = min(max(needed, MIN_RING_RECORDS), MAX_RING_RECORDS)
    return 1 << (bounded - 1).bit_length()


def memory_needed_bytes(
    *,
    rate: float,
    workers: int,
    servers: int,
    cap: int,
    request_bytes: int,
    response_bytes: int,
    duration_ns: int,
) -> int:
    """Memory that coordinator and workers need together, at most and without the servers'."""
    ring_bytes = ring_records(rate, workers, cap, servers) * RECORD.itemsize
    per_worker = WORKER_BYTES + request_bytes + ring_bytes
    in_flight = servers * cap * (response_bytes + SLOT_STATE_BYTES)
    buckets = _buckets(duration_ns) * servers * BUCKET_STATE_BYTES
    return COORDINATOR_BYTES + workers * per_worker + in_flight + buckets


def disk_needed_bytes(slots: int, duration_ns: int, servers: int, records: str = "auto") -> int:
    """Bytes of a results directory, at most. ``records`` as in the configuration."""
    kept = slots if keeps_records(slots, records) else 0
    buckets = _buckets(duration_ns) * servers * BUCKET_STATE_BYTES
    return kept * RECORD.itemsize + buckets + FIXED_DISK_BYTES


def keeps_records(slots: int, records: str) -> bool:
    """Whether ``requests.npy`` is written: ``all``, or ``auto`` up to MAX_RECORDED_SLOTS."""
    return records == "all" or (records == "auto" and slots <= MAX_RECORDED_SLOTS)


def most_rows(records: str) -> int:
    """Rows ``requests.npy`` may grow to where the number of slots is not known."""
    return MOST_RECORDED_SLOTS if records == "all" else MAX_RECORDED_SLOTS


def check_memory(needed_bytes: int, available_bytes: int | None) -> None:
    """Raises NotStartedError if the run needs more memory than there is (None: not known)."""
    if available_bytes is not None and needed_bytes > available_bytes:
        raise NotStartedError(
            f"the run needs up to {format_bytes(needed_bytes)} of memory,"
            f" {format_bytes(available_bytes)} are available;"
            " give a lower rate, --max-inflight or fewer workers"
        )


def check_disk(needed_bytes: int, free_bytes: int, directory: str, *, records: bool) -> None:
    """Raises NotStartedError if the results would not fit on the disk of ``directory``."""
    if needed_bytes > free_bytes:
        raise NotStartedError(
            f"the results need up to {format_bytes(needed_bytes)},"
            f" {format_bytes(free_bytes)} are free in {directory};"
            f" give another --out or a shorter duration{', or --records none' if records else ''}"
        )


def _buckets(duration_ns: int) -> int:
    return -(-duration_ns // BUCKET_NS) + 1
