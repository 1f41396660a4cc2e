"""perf_analyzer: its options, and its figures from the CSV report and the profile export."""

import csv
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import Peer
from benchmarks.suite.cpus import Cpus
from benchmarks.suite.limits import Limits, run_limited
from benchmarks.suite.load import Load, Outcome, present
from benchmarks.suite.tools.profile_export import lateness_us, read_export
from harness.errors import UsageError

WINDOWS = 3
"""Windows it needs before it says that a measurement is stable."""
STABLE_PERCENT = "99999"
"""Deviation of a window from the mean; at 999 a run was seen to be given up all the same."""
WINDOW_STRETCH = 1.2
"""A window lasts this much longer than was asked for."""


@dataclass(frozen=True)
class PerfAnalyzer:
    """One measurement of three windows; a deviation this wide calls any three of them stable."""

    peer: Peer
    name: str = "perf_analyzer"

    @property
    def version(self) -> str:
        """As the program says."""
        return self.peer.version

    def argv(self, load: Load, folder: Path) -> list[str]:
        """The command."""
        window_ms = load.seconds * 1e3 / WINDOWS / WINDOW_STRETCH
        if load.rate is not None:
            mode = ["--request-rate-range", f"{load.rate:g}", "--request-distribution", load.dist]
        else:
            mode = ["--concurrency-range", f"{load.concurrency}"]
        return [
            *(*self.peer.argv, "-a", "-i", "grpc", "-m", load.model, "-u", load.url, *mode),
            *("-p", f"{window_ms:.0f}", "-r", str(WINDOWS), "-s", STABLE_PERCENT),
            *("-f", str(folder / "report.csv")),
            *(("--profile-export-file", str(folder / "export.json")) if load.timestamps else ()),
        ]

    def run(
        self,
        load: Load,
        limits: Limits,
        cpus: Cpus,
        folder: Path,
        on_start: Callable[[int], None] = lambda pid: None,
    ) -> Outcome:
        """Lateness only with ``load.timestamps``: writing the export costs CPU time of its own."""
        wall_offset_ns = time.time_ns() - time.monotonic_ns()
        ended = run_limited(
            self.argv(load, folder),
            limits=limits,
            cpus=(cpus.client,),
            folder=folder,
            env=self.peer.environment(),
            on_start=on_start,
        )
        if ended.trouble:
            return Outcome(ended, trouble=ended.trouble)
        try:
            figures = report_figures(folder / "report.csv")
            requests = _count(r"Request count: (\d+)", ended.stdout)
            load_end_ns = None
            if load.timestamps:
                export = read_export(folder / "export.json")
                load_end_ns = int(export.sent_ns[-1]) - wall_offset_ns
                if load.rate is not None:
                    figures |= lateness_us(export, load.rate)
        except UsageError as error:
            return Outcome(ended, trouble=str(error))
        delayed = re.search(r"([\d.]+)% of the requests were delayed", ended.stdout + ended.stderr)
        if delayed:
            figures["delayed_percent"] = float(delayed[1])
        return Outcome(ended, requests, figures, load_end_ns)


def report_figures(path: Path) -> dict[str, float]:
    """Of the report's only row. Raises UsageError: it is none."""
    try:
        with path.open(newline="") as file:
            row = next(iter(csv.DictReader(file)), None)
        if row is None:
            raise UsageError("perf_analyzer's report has no row")
        return present(
            {
                "rate": float(row["Inferences/Second"]),
                "latency_p50_us": float(row["p50 latency"]),
                "latency_p99_us": float(row["p99 latency"]),
            }
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"perf_analyzer left no readable report: {error}") from None


def _count(pattern: str, text: str) -> int | None:
    found = re.search(pattern, text)
    return int(found[1]) if found else None
