"""The control beside every timing: what a bare spin loop on the same CPU sees of the machine.

``python -m benchmarks.spin_gaps [CPU] [SECONDS]``
"""

import os
import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class SpinGaps:
    """Gaps between two clock reads of a loop that does nothing else."""

    seconds: float
    over_100us: int
    over_1ms: int
    max_us: float

    def __str__(self) -> str:
        return (
            f"spin loop, {self.seconds:g} s: {self.over_100us} gaps over 100 us,"
            f" {self.over_1ms} over 1 ms, longest {self.max_us:.0f} us"
        )


def spin_gaps(cpu: int, seconds: float) -> SpinGaps:
    """Spin on ``cpu`` for ``seconds`` and count."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        clock = time.monotonic_ns
        over_100us = over_1ms = longest_ns = 0
        last_ns = clock()
        end_ns = last_ns + int(seconds * 1e9)
        while last_ns < end_ns:
            now_ns = clock()
            gap_ns = now_ns - last_ns
            last_ns = now_ns
            if gap_ns > 100_000:
                over_100us += 1
                over_1ms += gap_ns > 1_000_000
                longest_ns = max(longest_ns, gap_ns)
    finally:
        os.sched_setaffinity(0, before)
    return SpinGaps(seconds, over_100us, over_1ms, longest_ns / 1000)


if __name__ == "__main__":
    cpu_asked = int(sys.argv[1]) if len(sys.argv) > 1 else max(os.sched_getaffinity(0))
    print(spin_gaps(cpu_asked, float(sys.argv[2]) if len(sys.argv) > 2 else 5.0))
