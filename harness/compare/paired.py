"""Two servers under one plan: slot beside slot, block beside block.

What disturbs both sides in the same block of time is drawn for both at once, and so falls out of
their ratio; two runs one after the other would each have a disturbance of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.compare.blocks import LEAST_BLOCKS, Blocks, Draws, cut, resample
from harness.compare.comparison import (
    LEAST_RUNS,
    Beside,
    Cell,
    Comparison,
    Difference,
    Row,
    judge_rows,
)
from harness.compare.groups import Group
from harness.compare.metrics import METRICS
from harness.compare.statistics import Ratio, percentile_interval
from harness.config import NS_PER_S
from harness.detector.alternation import TURN_NS
from harness.errors import UsageError
from harness.records import Outcome
from harness.results.stored import StoredRun

LEFT_OUT_NS = NS_PER_S
"""Of each turn: what it takes for caches, clocks and queues to be this server's own."""
KEPT_NS = TURN_NS - LEFT_OUT_NS


@dataclass(frozen=True)
class Differences:
    """Response latency of the second side - that of the first, slot by slot: sums by block, ns."""

    sums: NDArray[np.float64]
    slots: NDArray[np.int64]


@dataclass(frozen=True)
class Pair:
    """The same blocks on both sides."""

    first: Blocks
    second: Blocks
    differences_ns: Differences | None = None


def pair_runs(first: StoredRun, second: StoredRun) -> Pair:
    """Two runs of one plan that had the same start. Raises UsageError."""
    ours, theirs = first.rows, second.rows
    if ours is None or theirs is None:
        raise UsageError("pairing needs every request; run without --records none")
    end_ns = min(first.end_ns, second.end_ns)
    blocks = cut_run(first, ours, end_ns)
    return Pair(blocks, cut_run(second, theirs, end_ns), _differences(ours, theirs, blocks))


