"""Is the plan kept? Proved from both sides: the records, and the server's own journal.

``python -m benchmarks.pacing [--runs 5] [--rate 100000] [--duration 10]``: Poisson arrivals against
the embedded server, one spinning worker alone on the last CPU, everything else on the first.
Prints each run and the medians, beside the gaps a bare spin loop saw in the same minute.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.spin_gaps import spin_gaps
from harness.embedded.journal import read_journal
from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.plan import PlanSpec
from harness.results.requests_file import load_requests

CELL_NS = 10_000_000
CONTROL_S = 3.0
COMMAND = [sys.executable, "-c", "from harness.cli import main; main()"]


class MemoryWatch(threading.Thread):
    """Resident memory of the coordinator and of its worker, sampled while they run."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.coordinator = psutil.Process(pid)
        self.samples: list[tuple[float, int, int]] = []
        self.start()

    def run(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            while self.coordinator.is_running():
                workers = [
                    one
                    for one in self.coordinator.children()
                    if "harness.load.worker" in one.cmdline()
                ]
                if workers:
                    rss = [one.memory_info().rss for one in (self.coordinator, workers[0])]
                    self.samples.append((time.monotonic(), *rss))
                elif self.samples:
                    return
                time.sleep(0.1)

    def growth_mb(self, process: int, after_s: float, until_s: float) -> float:
        """Largest less the value ``after_s`` after the first sample; 1: coordinator, 2: worker."""
        first_s = self.samples[0][0]
        late = [one[process] for one in self.samples if after_s <= one[0] - first_s <= until_s]
        return (max(late) - late[0]) / 1e6


def dispersion(offsets_ns: Any, duration_ns: int) -> float:
    """Index of dispersion (variance over mean) of the counts in cells of 10 ms."""
    counts = np.bincount(offsets_ns // CELL_NS, minlength=duration_ns // CELL_NS)
    return float(counts.var() / counts.mean())


def one_run(rate: float, duration_s: int, spin: str, seed: int) -> dict[str, float]:
    """One run and what both sides saw of it."""
    client_cpu = max(os.sched_getaffinity(0))
    server_cpu = min(os.sched_getaffinity(0))
    warmup_s = 2
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal"
        config = ServeConfig(journal=str(journal), cpu=server_cpu)
        with EmbeddedServer(config) as server:
            process = subprocess.Popen(
                [
                    *COMMAND,
                    *("bench", "-m", "identity", "-u", server.url, "--dist", "poisson"),
                    *("--rate", str(rate), "--duration", f"{duration_s}s", "--spin", spin),
                    *("--seed", str(seed), "--warmup", f"{warmup_s}s", "--workers", "1"),
                    *("--cpus", str(client_cpu), "--out", f"{folder}/out", "--allow-invalid"),
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            memory = MemoryWatch(process.pid)
            process.communicate(timeout=120)
            memory.join()
        rows = load_requests(Path(folder) / "out" / "requests.npy")
        summary = json.loads((Path(folder) / "out" / "summary.json").read_text())
        seen = read_journal(journal)
    seen = seen[np.char.startswith(seen["id"], b"s")]
    slots = np.array([int(one[1:], 16) for one in seen["id"]])
    handed = rows["slot"][rows["outcome"] != 6]
    ids_equal = len(slots) == len(handed) and np.array_equal(np.sort(slots), handed)
    arrivals_ns = np.empty(len(rows), np.int64)
    arrivals_ns[slots] = seen["arrival_ns"]
    # The journal's clock is CLOCK_MONOTONIC, the records' starts with the run.
    arrivals_ns = arrivals_ns[slots] - summary["origin_ns"]
    transit_ns = arrivals_ns - rows["t_sched_ns"][slots]
    duration_ns = duration_s * 10**9
    planned_ns = np.concatenate(
        [c.copy() for c in PlanSpec("poisson", rate, seed, duration_ns).chunks()]
    )
    inside = arrivals_ns[(arrivals_ns >= 0) & (arrivals_ns < duration_ns)]
    lateness_ns = rows["t_taken_ns"] - rows["t_sched_ns"]
    return {
        "slots": len(rows),
        "dropped": summary["totals"]["dropped"],
        "ids_equal": float(ids_equal),
        "lateness_p50_us": float(np.percentile(lateness_ns, 50)) / 1e3,
        "lateness_p99_us": float(np.percentile(lateness_ns, 99)) / 1e3,
        "arrival_p50_us": float(np.percentile(transit_ns, 50)) / 1e3,
        "arrival_p99_us": float(np.percentile(transit_ns, 99)) / 1e3,
        "dispersion_plan": dispersion(planned_ns, duration_ns),
        "dispersion_gap": abs(
            dispersion(inside, duration_ns) - dispersion(planned_ns, duration_ns)
        ),
        "coordinator_growth_mb": memory.growth_mb(1, warmup_s + 1, warmup_s + duration_s),
        "worker_growth_mb": memory.growth_mb(2, warmup_s + 1, warmup_s + duration_s),
    }


def main() -> None:
    """Run, print, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=100_000)
    parser.add_argument("--duration", type=int, default=10)
    parser.add_argument("--spin", default="always")
    arguments = parser.parse_args()
    runs = []
    for seed in range(1, arguments.runs + 1):
        print(spin_gaps(max(os.sched_getaffinity(0)), CONTROL_S), flush=True)
        found = one_run(arguments.rate, arguments.duration, arguments.spin, seed)
        runs.append(found)
        print("  ".join(f"{name} {value:g}" for name, value in found.items()), flush=True)
    print("median")
    for name in runs[0]:
        values = [one[name] for one in runs]
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{name:20s} {middle:12g}   ({low:g} to {high:g})")


if __name__ == "__main__":
    main()
