"""The layout of one record, as rows of ``requests.npy`` and as the ring carries it.

The C side of the same layout is ``Record`` in ``_shm.pxd``; a test holds the two together.
"""

from enum import IntEnum

import numpy as np

ABSENT_NS = -1
"""A time that was never reached."""

NO_SERVER = 255
"""The slot is charged to no server."""

BUCKET_NS = 50_000_000
"""Width of one bucket of scheduled time."""


class Outcome(IntEnum):
    """What became of a slot. NONE marks a row no record was written to."""

    NONE = 0
    OK = 1
    ERROR = 2
    TIMEOUT = 3
    CANCELLED = 4
    LOST = 5
    DROPPED = 6
    UNSENT = 7


class Decision(IntEnum):
    """How the slot was judged against the SLO, once."""

    UNDECIDED = 0
    IN_TIME = 1
    STATUS = 2  # violation: not OK by t_sched + T
    SLOW = 3  # violation: no answer by t_sched + T


class Reason(IntEnum):
    """Why an outcome that is not OK came about."""

    NONE = 0
    GRPC_STATUS = 1
    NO_CONNECTION = 2
    CONNECTION_LOST = 3
    STREAM_RESET = 4
    WRONG_ID = 5
    INVALID_RESPONSE = 6
    TOO_LARGE = 7
    BACKPRESSURE = 8
    CLIENT = 9


class Flag(IntEnum):
    """Bits of ``flags``."""

    OVERDUE = 1  # an overdue record was pushed at t_sched + T
    COMPLETED_AFTER_DECISION = 2
    MADE = 4  # made by the coordinator for a dead worker
    CLIENT_LATE = 8  # lateness > max(1 ms, T / 10)
    WAITED = 16  # waited at the in-flight cap


RECORD = np.dtype(
    [
        ("slot", "<i8"),  # index in the plan
        ("t_sched_ns", "<i8"),  # all times: ns since the run's start, ABSENT_NS if never reached
        ("t_taken_ns", "<i8"),
        ("t_sent_ns", "<i8"),
        ("t_first_ns", "<i8"),
        ("t_done_ns", "<i8"),
        ("epoch", "<u4"),  # verdict epoch the slot was handed under
        ("response_bytes", "<u4"),
        ("worker", "<u2"),
        ("server", "u1"),  # index in servers[], NO_SERVER if none
        ("outcome", "u1"),  # Outcome; NONE in the ring: an overdue record
        ("decision", "u1"),  # Decision
        ("reason", "u1"),  # Reason
        ("status", "u1"),  # gRPC status code, 0 if none arrived
        ("flags", "u1"),  # Flag bits
    ]
)
"""One slot: 64 bytes, little-endian."""
