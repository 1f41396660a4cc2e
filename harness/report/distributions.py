"""Latency distributions on a percentile axis: x = log10(1 / (1 - p))."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.config import NS_PER_MS
from harness.report.chart import Axis, Chart, Color, Level, Series, numbers
from harness.report.latency_bins import curve
from harness.report.time_charts import NO_ROWS, RunCharts
from harness.results.parts import Latencies
from harness.units import format_duration_ns

POINTS = 260
SUMMARIZED = (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999))


def distribution_charts(charts: RunCharts) -> dict[str, Chart]:
    """Response and service side by side, to one scale; and lateness."""
    run = charts.run
    rows, slo = charts.rows, run.summary.slo
    closed = run.summary.plan.rate is None
    levels = () if slo is None else (threshold_level(slo.threshold_ns),)
    note = (
        "" if rows is not None else "Without single requests: the percentiles of the summary alone."
    )
    response, service = list(_responses(charts)), list(_services(charts))
    frame = frame_of([*response, *service])
    lateness = [] if rows is None or closed else [_curve("lateness", rows.lateness, "ink")]
    return {
        "response": percentile_chart(
            "Response latency", "response, ms", response, levels, frame, note
        ),
        "service": percentile_chart(
            "Service latency of OK answers", "service, ms", service, levels, frame, note
        ),
        "lateness-distribution": percentile_chart(
            "Lateness of the client",
            "lateness, ms",
            lateness,
            missing="In a closed loop every lateness is 0." if closed else NO_ROWS,
        ),
    }


def percentile_chart(
    title: str,
    y_title: str,
    series: Sequence[Series],
    levels: tuple[Level, ...] = (),
    frame: "Frame | None" = None,
    note: str = "",
    missing: str = "",
) -> Chart:
    """Latency over the share of requests that were quicker; ``missing`` is said without series."""
    drawn = tuple(one for one in series if len(one.x))
    frame = frame_of(drawn) if frame is None else frame
    return Chart(
        title=title,
        x=Axis("percentile", 0, frame.last, ticks=percentile_ticks(frame.last)),
        y=Axis(y_title, frame.low, frame.high, log=True),
        kind="percentile",
        series=drawn,
        levels=levels,
        unit="ms",
        note=note,
        missing="" if drawn else missing or "There was no such request.",
    )


def percentile_ticks(last: float) -> tuple[tuple[float, str], ...]:
    """min, p50, p90, p99, p99.9 and so on, as far as the axis goes."""
    texts = ["p90", *(f"p99{'.' * (nines > 2)}{'9' * (nines - 2)}" for nines in range(2, 10))]
    ticks = [(0.0, "min"), (math.log10(2), "p50")]
    ticks += [(float(power), text) for power, text in enumerate(texts, start=1)]
    return tuple(tick for tick in ticks if tick[0] <= last + 1e-9)


def threshold_level(threshold_ns: int) -> Level:
    """The SLO's latency."""
    return Level(threshold_ns / NS_PER_MS, f"SLO {format_duration_ns(threshold_ns)}")


@dataclass(frozen=True)
class Frame:
    """What charts side by side show alike: up to which x, and between which latencies in ms."""

    last: float
    low: float | None
    high: float | None


def frame_of(series: Sequence[Series]) -> Frame:
    """Of all of them together."""
    last = max((x for one in series for x in one.x if x is not None), default=1.0)
    found = [y for one in series for y in one.y if y is not None and y > 0]
    low, high = (min(found) / 1.1, max(found) * 1.1) if found else (None, None)
    return Frame(max(last, 1.0), low, high)


def curve_series(
    name: str,
    counts: NDArray[Any],
    population: int,
    color: Color,
    style: Any = "line",
    timeout_ns: int | None = None,
) -> Iterator[Series]:
    """The curve; where requests without an answer begin, a mark at the deadline."""
    x, y = curve(counts, population, POINTS)
    yield Series(
        name,
        numbers(x, 6),
        numbers(y / NS_PER_MS),
        color,
        style,
        [percent_text(one) for one in x],
    )
    found = int(counts.sum())
    if timeout_ns is not None and found < population:
        share = found / population
        start = -math.log10(1 - share) if share else 0.0
        hint = f"no OK answer from {percent_text(start)} on"
        yield Series(
            f"{name}: no OK answer", [start], [timeout_ns / NS_PER_MS], color, "marks", [hint]
        )


def percent_text(x: float) -> str:
    """``p99.9`` for x = 3: as many digits as tell it from its neighbours."""
    percent = 100 * (1 - 10.0**-x)
    digits = max(0, math.ceil(x) - 2)
    return f"p{percent:.{digits}f}"


def _responses(charts: RunCharts) -> Iterator[Series]:
    summary, rows = charts.run.summary, charts.rows
    timeout_ns = summary.limits.timeout_ns
    if rows is None:
        yield from _summarized(charts, "response_ns")
        return
    counts, population = rows.response.sum(axis=0, dtype=np.int64), rows.population.sum(axis=0)
    if len(charts.drawn) != 1:
        yield from curve_series(
            "all", counts.sum(axis=0), int(population.sum()), "ink", "dashed", timeout_ns
        )
    for place, server in enumerate(charts.drawn):
        yield from curve_series(
            charts.name(server), counts[place], int(population[place]), server, "line", timeout_ns
        )


def _services(charts: RunCharts) -> Iterator[Series]:
    rows = charts.rows
    if rows is None:
        yield from _summarized(charts, "service_ns")
        return
    if len(charts.drawn) != 1:
        yield _curve("all", rows.service.sum(axis=0), "ink", "dashed")
    for place, server in enumerate(charts.drawn):
        yield _curve(charts.name(server), rows.service[place], server)


def _curve(name: str, counts: NDArray[Any], color: Color, style: Any = "line") -> Series:
    return next(curve_series(name, counts, int(counts.sum()), color, style))


def _summarized(charts: RunCharts, kind: str) -> Iterator[Series]:
    """What the summary's percentiles give."""
    summary = charts.run.summary
    if len(charts.drawn) != 1:
        yield from _points("all", getattr(summary, kind), "ink")
    for server in charts.drawn:
        found = getattr(summary.per_server[charts.run.urls[server]], kind)
        yield from _points(charts.name(server), found, server)


def _points(name: str, latencies: Latencies, color: Color) -> Iterator[Series]:
    known = [
        (-math.log10(1 - share), getattr(latencies, field))
        for field, share in SUMMARIZED
        if getattr(latencies, field) is not None
    ]
    if known:
        x = [one for one, _ in known]
        y = [value / NS_PER_MS for _, value in known]
        yield Series(name, numbers(x), numbers(y), color, hints=[percent_text(one) for one in x])
