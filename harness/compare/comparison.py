"""Groups of runs beside a baseline: every figure with its ratio, primary ones with a verdict."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from harness.compare.blocks import Draws, cut, draw_group
from harness.compare.comparability import Remark, remarks
from harness.compare.groups import Group
from harness.compare.metrics import METRICS, PRIMARY, Metric
from harness.compare.statistics import Interval, Ratio, holm, percentile_interval, welch

TOLERANCE = 0.05
ALPHA = 0.05
LEAST_RUNS = 5
"""A side, for a verdict."""


class Verdict(StrEnum):
    """What a primary metric of a candidate is, beside the baseline's."""

    BETTER = "better"
    WORSE = "worse"
    WITHIN = "within tolerance"
    UNDECIDED = "not distinguishable"
    TOO_FEW = "too few runs"
    NOT_COMPARABLE = "not comparable"
    NO_FIGURE = "no figure"


@dataclass(frozen=True)
class Cell:
    """A metric of a group: median run and range. ``censored``: some had no answer in time."""

    median: float
    low: float
    high: float
    runs: int
    censored: bool


@dataclass(frozen=True)
class Beside:
    """A candidate's metric beside the baseline's. ``ratio`` None: no figure on one side.

    ``within_run``: the interval is from blocks of the runs, and knows nothing of what differs
    between runs. ``p_value``: of a difference beyond the tolerance, Holm-corrected, if judged.
    """

    ratio: float | None = None
    interval: Interval | None = None
    within_run: bool = False
    p_value: float | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Row:
    """One metric. ``cells`` by group, ``beside`` by candidate: without the first."""

    metric: Metric
    primary: bool
    cells: tuple[Cell | None, ...]
    beside: tuple[Beside, ...]


@dataclass(frozen=True)
class Difference:
    """Of slot i on both sides, candidate - baseline, over the slots that both answered OK; ns.

    ``interval`` None: too few blocks to draw from.
    """

    slots: int
    mean_ns: float
    interval: Interval | None


@dataclass(frozen=True)
class Comparison:
    """``groups``: the baseline first. ``remarks`` by candidate. ``paired`` where slots are."""

    groups: tuple[Group, ...]
    tolerance: float
    rows: tuple[Row, ...]
    remarks: tuple[tuple[Remark, ...], ...]
    paired: Difference | None = None

    @property
    def verdicts(self) -> list[Verdict]:
        """Every one that was given."""
        return [one.verdict for row in self.rows for one in row.beside if one.verdict is not None]


def compare(
    groups: Sequence[Group],
    tolerance: float = TOLERANCE,
    primary: Sequence[str] = PRIMARY,
    metrics: Sequence[Metric] = METRICS,
) -> Comparison:
    """The first group is the baseline. Raises UsageError where rows are needed and damaged."""
    baseline, *candidates = groups
    notes = [remarks(baseline, one) for one in candidates]
    enough = [_enough(one, baseline) for one in candidates]
    drawn = _draws(groups)
    rows = []
    for metric in metrics:
        cells = tuple(_cell(metric, group) for group in groups)
        if not any(cells):
            continue
        ratios = [_ratio(metric, candidate, baseline) for candidate in candidates]
        beside = tuple(
            _beside(metric, ratio, drawn, place) for place, ratio in enumerate(ratios, start=1)
        )
        rows.append((Row(metric, metric.name in primary, cells, beside), ratios))
    return judge_rows(groups, rows, tolerance, enough, notes)


def judge_rows(
    groups: Sequence[Group],
    rows: Sequence[tuple[Row, Sequence[Ratio | None]]],
    tolerance: float,
    enough: Sequence[bool],
    notes: Sequence[Sequence[Remark]],
) -> Comparison:
    """The comparison with the verdicts of its primary rows.

    By candidate: the ratio of each row, whether there are ``enough`` runs, and the ``notes``.
    """
    p_values = {
        (row.metric.name, place): ratio.p_beyond(tolerance)
        for row, ratios in rows
        for place, ratio in enumerate(ratios)
        if row.primary and ratio is not None and enough[place] and not _forbidden(notes[place])
    }
    # One family: the more is asked, the more each answer has to show.
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    judged = []
    for row, _ in rows:
        beside = []
        for place, one in enumerate(row.beside):
            p_value = adjusted.get((row.metric.name, place))
            verdict: Verdict | None = None
            if p_value is not None:
                verdict = _verdict(one, row.metric, p_value, tolerance)
            elif row.primary:
                verdict = _why_not(one, _forbidden(notes[place]))
            beside.append(replace(one, p_value=p_value, verdict=verdict))
        judged.append(replace(row, beside=tuple(beside)))
    return Comparison(tuple(groups), tolerance, tuple(judged), tuple(map(tuple, notes)))


