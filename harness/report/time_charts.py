"""Charts over the time of a run: violations, latency, rates, requests in flight, lateness."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.config import NS_PER_MS, NS_PER_S
from harness.records import BUCKET_NS, NO_SERVER
from harness.report.chart import Axis, Chart, Level, Moment, Series, Span, numbers, thinned
from harness.report.latency_bins import percentile_ns
from harness.report.moments import MOMENTS
from harness.report.row_figures import RowFigures, walk
from harness.report.slices import Slices, TimeAxis, make_slices
from harness.results.stored import StoredRun
from harness.results.windows_file import Windows
from harness.units import format_duration_ns, server_letter
from harness.untrusted import clean_text

MOST_DRAWN = 8
"""Servers with lines of their own."""
MAX_NAME_CHARS = 28
DEFAULT_WINDOW_NS = 5 * NS_PER_S
LEAST_DECIDED = 20
"""In a window: fewer are no share worth drawing, as no rule fires on them."""
LEAST_GAP = 5
"""Buckets without a decided slot after which a server has no share any more."""
MOST_MOMENTS = 100
MOST_NAMED = 8
"""Moments that have a text: more would cover each other."""
MOST_SPANS = 50
NO_ROWS = "No single requests were kept (requests.npy), so there is nothing to draw."
NO_WINDOWS = "There is no windows.csv, so there is nothing to draw."

Values = NDArray[np.float64]


@dataclass(frozen=True)
class RunCharts:
    """The charts of one run."""

    run: StoredRun

    @cached_property
    def drawn(self) -> list[int]:
        """The servers with lines of their own: the first that got load."""
        per_server = self.run.summary.per_server
        used = [
            index
            for index, url in enumerate(self.run.urls)
            if index < NO_SERVER and url in per_server and per_server[url].totals.scheduled
        ]
        return used[:MOST_DRAWN]

    @cached_property
    def time(self) -> TimeAxis:
        """The axis they share."""
        return TimeAxis(self.run.end_ns)

    @cached_property
    def slices(self) -> Slices:
        """In which requests are counted."""
        return make_slices(self.run.end_ns, self.run.summary.totals.scheduled)

    @cached_property
    def rows(self) -> RowFigures | None:
        """What the rows say; None where none were kept. Raises UsageError."""
        rows = self.run.rows
        return None if rows is None else walk(rows, self.slices, self.drawn)

    @property
    def windows(self) -> Windows | None:
        """Counts by bucket, where there are any."""
        return self.run.windows

    def name(self, server: int) -> str:
        """How a chart calls a server."""
        return f"{server_letter(server)} {clean_text(self.run.urls[server], MAX_NAME_CHARS)}"

    def charts(self) -> dict[str, Chart]:
        """By id, in the order they are shown."""
        return {
            "violations": self.violations(),
            "latency": self.latency(),
            "rates": self.rates(),
            "in-flight": self.in_flight(),
            "lateness": self.lateness(),
        }

    def violations(self) -> Chart:
        """The share of violations in a window that slides over the buckets, by server."""
        summary, windows = self.run.summary, self.windows
        detector, slo = summary.detector, summary.slo
        window_ns = DEFAULT_WINDOW_NS
        if detector is not None and detector.window_ns is not None:
            window_ns = max(BUCKET_NS, detector.window_ns)
        title = "Violated" if slo is not None else "Failed"
        text = format_duration_ns(window_ns)
        return self._over_time(
            title=f"{title}, share of the last {text}",
            y=Axis(f"{title.lower()}, %", low=0),
            unit="%",
            series=() if windows is None else tuple(self._shares(windows, window_ns)),
            levels=()
            if slo is None
            else (Level(100 * slo.limit, f"limit {100 * slo.limit:.4g} %"),),
            spans=tuple(self._spans(window_ns)),
            missing="" if windows is not None else NO_WINDOWS,
            note=f"Band before a switch: the window of {text} it was decided in.",
        )

    def _shares(self, windows: Windows, window_ns: int) -> Iterator[Series]:
        width = -(-window_ns // BUCKET_NS)
        gap = max(LEAST_GAP, self._ten_mean_gaps())
        ends_ns = (np.arange(windows.buckets) + 1.0) * BUCKET_NS
        x = np.minimum(ends_ns, self.run.end_ns) / self.time.unit_ns
        for server in self.drawn:
            decided = sliding(windows.decided[server], width)
            violated = sliding(windows.violations[server], width)
            current = sliding(windows.decided[server], gap) > 0
            begun = np.cumsum(windows.decided[server]) > 0
            full = sliding(begun.astype(np.int64), width) == width
            fit = current & (decided > 0) & ((decided >= LEAST_DECIDED) | full)
            share = np.where(fit, 100 * violated / np.maximum(decided, 1), np.nan)
            yield Series(self.name(server), *thinned(x, share), color=server)

    def _ten_mean_gaps(self) -> int:
        """In buckets: a longer pause is no doing of the arrivals."""
        offered = max(self.run.summary.rate.offered, 1e-6)
        return min(1 << 30, int(10 * NS_PER_S / offered / BUCKET_NS) + 1)

    def latency(self) -> Chart:
        """p50 and p99 of the response latency in each slice, by server."""
        slo, rows = self.run.summary.slo, self.rows
        each = format_duration_ns(self.slices.width_ns)
        return self._over_time(
            title=f"Response latency, p50 and p99 of each {each}",
            y=Axis("response, ms", log=True),
            unit="ms",
            series=() if rows is None else tuple(self._percentiles(rows)),
            levels=() if slo is None else (_threshold(slo.threshold_ns),),
            spans=tuple(self._spans()),
            missing="" if rows is not None else NO_ROWS,
            note="By planned time. ▲ at the deadline: more went without an OK answer"
            " than the percentile leaves out.",
        )

    def _percentiles(self, rows: RowFigures) -> Iterator[Series]:
        x = numbers(rows.slices.middles_ns / self.time.unit_ns, 7)
        timeout_ms = self.run.summary.limits.timeout_ns / NS_PER_MS
        for place, server in enumerate(self.drawn):
            population = rows.population[:, place]
            for percent, style in ((50.0, "thin"), (99.0, "line")):
                found = percentile_ns(rows.response[:, place], percent, population)
                name = f"{self.name(server)}, p{percent:g}"
                y = numbers(np.where(np.isinf(found), np.nan, found) / NS_PER_MS)
                yield Series(name, x, y, server, style)  # type: ignore[arg-type]
                beyond = np.flatnonzero(np.isinf(found))
                if len(beyond):
                    hint = f"{server_letter(server)} p{percent:g}: no OK answer"
                    yield Series(
                        f"{name}: no OK answer",
                        [x[one] for one in beyond],
                        [timeout_ms] * len(beyond),
                        server,
                        "marks",
                        [hint] * len(beyond),
                    )

    def rates(self) -> Chart:
        """Slots due and answers OK, per second."""
        each = format_duration_ns(self.slices.width_ns)
        return self._over_time(
            title=f"Requests per second, each {each}",
            y=Axis("requests/s", low=0),
            unit="/s",
            series=tuple(self._rates()),
            spans=tuple(self._spans()),
            missing="" if self._has_counts else NO_WINDOWS,
            note="OK answers by when they came, by server."
            if self.rows is not None
            else "Without single requests: decided slots and OK answers by planned time.",
        )

    @property
    def _has_counts(self) -> bool:
        return self.rows is not None or self.windows is not None

    def _rates(self) -> Iterator[Series]:
        rows, windows = self.rows, self.windows
        slices = self.slices
        if rows is not None:
            due, ok = rows.scheduled.sum(axis=1), rows.ok.T
            dropped = rows.dropped.sum(axis=1)
        elif windows is not None:
            due = slices.sums(windows.decided.sum(axis=0))
            ok = slices.sums(windows.ok[self.drawn])
            dropped = np.zeros_like(due)
        else:
            return
        x = numbers(slices.middles_ns / self.time.unit_ns, 7)
        for place, server in enumerate(self.drawn):
            rate = slices.per_second(ok[place])
            yield Series(f"{self.name(server)}, OK", x, numbers(rate), server)
        name = "offered" if rows is not None else "decided"
        yield Series(name, x, numbers(slices.per_second(due)), "muted", "dashed")
        if dropped.any():
            yield Series("dropped", x, numbers(slices.per_second(dropped)), "bad", "area")

    def in_flight(self) -> Chart:
        """Requests in flight at the last look into each bucket, by server."""
        windows, cap = self.windows, self.run.summary.limits.inflight_cap
        series: tuple[Series, ...] = ()
        highest = 0
        if windows is not None:
            x = (np.arange(windows.buckets) + 1.0) * BUCKET_NS / self.time.unit_ns
            counts = [windows.in_flight[server].astype(np.float64) for server in self.drawn]
            highest = max((int(one.max(initial=0)) for one in counts), default=0)
            series = tuple(
                Series(self.name(server), *thinned(x, np.where(one < 0, np.nan, one)), server)
                for server, one in zip(self.drawn, counts, strict=True)
            )
        near = highest >= cap / 4
        return self._over_time(
            title="Requests in flight",
            y=Axis("in flight", low=0),
            series=series,
            levels=(Level(cap, f"cap {cap}"),) if near else (),
            spans=tuple(self._spans()),
            missing="" if windows is not None else NO_WINDOWS,
            note="" if near else f"The cap of {cap} a server is far above.",
        )

    def lateness(self) -> Chart:
        """How late the client came to its slots, in each slice."""
        rows = self.rows
        missing = NO_ROWS if rows is None else ""
        if self.run.summary.plan.rate is None:
            missing = "In a closed loop no slot has a planned time to be late for."
        series: tuple[Series, ...] = ()
        if rows is not None and not missing:
            x = numbers(rows.slices.middles_ns / self.time.unit_ns, 7)
            p99 = percentile_ns(rows.late, 99.0, rows.late.sum(axis=1))
            most = np.where(rows.late_max_ns < 0, np.nan, np.maximum(rows.late_max_ns, 64))
            series = (
                Series("highest", x, numbers(most / NS_PER_MS), "muted", "thin"),
                Series("p99", x, numbers(p99 / NS_PER_MS), "ink"),
            )
        each = format_duration_ns(self.slices.width_ns)
        return self._over_time(
            title=f"Lateness of the client, p99 and highest of each {each}",
            y=Axis("lateness, ms", log=True),
            unit="ms",
            series=series,
            spans=tuple(self._spans()),
            missing=missing,
        )

    def _over_time(self, **given: object) -> Chart:
        x = Axis(f"time since the start, {self.time.unit}", 0, self.time.at(self.run.end_ns))
        return Chart(x=x, kind="time", moments=tuple(self._moments()), **given)  # type: ignore[arg-type]

    def _moments(self) -> Iterator[Moment]:
        """Switches and what else moved load or was done on purpose, in order."""
        events = self.run.events
        if events is None:
            for switch in self.run.summary.switches[:MOST_MOMENTS]:
                text = f"{self._letter(switch.from_)} → {self._letter(switch.to)}"
                yield Moment(self.time.at(switch.t_decide_ns), text)
            return
        told = [event for event in events if event["event"] in MOMENTS][:MOST_MOMENTS]
        for event in told:
            kind = event["event"]
            text = MOMENTS[kind](event) if len(told) <= MOST_NAMED else ""
            yield Moment(
                self.time.at(event["t_ns"]), text, "switch" if kind == "switch" else "event"
            )

    def _letter(self, url: str) -> str:
        urls = self.run.urls
        return server_letter(urls.index(url)) if url in urls else "?"

    def _spans(self, window_ns: int | None = None) -> Iterator[Span]:
        """Outages in which something failed, and before each switch the window it is judged by."""
        summary, at = self.run.summary, self.time.at
        for outage in summary.outages[:MOST_SPANS]:
            if outage.failed:
                yield Span(at(outage.t_start_ns), at(outage.t_end_ns), "outage")
        if window_ns is not None:
            for switch in summary.switches[:MOST_SPANS]:
                start_ns = max(0, switch.t_decide_ns - window_ns)
                yield Span(at(start_ns), at(switch.t_decide_ns), "window")


def sliding(counts: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Of each bucket and the ``width`` - 1 before it."""
    sums: NDArray[np.int64] = np.cumsum(counts)
    within = sums.copy()
    within[width:] -= sums[:-width]
    return within


def _threshold(threshold_ns: int) -> Level:
    return Level(threshold_ns / NS_PER_MS, f"SLO {format_duration_ns(threshold_ns)}")
