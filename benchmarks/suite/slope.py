"""CPU time per request, free of what a program costs before and after its requests."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """What one run used and did."""

    cpu_s: float
    requests: int


def cpu_per_request_us(short: Point, long: Point) -> float | None:
    """Slope between a short and a long run; None if the long one did not do more."""
    more = long.requests - short.requests
    return (long.cpu_s - short.cpu_s) / more * 1e6 if more > 0 else None
