"""e: what the coordinator costs for each record, and memory over a long run at 20 000/s."""

import threading
import time
from pathlib import Path

import numpy as np
import psutil

from benchmarks.suite.limits import Limits
from benchmarks.suite.load import Load
from benchmarks.suite.result import Run
from benchmarks.suite.servers import ServedEmbedded
from benchmarks.suite.suite import SPARE_S, Suite
from benchmarks.suite.tools.harness import Harness

CASE = "e"
TITLE = "coordinator and memory over a long run at 20 000/s"
RATE = 20_000
WORKER = "harness.load.worker"
FIRST_SHARE = 0.1
"""Of the run, minute 1 of 10; what comes before is start-up."""


class ProcessSampler(threading.Thread):
    """CPU time of the coordinator, resident memory of it and of its worker, while they run.

    ``samples``: (CLOCK_MONOTONIC in s, CPU time in s, coordinator's bytes, worker's bytes).
    """

    def __init__(self, pid: int, every_s: float) -> None:
        super().__init__(daemon=True)
        self.samples: list[tuple[float, float, int, int]] = []
        self._pid, self._every_s = pid, every_s
        self._over = threading.Event()

    def run(self) -> None:
        """Until the coordinator or its worker is gone, or ``stop``."""
        worker: psutil.Process | None = None
        try:
            coordinator = psutil.Process(self._pid)
            while not self._over.wait(self._every_s):
                if worker is None:
                    worker = next(
                        (one for one in coordinator.children() if WORKER in one.cmdline()), None
                    )
                    continue
                self.samples.append(
                    (
                        time.monotonic(),
                        cpu_time_s(self._pid),
                        coordinator.memory_info().rss,
                        worker.memory_info().rss,
                    )
                )
        except (psutil.Error, OSError):
            return

    def stop(self) -> None:
        """Returns when it has ended."""
        self._over.set()
        self.join()


def cpu_time_s(pid: int) -> float:
    """CPU time of all living threads of a process, to the nanosecond. Raises OSError."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def run(suite: Suite) -> None:
    """One run, however many were asked for. Raises OutOfTime, NotStartedError."""
    seconds = suite.plan.long_run_s
    samplers: list[ProcessSampler] = []

    def watch(pid: int) -> None:
        samplers.append(ProcessSampler(pid, min(1.0, seconds / 100)))
        samplers[0].start()

    with ServedEmbedded(suite.cpus.server) as served:
        load = Load(served.url, served.model, seconds, rate=RATE)
        tool = Harness("harness", alone=True, spin="auto")
        try:
            outcome = suite.run(tool, load, limits=Limits(seconds + 4 * SPARE_S), on_start=watch)
        finally:
            for sampler in samplers:
                sampler.stop()
    figures: dict[str, float] = {}
    if not outcome.trouble and outcome.load_end_ns is not None:
        start_s = outcome.load_end_ns / 1e9 - seconds
        records_a_second = outcome.figures["popped"] / seconds
        figures = {name: outcome.figures[name] for name in ("rate", "valid")}
        figures |= over_time(samplers[0].samples, start_s, seconds, records_a_second)
    suite.add(
        Run(
            case=CASE,
            setting=f"{seconds:g} s",
            tool=tool.name,
            figures=figures,
            trouble=outcome.trouble,
        )
    )


def over_time(
    samples: list[tuple[float, float, int, int]],
    start_s: float,
    seconds: float,
    records_a_second: float,
) -> dict[str, float]:
    """Slope of the CPU time per record, and memory early and at the end; empty without samples."""
    if len(samples) < 2:
        return {}
    at_s, cpu_s, coordinator, worker = map(np.array, zip(*samples, strict=True))
    early_s, late_s = start_s + FIRST_SHARE * seconds, start_s + 0.99 * seconds
    used_s = float(np.interp(late_s, at_s, cpu_s) - np.interp(early_s, at_s, cpu_s))
    figures = {"coordinator_us": used_s / (late_s - early_s) / records_a_second * 1e6}
    for name, rss in (("coordinator", coordinator), ("worker", worker)):
        early, late = (float(np.interp(moment_s, at_s, rss)) for moment_s in (early_s, late_s))
        figures[f"{name}_early_mb"] = early / 1e6
        figures[f"{name}_late_mb"] = late / 1e6
        figures[f"{name}_growth_percent"] = 100 * (late / early - 1)
    return figures
