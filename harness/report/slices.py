"""The steps of time in which a chart counts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.config import NS_PER_S
from harness.records import BUCKET_NS

MOST_SLICES = 240
GOOD_SLOTS = 150
"""Slots in a slice that give its p99 a meaning."""

NS_PER_MINUTE, NS_PER_HOUR = 60 * NS_PER_S, 3600 * NS_PER_S

Times = NDArray[np.float64]


@dataclass(frozen=True)
class Slices:
    """Steps of ``width_ns``, a whole number of buckets, from the run's start to ``end_ns``."""

    width_ns: int
    end_ns: int

    @property
    def count(self) -> int:
        """How many; the last one may be shorter."""
        return max(1, -(-self.end_ns // self.width_ns))

    def of(self, times_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """The slice of each time; what comes after the last counts in it."""
        return np.clip(times_ns // self.width_ns, 0, self.count - 1)

    @property
    def edges_ns(self) -> Times:
        """Where each begins, and the end."""
        edges: Times = np.append(np.arange(self.count) * float(self.width_ns), self.end_ns)
        return edges

    @property
    def middles_ns(self) -> Times:
        """Where a slice's figure is drawn."""
        edges = self.edges_ns
        return (edges[1:] + edges[:-1]) / 2

    def per_second(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Counts by slice, the last axis, as rates."""
        return counts / (np.diff(self.edges_ns) / NS_PER_S)

    def sums(self, buckets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Counts by bucket, the last axis, summed up by slice."""
        width = self.width_ns // BUCKET_NS
        padded = np.zeros((*buckets.shape[:-1], self.count * width), np.int64)
        found = min(buckets.shape[-1], padded.shape[-1])
        padded[..., :found] = buckets[..., :found]
        # A slot may be due at the very end.
        padded[..., -1] += buckets[..., found:].sum(axis=-1)
        summed: NDArray[np.int64] = padded.reshape(*buckets.shape[:-1], self.count, width).sum(-1)
        return summed


def make_slices(end_ns: int, slots: int) -> Slices:
    """Of 50 ms at least and 1 s at most, unless that would be more than MOST_SLICES."""
    finest = _nice(-(-end_ns // MOST_SLICES))
    filled = _nice(min(NS_PER_S, GOOD_SLOTS * end_ns // max(1, slots)))
    return Slices(max(finest, filled), end_ns)


def _nice(least_ns: int) -> int:
    """50 ms, or 1, 2 or 5 times a power of ten: 0.1 s, 0.2 s, 0.5 s and so on."""
    width_ns = BUCKET_NS
    power = 1
    while width_ns < least_ns:
        width_ns = next((w for w in _steps(power) if w >= least_ns), 10 * power * BUCKET_NS)
        power *= 10
    return width_ns


def _steps(power: int) -> list[int]:
    return [factor * power * BUCKET_NS for factor in (1, 2, 4, 10)]


@dataclass(frozen=True)
class TimeAxis:
    """Time since the run's start, in the unit that suits its length."""

    end_ns: int

    @property
    def unit_ns(self) -> int:
        """A second, a minute or an hour."""
        if self.end_ns <= 10 * NS_PER_MINUTE:
            return NS_PER_S
        return NS_PER_MINUTE if self.end_ns <= 4 * NS_PER_HOUR else NS_PER_HOUR

    @property
    def unit(self) -> str:
        """Its short name."""
        return {NS_PER_S: "s", NS_PER_MINUTE: "min", NS_PER_HOUR: "h"}[self.unit_ns]

    def at(self, time_ns: float) -> float:
        """In its unit."""
        return time_ns / self.unit_ns