def _forbidden(notes: Sequence[Remark]) -> bool:
    return any(note.forbids for note in notes)


def _cell(metric: Metric, group: Group) -> Cell | None:
    found = [figure for run in group.runs if (figure := metric.read(run.summary)) is not None]
    if not found:
        return None
    values = [figure.value for figure in found]
    return Cell(
        float(np.median(values)),
        min(values),
        max(values),
        len(values),
        any(figure.censored for figure in found),
    )


def _values(metric: Metric, group: Group) -> list[float] | None:
    found = [metric.positive(run.summary) for run in group.runs]
    return None if None in found else [value for value in found if value is not None]


def _ratio(metric: Metric, candidate: Group, baseline: Group) -> Ratio | None:
    """With one run a side, of ``se`` NaN."""
    ours, theirs = _values(metric, candidate), _values(metric, baseline)
    if ours is None or theirs is None:
        return None
    if min(len(ours), len(theirs)) < 2:
        log = float(np.mean(np.log(ours)) - np.mean(np.log(theirs)))
        return Ratio(log, math.nan, 1.0)
    return welch(ours, theirs)


def _draws(groups: Sequence[Group]) -> list[dict[str, Draws] | None]:
    """By group; none where every group has runs enough for an interval between them."""
    if all(len(group.runs) > 1 for group in groups):
        return [None] * len(groups)
    found = []
    for place, group in enumerate(groups):
        rows = [run.rows for run in group.runs]
        blocks = [
            cut(one, run.end_ns, run.summary.limits.timeout_ns)
            for run, one in zip(group.runs, rows, strict=True)
            if one is not None
        ]
        complete = len(blocks) == len(group.runs)
        found.append(draw_group(blocks, seed=1000 * (place + 1)) if complete else None)
    return found


def _beside(
    metric: Metric, ratio: Ratio | None, drawn: Sequence[dict[str, Draws] | None], place: int
) -> Beside:
    if ratio is None:
        return Beside()
    if not math.isnan(ratio.se):
        return Beside(ratio.value, ratio.interval)
    return Beside(ratio.value, _within(metric.name, drawn[place], drawn[0]), within_run=True)


def _within(
    name: str, ours: Mapping[str, Draws] | None, theirs: Mapping[str, Draws] | None
) -> Interval | None:
    if ours is None or theirs is None or name not in ours:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = ours[name] / theirs[name]
    ratios = ratios[np.isfinite(ratios)]
    return percentile_interval(ratios) if len(ratios) else None


def _enough(candidate: Group, baseline: Group) -> bool:
    return min(len(candidate.runs), len(baseline.runs)) >= LEAST_RUNS


def _why_not(beside: Beside, forbidden: bool) -> Verdict:
    if forbidden:
        return Verdict.NOT_COMPARABLE
    return Verdict.NO_FIGURE if beside.ratio is None else Verdict.TOO_FEW


def _verdict(beside: Beside, metric: Metric, p_value: float, tolerance: float) -> Verdict:
    assert beside.ratio is not None
    assert beside.interval is not None
    low, high = beside.interval.low, beside.interval.high
    if p_value <= ALPHA and (low > 1 + tolerance or high < 1 / (1 + tolerance)):
        return Verdict.WORSE if (beside.ratio > 1) == (metric.better == "lower") else Verdict.BETTER
    if low >= 1 / (1 + tolerance) and high <= 1 + tolerance:
        return Verdict.WITHIN
    return Verdict.UNDECIDED
