"""``compare --html``: groups of runs beside a baseline, with their latency distributions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import harness
from harness.compare.comparability import Remark
from harness.compare.comparison import LEAST_RUNS, Beside, Cell, Comparison, Row, Verdict
from harness.compare.groups import Group
from harness.compare.metrics import Metric
from harness.compare.text import paired_text, value_text
from harness.report.chart import Chart, Level, Series
from harness.report.distributions import (
    curve_series,
    frame_of,
    percentile_chart,
    threshold_level,
)
from harness.report.latency_bins import BINS, Counts
from harness.report.page import render, write_page
from harness.report.row_figures import walk
from harness.report.slices import Slices
from harness.report.table import NONE, ServerName
from harness.results.stored import StoredRun
from harness.units import server_letter

WIDTH, MIDDLE = 190.0, 9.0
LEAST_REACH, MOST_REACH = math.log(1.25), math.log(4)
NO_ROWS = "No run kept its single requests (requests.npy)."


@dataclass(frozen=True)
class Bar:
    """An interval drawn to the scale of its table, in pixels; 1 lies in the middle."""

    tolerance_x: float
    tolerance_width: float
    low: float
    high: float
    ratio: float
    kind: str

    middle_x = WIDTH / 2
    middle_y = MIDDLE


@dataclass(frozen=True)
class Line:
    """One metric of a candidate beside the baseline's, in words."""

    label: str
    primary: bool
    baseline: tuple[str, str]
    candidate: tuple[str, str]
    ratio: str
    interval: str
    bar: Bar | None
    verdict: str
    kind: str


@dataclass(frozen=True)
class Pair:
    """A candidate beside the baseline."""

    candidate: ServerName
    runs: int
    remarks: tuple[Remark, ...]
    lines: tuple[Line, ...]
    within: bool


def write_comparison_page(comparison: Comparison, path: Path) -> None:
    """Write the page to ``path``. Raises ResultsError, UsageError: damaged rows."""
    write_page(path, comparison_page(comparison))


def comparison_page(comparison: Comparison) -> bytes:
    """The page as HTML. Raises as ``write_comparison_page``."""
    groups = comparison.groups
    names = [
        ServerName(place, server_letter(place), group.name) for place, group in enumerate(groups)
    ]
    return render(
        "comparison.html",
        _charts(comparison),
        version=harness.__version__,
        baseline=names[0],
        baseline_runs=len(groups[0].runs),
        pairs=[_pair(comparison, place, names[place + 1]) for place in range(len(groups) - 1)],
        tolerance=f"{100 * comparison.tolerance:g} %",
        least_runs=LEAST_RUNS,
        paired="" if comparison.paired is None else paired_text(comparison.paired),
        directories=[
            (name, [str(run.path) for run in group.runs])
            for name, group in zip(names, groups, strict=True)
        ],
    )


def _pair(comparison: Comparison, place: int, name: ServerName) -> Pair:
    reach = _reach([row.beside[place] for row in comparison.rows], comparison.tolerance)
    return Pair(
        name,
        len(comparison.groups[place + 1].runs),
        comparison.remarks[place],
        tuple(_line(row, place, comparison.tolerance, reach) for row in comparison.rows),
        any(one.within_run and one.interval for one in (r.beside[place] for r in comparison.rows)),
    )


def _line(row: Row, place: int, tolerance: float, reach: float) -> Line:
    beside = row.beside[place]
    interval = beside.interval
    kind = KINDS.get(beside.verdict, "") if beside.verdict is not None else ""
    text = ""
    if interval is not None:
        text = f"{interval.low:.3f} {NONE} {interval.high:.3f}" + " w" * beside.within_run
    return Line(
        row.metric.label,
        row.primary,
        _cell(row.metric, row.cells[0]),
        _cell(row.metric, row.cells[place + 1]),
        NONE if beside.ratio is None else f"{beside.ratio:.3f}",
        text,
        _bar(beside, tolerance, reach, kind),
        "" if beside.verdict is None else str(beside.verdict),
        kind,
    )


