"""A run cut into blocks of planned time, and its figures drawn anew from them (block bootstrap).

What happens within a block stays together, so that bursts and stalls shorter than a block count as
what they are: one event, not many. B. Efron, R. Tibshirani, "An Introduction to the Bootstrap"
(1993), chapter 8.5. Draws are seeded: the same runs give the same interval.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.compare.metrics import IN_SLO
from harness.config import NS_PER_S
from harness.records import Decision, Outcome
from harness.results.requests_file import release_rows

BLOCK_NS = NS_PER_S
MOST_BLOCKS = 600
LEAST_BLOCKS = 5
DRAWS = 1000
SEED = 1
CHUNK_ROWS = 1 << 18
BINS_PER_OCTAVE = 512
"""A bin is 0.14 % wide."""
LAST_BIN = 63 * BINS_PER_OCTAVE

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}

Counts = NDArray[np.int64]
Draws = NDArray[np.float64]


@dataclass(frozen=True)
class Blocks:
    """Counts by block; histograms by [block, bin of ``bins``], the last bin being "never OK"."""

    block_ns: int
    sums: Mapping[str, Counts]
    bins: NDArray[np.int64]
    response: Counts
    service: Counts
    timeout_ns: int

    @property
    def count(self) -> int:
        """How many blocks."""
        return len(self.response)

    def figures(self, weights: NDArray[np.float32]) -> dict[str, Draws]:
        """By metric: a value for each row of ``weights`` [draw, block]; NaN where there is none."""
        sums = {name: (weights @ counts).astype(np.float64) for name, counts in self.sums.items()}
        seconds = weights.sum(axis=1) * self.block_ns / NS_PER_S
        with np.errstate(divide="ignore", invalid="ignore"):
            found = {
                "offered": sums["scheduled"] / seconds,
                "ok": sums["ok"] / seconds,
                IN_SLO: sums["in_slo"] / seconds,
                "violated": sums["violations"] / sums["decided"],
            }
        for prefix, histogram in (("", self.response), ("service_", self.service)):
            drawn = weights @ histogram.astype(np.float32)
            for name, percent in PERCENTILES.items():
                found[prefix + name] = self._percentile(drawn, percent)
        return found

    def _percentile(self, drawn: NDArray[np.float32], percent: float) -> Draws:
        """Nearest rank."""
        below = np.cumsum(drawn, axis=1, dtype=np.float64)
        rank = np.ceil(below[:, -1:] * percent / 100)
        place = np.minimum((below < rank).sum(axis=1), len(self.bins))
        values = np.append(2.0 ** (self.bins[:-1] / BINS_PER_OCTAVE), self.timeout_ns)
        return np.where(below[:, -1] > 0, values[np.minimum(place, len(values) - 1)], np.nan)


def cut(
    rows: NDArray[np.void],
    end_ns: int,
    timeout_ns: int,
    server: int | None = None,
    block_ns: int | None = None,
) -> Blocks:
    """The rows of one run, or of one server in it. ``rows``: RECORD, in order of slots."""
    block_ns = block_ns or max(BLOCK_NS, -(-end_ns // MOST_BLOCKS))
    count = max(1, -(-end_ns // block_ns))
    names = ("scheduled", "ok", "in_slo", "decided", "violations")
    sums = {name: np.zeros(count, np.int64) for name in names}
    parts: dict[str, list[NDArray[np.int64]]] = {"response": [], "service": []}
    for first in range(0, len(rows), CHUNK_ROWS):
        chunk = rows[first : first + CHUNK_ROWS]
        if server is not None:
            chunk = chunk[chunk["server"] == server]
        block = np.minimum(chunk["t_sched_ns"] // block_ns, count - 1)
        ok = chunk["outcome"] == Outcome.OK
        inside = ok & (chunk["t_done_ns"] < end_ns)
        decided = chunk["decision"] != Decision.UNDECIDED
        for name, mask in (
            ("scheduled", np.ones(len(chunk), np.bool_)),
            ("ok", inside),
            ("in_slo", inside & (chunk["decision"] == Decision.IN_TIME)),
            ("decided", decided),
            ("violations", chunk["decision"] > Decision.IN_TIME),
        ):
            sums[name] += np.bincount(block[mask], minlength=count)
        # The client's own drops have no response latency at all.
        counted = decided | (chunk["outcome"] != Outcome.DROPPED)
        response = np.where(ok, _bin(chunk["t_done_ns"] - chunk["t_sched_ns"]), LAST_BIN)
        service = _bin(chunk["t_done_ns"] - chunk["t_taken_ns"])
        for name, bins, mask in (("response", response, counted), ("service", service, ok)):
            cells, times = np.unique(block[mask] * (LAST_BIN + 1) + bins[mask], return_counts=True)
            parts[name].append(np.stack([cells, times]))
        release_rows(rows)
    found = {name: np.concatenate(part, axis=1) for name, part in parts.items() if part}
    used = [np.unique(one[0] % (LAST_BIN + 1)) for one in found.values()]
    bins = np.unique(np.concatenate([*used, np.array([LAST_BIN])]))
    histograms = {name: np.zeros((count, len(bins)), np.int64) for name in parts}
    for name, (cells, times) in found.items():
        place = np.searchsorted(bins, cells % (LAST_BIN + 1))
        np.add.at(histograms[name], (cells // (LAST_BIN + 1), place), times)
    return Blocks(block_ns, sums, bins, histograms["response"], histograms["service"], timeout_ns)


def _bin(latency_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    bins = (np.log2(np.maximum(latency_ns, 1)) * BINS_PER_OCTAVE).astype(np.int64)
    return np.minimum(bins, LAST_BIN - 1)


def resample(blocks: int, draws: int = DRAWS, seed: int = SEED) -> NDArray[np.float32]:
    """How often each block is drawn, by [draw, block]."""
    random = np.random.Generator(np.random.PCG64(seed))
    return random.multinomial(blocks, np.full(blocks, 1 / blocks), size=draws).astype(np.float32)


def draw_group(runs: Sequence[Blocks], seed: int) -> dict[str, Draws] | None:
    """Figures of a group, each run drawn from its own blocks, then averaged over the runs.

    None with fewer than LEAST_BLOCKS blocks in any.
    """
    if not runs or any(one.count < LEAST_BLOCKS for one in runs):
        return None
    drawn = [one.figures(resample(one.count, seed=seed + place)) for place, one in enumerate(runs)]
    return {name: np.mean([one[name] for one in drawn], axis=0) for name in drawn[0]}
