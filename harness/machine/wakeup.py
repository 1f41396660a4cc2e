"""Wake-up error: how long after its deadline a sleep ends, for sleeps as a worker's."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness._clock import oversleeps_ns
from harness.host import on_cpus
from harness.machine.slices import slices_ns


@dataclass(frozen=True)
class WakeupError:
    """Nearest-rank percentiles over ``sleeps`` sleeps, in ns."""

    sleeps: int
    p50_ns: int
    p99_ns: int
    max_ns: int


def wakeup_error(cpu: int, duration_ns: int) -> WakeupError | None:
    """Sleep on ``cpu`` for that long; None if no sleep fitted.

    Raises OSError if the CPU cannot be had.
    """
    with on_cpus({cpu}):
        return summarize(
            oversleep for part_ns in slices_ns(duration_ns) for oversleep in oversleeps_ns(part_ns)
        )


def summarize(oversleeps: Iterable[int]) -> WakeupError | None:
    """The figures of single sleeps, each in ns; None for none."""
    ordered = sorted(oversleeps)
    if not ordered:
        return None
    return WakeupError(len(ordered), _rank(ordered, 50), _rank(ordered, 99), ordered[-1])


def _rank(ordered: Sequence[int], percent: int) -> int:
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]