KINDS = {Verdict.BETTER: "better", Verdict.WORSE: "worse"}
"""Verdicts with a color."""


def _cell(metric: Metric, cell: Cell | None) -> tuple[str, str]:
    """The median, and the range where there is one."""
    if cell is None:
        return NONE, ""
    text = ">" * cell.censored + value_text(metric, cell.median)
    if cell.runs < 2 or cell.low == cell.high:
        return text, ""
    return text, f"{value_text(metric, cell.low)} {NONE} {value_text(metric, cell.high)}"


def _reach(besides: Sequence[Beside], tolerance: float) -> float:
    """How far a table's bars go from 1 to either side, as a logarithm."""
    ends = [1 + 2 * tolerance]
    for one in besides:
        for end in () if one.interval is None else (one.interval.low, one.interval.high):
            if 0 < end < math.inf:
                ends.append(end)
    return min(MOST_REACH, max(LEAST_REACH, *(1.1 * abs(math.log(end)) for end in ends)))


def _bar(beside: Beside, tolerance: float, reach: float, kind: str) -> Bar | None:
    if beside.ratio is None or beside.interval is None:
        return None

    def at(ratio: float) -> float:
        log = math.log(ratio) if ratio > 0 else -math.inf
        return round((max(-1.0, min(1.0, log / reach)) + 1) / 2 * (WIDTH - 8) + 4, 1)

    left, right = at(1 / (1 + tolerance)), at(1 + tolerance)
    low, high = at(beside.interval.low), at(beside.interval.high)
    if beside.within_run:
        kind = "within"
    return Bar(left, round(right - left, 1), low, high, at(beside.ratio), kind)


def _charts(comparison: Comparison) -> dict[str, Chart]:
    """The distributions of all groups on one axis; service on the same scale."""
    groups = comparison.groups
    response: list[Series] = []
    service: list[Series] = []
    for place, group in enumerate(groups):
        found = _distributions(group, _side(groups, place))
        if found is None:
            continue
        name = f"{server_letter(place)} {group.name}"
        timeout_ns = max(run.summary.limits.timeout_ns for run in group.runs)
        response += curve_series(name, found.response, found.population, place, "line", timeout_ns)
        answered = int(found.service.sum())
        service += curve_series(name, found.service, answered, place, "line")
    frame = frame_of([*response, *service])
    levels = _levels(groups)
    note = "All runs of a group together."
    return {
        "response": percentile_chart(
            "Response latency", "response, ms", response, levels, frame, note, NO_ROWS
        ),
        "service": percentile_chart(
            "Service latency of OK answers",
            "service, ms",
            service,
            levels,
            frame,
            note,
            NO_ROWS,
        ),
    }


@dataclass(frozen=True)
class Distributions:
    """Counts by latency bin, of all runs of a group that kept their rows."""

    response: Counts
    service: Counts
    population: int


def _distributions(group: Group, server: int | None) -> Distributions | None:
    response, service = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
    population, kept = 0, 0
    for run in group.runs:
        rows = run.rows
        if rows is None:
            continue
        kept += 1
        figures = walk(rows, _whole(run), () if server is None else (server,))
        # Of one server alone, or of all together.
        places = slice(None) if server is None else slice(0, 1)
        response += figures.response[0, places].sum(axis=0)
        service += figures.service[places].sum(axis=0)
        population += int(figures.population[0, places].sum())
    return Distributions(response, service, population) if kept else None


def _side(groups: Sequence[Group], place: int) -> int | None:
    """The server of a group whose runs are those of another one too: they took turns in it."""
    others = {id(run) for index, group in enumerate(groups) if index != place for run in group.runs}
    return place if any(id(run) in others for run in groups[place].runs) else None


def _whole(run: StoredRun) -> Slices:
    return Slices(run.end_ns, run.end_ns)


def _levels(groups: Sequence[Group]) -> tuple[Level, ...]:
    slos = {
        None if run.summary.slo is None else run.summary.slo.threshold_ns
        for group in groups
        for run in group.runs
    }
    threshold_ns = slos.pop()
    return () if slos or threshold_ns is None else (threshold_level(threshold_ns),)
