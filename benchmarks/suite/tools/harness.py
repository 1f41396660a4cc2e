"""The harness itself, as a command."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.suite.cpus import Cpus
from benchmarks.suite.limits import Ended, Limits, run_limited
from benchmarks.suite.load import Load, Outcome, present
from harness import __version__
from harness.errors import UsageError
from harness.records import Decision, Reason
from harness.records import Outcome as SlotOutcome
from harness.results.requests_file import load_requests
from harness.results.summary import Summary, load_summary

COMMAND = [sys.executable, "-c", "from harness.cli import main; main()"]
WARMUP_S = 0.5
LATE_NS = 1_000_000


@dataclass(frozen=True)
class Harness:
    """``alone``: the worker has the client's CPU to itself and the coordinator is on the server's;
    otherwise the whole client is on the client's CPU. ``spin`` as the option."""

    name: str = "harness"
    alone: bool = False
    spin: str = "never"
    warmup_s: float = WARMUP_S

    @property
    def version(self) -> str:
        """Of the package."""
        return __version__

    def argv(self, load: Load, cpus: Cpus, out: Path) -> list[str]:
        """The command."""
        open_loop = load.rate is not None
        return [
            *(*COMMAND, "bench", "-m", load.model, "-u", load.url, "--workers", "1"),
            *("--duration", f"{load.seconds:g}s", "--spin", self.spin),
            *("--warmup", f"{self.warmup_s if open_loop else 0:g}s"),
            *(("--rate", f"{load.rate:g}", "--dist", load.dist) if open_loop else ()),
            *(() if open_loop else ("--concurrency", f"{load.concurrency}")),
            *(("--cpus", str(cpus.client)) if self.alone else ()),
            *(("--slo", load.slo) if load.slo else ()),
            *("--allow-invalid", "--no-report", "--out", str(out)),
        ]

    def run(
        self,
        load: Load,
        limits: Limits,
        cpus: Cpus,
        folder: Path,
        on_start: Callable[[int], None] = lambda pid: None,
    ) -> Outcome:
        """Figures from its summary and its records."""
        ended = run_limited(
            self.argv(load, cpus, folder / "out"),
            limits=limits,
            cpus=cpus.both if self.alone else (cpus.client,),
            folder=folder,
            on_start=on_start,
        )
        if ended.trouble:
            return Outcome(ended, trouble=ended.trouble)
        try:
            summary = load_summary(folder / "out")
            return _outcome(ended, summary, load, folder / "out")
        except UsageError as error:
            return Outcome(ended, trouble=str(error))


def _outcome(ended: Ended, summary: Summary, load: Load, out: Path) -> Outcome:
    rows = load_requests(out)
    dropped = (rows["outcome"] == SlotOutcome.DROPPED) & (rows["reason"] == Reason.BACKPRESSURE)
    lateness_ns = rows["t_taken_ns"] - rows["t_sched_ns"]
    (server,) = summary.per_server.values()
    figures: dict[str, float | None] = {
        "rate": summary.rate.ok,
        "valid": summary.valid,
        "latency_p50_us": _us(summary.service_ns.p50),
        "latency_p99_us": _us(summary.service_ns.p99),
        "dropped": summary.totals.dropped,
        "drops_backpressure": int(dropped.sum()),
        "drops_not_violations": int((rows["decision"][dropped] != Decision.STATUS).sum()),
        "not_ok": summary.totals.sent - summary.totals.ok,
        "in_flight_max": server.in_flight_max,
        "in_flight_cap": summary.limits.inflight_cap,
        "popped": sum(worker.popped for worker in summary.workers),
    }
    if load.rate is not None:
        figures |= {
            "lateness_p50_us": _us(summary.lateness_ns.p50),
            "lateness_p99_us": _us(summary.lateness_ns.p99),
            "late_percent": 100 * float(np.mean(lateness_ns > LATE_NS)),
        }
    if summary.origin_ns:
        figures["first_slot_s"] = (summary.origin_ns - ended.started_ns) / 1e9
    return Outcome(
        ended,
        summary.totals.sent,
        present(figures),
        summary.origin_ns + int(load.seconds * 1e9),
    )


def _us(value_ns: int | None) -> float | None:
    return None if value_ns is None else value_ns / 1e3
