"""Two servers under one plan: slot beside slot, block beside block.

What disturbs both sides in the same block of time is drawn for both at once, and so falls out of
their ratio; two runs one after the other would each have a disturbance of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.compare.blocks import LEAST_BLOCKS, Blocks, Draws, cut, resample
from harness.compare.comparison import LEAST_RUNS, Beside, Cell, Comparison, Row, judge_rows
from harness.compare.groups import Group
from harness.compare.metrics import METRICS
from harness.compare.statistics import Ratio, percentile_interval
from harness.config import NS_PER_S
from harness.detector.alternation import TURN_NS
from harness.errors import UsageError
from harness.results.stored import StoredRun

LEFT_OUT_NS = NS_PER_S
"""Of each turn: what it takes for caches, clocks and queues to be this server's own."""


@dataclass(frozen=True)
class Pair:
    """The same blocks on both sides."""

    first: Blocks
    second: Blocks


def pair_runs(first: StoredRun, second: StoredRun) -> Pair:
    """Two runs of one plan that had the same start. Raises UsageError."""
    ours, theirs = first.rows, second.rows
    if ours is None or theirs is None:
        raise UsageError("pairing needs every request; run without --records none")
    end_ns = min(first.end_ns, second.end_ns)
    return Pair(*(cut_run(run, rows, end_ns) for run, rows in ((first, ours), (second, theirs))))


def cut_run(run: StoredRun, rows: NDArray[np.void], end_ns: int) -> Blocks:
    """Its blocks up to ``end_ns``."""
    within = rows[: int(np.searchsorted(rows["t_sched_ns"], end_ns))]
    return cut(within, end_ns, run.summary.limits.timeout_ns)


def pair_turns(run: StoredRun) -> Pair:
    """One run in which two servers had the load in turn: each turn beside the one after it."""
    rows = run.rows
    if rows is None:
        raise UsageError("pairing needs every request; run without --records none")
    kept = rows[rows["t_sched_ns"] % TURN_NS >= LEFT_OUT_NS]
    turn = kept["t_sched_ns"] // TURN_NS
    pairs = run.end_ns // (2 * TURN_NS)
    sides = []
    for side in (0, 1):
        mine = kept[(turn % 2 == side) & (turn < 2 * pairs)].copy()
        # As if each pair were one block; what a turn lost at its start is no time of its own.
        shift_ns = mine["t_sched_ns"] - (mine["t_sched_ns"] // (2 * TURN_NS) * (2 * TURN_NS))
        base_ns = mine["t_sched_ns"] // (2 * TURN_NS) * (TURN_NS - LEFT_OUT_NS)
        offset_ns = base_ns + shift_ns - side * TURN_NS - LEFT_OUT_NS - mine["t_sched_ns"]
        for name in ("t_sched_ns", "t_taken_ns", "t_done_ns"):
            mine[name] += offset_ns
        end_ns = pairs * (TURN_NS - LEFT_OUT_NS)
        sides.append(
            cut(mine, end_ns, run.summary.limits.timeout_ns, block_ns=TURN_NS - LEFT_OUT_NS)
        )
    return Pair(*sides)


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
    return judge_rows(groups, rows, tolerance, [len(pairs) >= LEAST_RUNS], [[]])


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