def _differences(
    ours: NDArray[np.void], theirs: NDArray[np.void], blocks: Blocks
) -> Differences | None:
    """None where slots have no planned time in common: in a closed loop."""
    count = min(len(ours), len(theirs))
    ours, theirs = ours[:count], theirs[:count]
    if not np.array_equal(ours["t_sched_ns"], theirs["t_sched_ns"]):
        return None
    both = (ours["outcome"] == Outcome.OK) & (theirs["outcome"] == Outcome.OK)
    later_ns = (theirs["t_done_ns"] - ours["t_done_ns"])[both].astype(np.float64)
    place = np.minimum(ours["t_sched_ns"][both] // blocks.block_ns, blocks.count - 1)
    return Differences(
        np.bincount(place, later_ns, minlength=blocks.count).astype(np.float64),
        np.bincount(place, minlength=blocks.count),
    )


def cut_run(run: StoredRun, rows: NDArray[np.void], end_ns: int) -> Blocks:
    """Its blocks up to ``end_ns``."""
    within = rows[: int(np.searchsorted(rows["t_sched_ns"], end_ns))]
    return cut(within, end_ns, run.summary.limits.timeout_ns)


def pair_turns(run: StoredRun) -> Pair:
    """One run in which two servers had the load in turn: each turn beside the one after it."""
    rows = run.rows
    if rows is None:
        raise UsageError("pairing needs every request; run without --records none")
    pairs = run.end_ns // (2 * TURN_NS)
    timeout_ns = run.summary.limits.timeout_ns
    first, second = (
        cut(_turns(rows, side, pairs), pairs * KEPT_NS, timeout_ns, block_ns=KEPT_NS)
        for side in (0, 1)
    )
    return Pair(first, second)


def _turns(rows: NDArray[np.void], side: int, pairs: int) -> NDArray[np.void]:
    """What is kept of the first ``pairs`` turns of a side, each moved to follow the one before."""
    turn = rows["t_sched_ns"] // TURN_NS
    kept = (turn % 2 == side) & (turn < 2 * pairs)
    kept &= rows["t_sched_ns"] % TURN_NS >= LEFT_OUT_NS
    mine: NDArray[np.void] = rows[kept].copy()
    turn = turn[kept]
    for name in ("t_sched_ns", "t_taken_ns", "t_done_ns"):
        mine[name] += turn // 2 * KEPT_NS - (turn * TURN_NS + LEFT_OUT_NS)
    return mine


def compare_pairs(
    names: tuple[str, str],
    runs: tuple[Sequence[StoredRun], Sequence[StoredRun]],
    pairs: Sequence[Pair],
    tolerance: float,
    primary: Sequence[str],
) -> Comparison:
    """The first side is the baseline. One pair: intervals from its blocks; two or more: between
    pairs, by Student's t on the logarithm of each pair's ratio.
    """
    figures = [(_figures(pair.first), _figures(pair.second)) for pair in pairs]
    slo = runs[0][0].summary.slo is not None
    metrics = [
        metric
        for metric in METRICS
        if metric.name in figures[0][0] and (slo or metric.name not in ("in_slo", "violated"))
    ]
    drawn = _draw(pairs[0]) if len(pairs) == 1 else None
    rows: list[tuple[Row, list[Ratio | None]]] = []
    for metric in metrics:
        least = metric.least(runs[0][0].summary)
        sides = [[one[side][metric.name] for one in figures] for side in (0, 1)]
        known = all(np.isfinite(side).all() for side in sides)
        logs = np.log(np.maximum(sides[1], least)) - np.log(np.maximum(sides[0], least))
        beside = Beside()
        ratio: Ratio | None = None
        if known and len(pairs) > 1:
            spread = float(logs.std(ddof=1)) / np.sqrt(len(logs))
            ratio = Ratio(float(logs.mean()), float(spread), len(logs) - 1.0)
            beside = Beside(ratio.value, ratio.interval)
        elif known:
            value = float(np.exp(logs[0]))
            draws = None if drawn is None else drawn[metric.name]
            interval = None if draws is None or not len(draws) else percentile_interval(draws)
            beside = Beside(value, interval, within_run=True)
        cells = tuple(_cell(side) for side in sides)
        rows.append((Row(metric, metric.name in primary, cells, (beside,)), [ratio]))
    groups = tuple(Group(name, tuple(of)) for name, of in zip(names, runs, strict=True))
    judged = judge_rows(groups, rows, tolerance, [len(pairs) >= LEAST_RUNS], [[]])
    return replace(judged, paired=_difference([pair.differences_ns for pair in pairs]))


def _difference(found: Sequence[Differences | None]) -> Difference | None:
    """Over all rounds; whole blocks are drawn, of all rounds together."""
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return None
    sums = np.concatenate([one.sums for one in known])
    slots = np.concatenate([one.slots for one in known])
    if not slots.sum():
        return None
    interval = None
    if len(slots) >= LEAST_BLOCKS:
        weights = resample(len(slots)).astype(np.float64)
        drawn = weights @ slots
        interval = percentile_interval((weights @ sums)[drawn > 0] / drawn[drawn > 0])
    return Difference(int(slots.sum()), float(sums.sum() / slots.sum()), interval)


def _figures(blocks: Blocks) -> dict[str, float]:
    whole = blocks.figures(np.ones((1, blocks.count), np.float32))
    return {name: float(values[0]) for name, values in whole.items()}


def _draw(pair: Pair) -> dict[str, Draws] | None:
    """Ratios, by metric; the same blocks are drawn on both sides."""
    if pair.first.count < LEAST_BLOCKS:
        return None
    weights = resample(pair.first.count)
    ours, theirs = pair.second.figures(weights), pair.first.figures(weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = {name: ours[name] / theirs[name] for name in ours}
    return {name: values[np.isfinite(values)] for name, values in ratios.items()}


def _cell(values: Sequence[float]) -> Cell | None:
    known = [value for value in values if np.isfinite(value)]
    if not known:
        return None
    return Cell(float(np.median(known)), min(known), max(known), len(known), False)
