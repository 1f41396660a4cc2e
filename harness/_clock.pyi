"""What clock, sleeps and CPU do to a loop that does nothing else; measured without the GIL.

Each call measures on the CPU its thread runs on, and returns before Python sees a signal.
"""

def read_cost_ns(reads: int) -> float:
    """Mean cost of one read of CLOCK_MONOTONIC. Raises ValueError for less than one read."""

def oversleeps_ns(duration_ns: int) -> list[int]:
    """How long after its deadline each sleep ended (ns), for sleeps within ``duration_ns``.

    Sleeps of 100 to 400 us in an epoll wait with a timer slack of 1 ns, as a worker sleeps. A
    signal that cuts a sleep short ends the measurement. Raises OSError without a file descriptor.
    """

def spin_gaps(duration_ns: int) -> tuple[int, int, int, int]:
    """What a loop of clock reads misses in ``duration_ns``.

    Gaps between two reads over 100 us, of those over 1 ms, the time in gaps over 100 us (ns), and
    the longest gap of all (ns).
    """
