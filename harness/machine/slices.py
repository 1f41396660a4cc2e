"""Long measurements in short calls: the core sees no signal while one of its calls runs."""

from collections.abc import Iterator

SLICE_NS = 50_000_000


def slices_ns(duration_ns: int) -> Iterator[int]:
    """Durations of at most 50 ms that add up to ``duration_ns``."""
    left_ns = duration_ns
    while left_ns > 0:
        part_ns = min(left_ns, SLICE_NS)
        left_ns -= part_ns
        yield part_ns
