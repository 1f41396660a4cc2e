"""The shared segment of one run: anonymous, sealed, populated, passed by descriptor."""

from collections.abc import Iterable
from typing import Final

RECORD_BYTES: Final[int]
ENTRY_BYTES: Final[int]
MAX_SERVER_COUNT: Final[int]
NO_CUT_NS: Final[int]

def record_layout() -> dict[str, tuple[int, int]]:
    """For each field of the C struct Record its offset and size in bytes."""

class Segment:
    """Run page, and for each worker its page, ring and in-flight table.

    ``fd`` < 0 creates the memory (coordinator); otherwise it is mapped (worker).
    Raises ValueError for sizes that do not fit, OSError without memory.
    """

    @property
    def fd(self) -> int: ...
    @property
    def workers(self) -> int: ...
    @property
    def ring_capacity(self) -> int: ...
    @property
    def table_capacity(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...
    def __init__(
        self, workers: int, ring_capacity: int, table_capacity: int, fd: int = -1
    ) -> None: ...
    def close(self) -> None:
        """Close the descriptor; the mapping stays until the object goes."""

    def reset(self) -> None:
        """Back to the state before the first slot. No worker may be running."""

    def set_verdict(self, epoch: int, in_use: Iterable[int]) -> int:
        """Publish the servers in use by one store; CLOCK_MONOTONIC (ns) just before it.

        Raises ValueError for none, IndexError for one that cannot be.
        """

    def cut(self, cut_ns: int) -> None:
        """No slot later than ``cut_ns`` is taken from now on."""

    def cut_soon(self, origin_ns: int, lead_ns: int, last_ns: int) -> int:
        """Cut ``lead_ns`` from now, at ``last_ns`` at the latest; returns the cut.

        ``origin_ns`` is the CLOCK_MONOTONIC time of the run's start.
        """

    def cancel(self) -> None:
        """Everything in flight is given up now."""

    def verdict(self) -> tuple[int, tuple[int, ...]]:
        """The verdict's epoch and the servers in use."""

    def cut_ns(self) -> int: ...
    def cancelled(self) -> bool: ...
    def see(self, worker: int, epoch: int, now_ns: int) -> None:
        """A worker has seen the verdict of this epoch."""

    def turned(self, worker: int, gap_ns: int) -> None:
        """A worker has turned its loop, ``gap_ns`` later than planned."""

    def pulse(self, worker: int) -> tuple[int, int, int]:
        """Heartbeat and watermark (ns), and a bit for each server it has a connection to."""

    def heartbeat_ns(self, worker: int) -> int: ...
    def watermark_ns(self, worker: int) -> int:
        """The worker's slots before this are all decided and pushed."""

    def cursor(self, worker: int) -> int:
        """Plan index of the worker's first slot not taken."""

    def seen(self, worker: int) -> tuple[int, int]:
        """The last verdict epoch the worker saw, and when (ns)."""

    def connect(self, worker: int, server: int, count: int) -> None:
        """A worker has so many connections to a server ready."""

    def connected(self, worker: int, server: int) -> int:
        """How many of the worker's connections to the server are ready."""

    def pushed(self, worker: int) -> int: ...
    def popped(self, worker: int) -> int: ...
    def overflowed(self, worker: int) -> int: ...
    def loop(self, worker: int) -> tuple[int, int]:
        """Loop turns so far, and the longest gap between two (ns)."""

    def in_flight(self, worker: int, server: int) -> tuple[int, int]:
        """Requests in flight now, and the most so far."""
