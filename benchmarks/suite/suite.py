"""What every case works with: the tools, the plan, the time left, and the result so far."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.suite.cpus import Cpus
from benchmarks.suite.figures import LABELS, number
from benchmarks.suite.limits import Limits
from benchmarks.suite.load import Load, Outcome
from benchmarks.suite.plans import Plan
from benchmarks.suite.result import Run, SuiteResult
from benchmarks.suite.servers import Served
from benchmarks.suite.slope import Point, cpu_per_request_us
from benchmarks.suite.tools import Tool

SPARE_S = 15.0
"""A run may take this and twice its load's time, until it is killed."""

OVERHEAD_S = 2.0
"""What a run takes beside its load, about."""


KEPT = (
    *("rate", "valid", "dropped", "late_percent", "delayed_percent"),
    *("lateness_p50_us", "lateness_p99_us", "latency_p50_us", "latency_p99_us"),
)
"""Figures of a run that are kept beside its CPU time."""


class OutOfTime(Exception):
    """The time for the whole suite does not allow what comes next."""


class Suite:
    """One run of the suite. ``peers`` are the peers that can be had, by name."""

    def __init__(
        self,
        plan: Plan,
        cpus: Cpus,
        peers: dict[str, Tool],
        result: SuiteResult,
        folder: Path,
        say: Callable[[str], None],
    ) -> None:
        self.plan, self.cpus, self.peers = plan, cpus, peers
        self.result, self.say = result, say
        self._folder = folder
        self._end_s = time.monotonic() + plan.whole_s

    @property
    def left_s(self) -> float:
        """Until the limit of the whole."""
        return self._end_s - time.monotonic()

    def needs(self, seconds: float) -> None:
        """Raises OutOfTime if so long a step would not fit any more."""
        if seconds > self.left_s:
            raise OutOfTime(f"{seconds:.0f} s are needed, {max(0.0, self.left_s):.0f} s are left")

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder on disk, for one run."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def available(self, *names: str) -> list[Tool]:
        """Those peers that can be had, in this order."""
        return [self.peers[name] for name in names if name in self.peers]

    def add(self, run: Run) -> None:
        """Keep a run and print its line."""
        self.result.runs.append(run)
        shown = run.trouble or ", ".join(
            f"{label} {number(run.figures[name])}"
            for name, label in LABELS.items()
            if name in run.figures
        )
        self.say(f"{run.case}  {run.setting}  {run.tool}: {shown}")

    def run(
        self,
        tool: Tool,
        load: Load,
        *,
        limits: Limits | None = None,
        on_start: Callable[[int], None] = lambda pid: None,
    ) -> Outcome:
        """One run of a tool. Raises OutOfTime."""
        self.needs(load.seconds + OVERHEAD_S)
        own = limits or Limits(2 * load.seconds + SPARE_S)
        bounded = Limits(min(own.timeout_s, self.left_s), own.memory_bytes, own.sample_s)
        with self.scratch() as folder:
            return tool.run(load, bounded, self.cpus, folder, on_start)

    def counted(self, tool: Tool, load: Load, served: Served) -> tuple[Outcome, int | None]:
        """One run, to wherever the server is, and its requests by the server's count, else its own.

        Raises OutOfTime, NotStartedError.
        """
        served.fresh()
        load = replace(load, url=served.url)
        before = served.executed()
        outcome = self.run(tool, load)
        after = served.executed()
        if outcome.trouble:
            return self.after_trouble(outcome, served), None
        if before is None or after is None or outcome.counts_itself:
            return outcome, outcome.requests
        return outcome, after - before

    def after_trouble(self, outcome: Outcome, served: Served) -> Outcome:
        """A tool that failed may leave a server that no other should meet: it is started anew.

        Raises NotStartedError.
        """
        killed = served.killed_at_bytes
        served.restart()
        if killed is None:
            return outcome
        return replace(
            outcome, trouble=f"{outcome.trouble}; server killed at {killed / 1e9:.1f} GB"
        )

    def slope(self, tool: Tool, load: Load, served: Served) -> tuple[dict[str, float], str]:
        """The load's figures with ``cpu_us`` a request, from it and a short one; and the trouble.

        Raises OutOfTime, NotStartedError.
        """
        points = []
        figures: dict[str, float] = {}
        for seconds in (self.plan.short_s, load.seconds):
            outcome, requests = self.counted(tool, replace(load, seconds=seconds), served)
            if outcome.trouble or requests is None:
                return {}, outcome.trouble or "nobody counted its requests"
            points.append(Point(outcome.ended.cpu_s, requests))
            figures = {name: outcome.figures[name] for name in KEPT if name in outcome.figures}
            figures["peak_rss_mb"] = outcome.ended.peak_rss_bytes / 1e6
        cpu_us = cpu_per_request_us(*points)
        if cpu_us is not None:
            figures["cpu_us"] = cpu_us
        return figures, ""
