"""Spin gaps: what a loop that only reads the clock misses on a CPU."""

from dataclasses import dataclass

from harness import _clock
from harness.config import NS_PER_S
from harness.host import on_cpus
from harness.machine.slices import slices_ns


@dataclass(frozen=True)
class SpinGaps:
    """Gaps between two clock reads. ``lost_share``: of the time, in gaps over 100 us."""

    seconds: float
    over_100us: int
    over_1ms: int
    max_us: float
    lost_share: float = 0.0

    def __str__(self) -> str:
        return (
            f"spin loop, {self.seconds:g} s: {self.over_100us} gaps over 100 us,"
            f" {self.over_1ms} over 1 ms, longest {self.max_us:.0f} us"
        )


def spin_gaps(cpu: int, seconds: float) -> SpinGaps:
    """Spin on ``cpu`` for ``seconds`` and count. Raises OSError if the CPU cannot be had."""
    over_100us = over_1ms = lost_ns = longest_ns = 0
    with on_cpus({cpu}):
        for part_ns in slices_ns(round(seconds * NS_PER_S)):
            short, long, part_lost_ns, gap_ns = _clock.spin_gaps(part_ns)
            over_100us += short
            over_1ms += long
            lost_ns += part_lost_ns
            longest_ns = max(longest_ns, gap_ns)
    # The gap that ends a slice may reach beyond it.
    share = min(1.0, lost_ns / (seconds * NS_PER_S)) if seconds else 0.0
    return SpinGaps(seconds, over_100us, over_1ms, longest_ns / 1000, share)
