"""CPU time per request, free of what a program costs before and after its requests."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """What one run used and did."""

    cpu_s: float
    requests: int


def cpu_per_request_us(short: Point, long: Point) -> float | None:
    """Slope between a short and a long run.

    None where noise would be the figure: the long one did not do half as much again, or used less.
    """
    more, used_s = long.requests - short.requests, long.cpu_s - short.cpu_s
    if more <= 0 or 2 * more < short.requests or used_s <= 0:
        return None
    return used_s / more * 1e6
