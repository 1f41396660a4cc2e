"""Faults on purpose, and what the run made of them: ``python -m benchmarks.switching CASE...``.

Every run is 1000/s Poisson, T = 50 ms, L = 5 %, default rule, with a clean baseline of at least a
window before the fault; two real Tritons where the case says so, else embedded servers. Prints a
line a run, then median and worst of the delay from the fault to the last worker's t_seen.
"""

import argparse
import contextlib
import random
import shutil
import statistics
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from harness.bench import Bench, Result
from harness.config import NS_PER_MS, NS_PER_S, AtCommand, BenchConfig, Slo, Switching
from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.progress import Progress
from harness.records import Decision, Flag, Outcome
from harness.results.requests_file import load_requests
from harness.triton.server import TritonServer

MODELS = Path(__file__).parent.parent / "examples" / "models"
BASE = {
    "model": "identity",
    "dist": "poisson",
    "report": False,
    "rate": 1000.0,
    "slo": Slo(threshold_ns=50 * NS_PER_MS, limit=0.05, text="50ms"),
    "request_timeout_ns": 2 * NS_PER_S,
    "duration_ns": 10 * NS_PER_S,
}

ANSWERED_AFTER_NS = 200 * NS_PER_MS
"""A command takes so long at most to stop a server, and the client to read what was sent before."""


@dataclass(frozen=True)
class Found:
    """One run. ``delay_ms``: from the fault to the last worker's t_seen, None without a switch."""

    switches: int
    rule: str
    delay_ms: float | None
    books: bool
    timeouts: int
    errors: int
    late_answers: int  # completed after they were judged
    late_counted: int  # of those, judged in time all the same
    answered_after: int  # by the server that was left, ANSWERED_AFTER_NS after the fault or later
    client_late: int
    after_ok: float  # share of the slots due 100 ms after the switch or later that are OK
    exit_code: int
    findings: str

    def __str__(self) -> str:
        delay = "no switch" if self.delay_ms is None else f"{self.delay_ms:.0f} ms ({self.rule})"
        return (
            f"{delay}; {self.switches} switches, books {'balance' if self.books else 'BROKEN'},"
            f" {self.timeouts} timeout, {self.errors} error, {self.late_answers} late answers"
            f" ({self.late_counted} counted in time), {self.client_late} client-late,"
            f" OK afterwards {100 * self.after_ok:.2f} %, exit {self.exit_code}, {self.findings}"
        )


def found(result: Result, fault_s: float) -> Found:
    """The figures of one run with a fault at that plan time; ``--at`` stamps go before it."""
    summary = result.summary
    rows = load_requests(result.path / "requests.npy")
    delay_ms, rule, after_ns, answered_after = None, "", 0, 0
    if summary.switches:
        first = summary.switches[0]
        seen_ns = [one for one in first.t_seen_ns if one is not None]
        fault_ns = fault_s * NS_PER_S if first.command_ns is None else first.command_ns
        delay_ms, rule = (max(seen_ns) - fault_ns) / NS_PER_MS, first.rule
        after_ns = max(seen_ns) + 100 * NS_PER_MS
        left = rows["server"] == summary.urls.index(first.from_)
        left &= rows["t_done_ns"] > fault_ns + ANSWERED_AFTER_NS
        answered_after = int(np.count_nonzero(rows["outcome"][left] == Outcome.OK))
    late = rows[rows["flags"] & Flag.COMPLETED_AFTER_DECISION != 0]
    after = rows[rows["t_sched_ns"] >= after_ns]
    codes = {one.code for one in result.verdict.invalid_reasons}
    return Found(
        switches=len(summary.switches),
        rule=rule,
        delay_ms=delay_ms,
        books=not codes & {"books", "overflow"},
        timeouts=summary.totals.timeout,
        errors=summary.totals.error,
        late_answers=len(late),
        late_counted=int(np.count_nonzero(late["decision"] == Decision.IN_TIME)),
        answered_after=answered_after,
        client_late=summary.totals.client_late,
        after_ok=float(np.mean(after["outcome"] == Outcome.OK)) if len(after) else 0.0,
        exit_code=result.exit_code,
        findings=",".join(one.code for one in result.verdict.findings),
    )


def run(
    *urls: str,
    fault_s: float = 0.0,
    at: tuple[tuple[float, str], ...] = (),
    at_end: Callable[[], object] = lambda: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    **options: object,
) -> Found:
    """One run of the base configuration. ``at``: commands by plan time."""
    with tempfile.TemporaryDirectory() as folder:
        commands = tuple(AtCommand(at_ns=int(s * NS_PER_S), command=text) for s, text in at)
        config = BenchConfig.model_validate(
            {**BASE, "urls": urls, "at": commands, "out": f"{folder}/out", **options}
        )
        try:
            result = Bench(config, on_progress=on_progress).run()
        finally:
            at_end()
        return found(result, fault_s)


@contextlib.contextmanager
def embedded(*scripts: str, latency: str = "2ms") -> Iterator[list[EmbeddedServer]]:
    """One embedded server a script."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(EmbeddedServer(ServeConfig(script=one, latency=latency)))
            for one in scripts
        ]


@contextlib.contextmanager
def tritons(count: int = 2) -> Iterator[list[TritonServer]]:
    """Real Tritons with the identity model."""
    with contextlib.ExitStack() as stack:
        repository = stack.enter_context(tempfile.TemporaryDirectory())
        shutil.copytree(MODELS / "identity", Path(repository) / "identity")
        yield [stack.enter_context(TritonServer(repository)) for _ in range(count)]


def moment_s(seed: int) -> float:
    """A random moment after more than a window of clean baseline."""
    return round(random.Random(seed).uniform(6, 8), 4)


def stopped(repeats: int) -> Iterator[Found]:
    """Real Triton under SIGSTOP, SIGCONT 600 ms later."""
    with tritons() as (a, b):
        for seed in range(repeats):
            t_s = moment_s(seed)
            commands = ((t_s, f"kill -STOP {a.pid}"), (t_s + 0.6, f"kill -CONT {a.pid}"))
            yield run(a.grpc_url, b.grpc_url, at=commands, at_end=a.resume)


def stopped_for_good(repeats: int) -> Iterator[Found]:
    """Real Triton under SIGSTOP until the run is over."""
    with tritons() as (a, b):
        for seed in range(repeats):
            commands = ((moment_s(seed), f"kill -STOP {a.pid}"),)
            yield run(a.grpc_url, b.grpc_url, at=commands, at_end=a.resume)


def killed(repeats: int) -> Iterator[Found]:
    """Real Triton under SIGKILL."""
    with tritons(1) as (b,):
        for seed in range(repeats):
            with tritons(1) as (a,):
                commands = ((moment_s(seed), f"kill -KILL {a.pid}"),)
                yield run(a.grpc_url, b.grpc_url, at=commands)


def slow_fifth(repeats: int) -> Iterator[Found]:
    """Embedded server, slow for 20 % of its requests."""
    for seed in range(repeats):
        t_s = moment_s(seed)
        with embedded(f"{t_s}s: latency=80ms@20%", "") as (a, b):
            yield run(a.url, b.url, fault_s=t_s)


def full_cap(repeats: int) -> Iterator[Found]:
    """Embedded server that hangs, with an in-flight cap that is full after 16 ms."""
    for seed in range(repeats):
        t_s = moment_s(seed)
        with embedded(f"{t_s}s: hang", "") as (a, b):
            yield run(a.url, b.url, fault_s=t_s, max_inflight=16)


def four_percent(repeats: int) -> Iterator[Found]:
    """Embedded server with 4 % violations for 60 s: nothing to leave for."""
    for _ in range(repeats):
        with embedded("0s: latency=80ms@4%", "") as (a, b):
            yield run(a.url, b.url, duration_ns=60 * NS_PER_S)


def stalls(repeats: int) -> Iterator[Found]:
    """Embedded server that stands still for 150 ms every 10 s, for 60 s: nothing to leave for."""
    for _ in range(repeats):
        with embedded("", "") as (a, b):
            stall = f"kill -STOP {a.pid}; sleep 0.15; kill -CONT {a.pid}"
            commands = tuple((t_s, stall) for t_s in range(5, 60, 10))
            yield run(a.url, b.url, at=commands, duration_ns=60 * NS_PER_S)


def slow_start(repeats: int) -> Iterator[Found]:
    """Real Tritons whose model takes 100 ms a request in the 2 s after its first: no switch."""
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as repository:
            shutil.copytree(MODELS / "identity", Path(repository) / "identity")
            source = Path(repository) / "identity" / "1" / "model.py"
            source.write_text(source.read_text() + SLOW_START)
            with TritonServer(repository) as a, TritonServer(repository) as b:
                yield run(a.grpc_url, b.grpc_url)


SLOW_START = """

class SlowStart(TritonPythonModel):
    first_s = None

    def execute(self, requests):
        import time
        now_s = time.monotonic()
        if SlowStart.first_s is None:
            SlowStart.first_s = now_s
        if now_s - SlowStart.first_s < 2:
            time.sleep(0.1)
        return super().execute(requests)


TritonPythonModel = SlowStart
"""


def stopped_workers(repeats: int, workers: int) -> Iterator[Found]:
    """One worker under SIGSTOP for 2 s, of as many: the client's doing, no switch."""
    for seed in range(repeats):
        timers: list[threading.Timer] = []

        def later(progress: Progress, seed: int = seed, timers: list = timers) -> None:
            if progress.phase != "run" or progress.t_ns < NS_PER_S or timers:
                return
            own = [
                one for one in psutil.Process().children() if "harness.load.worker" in one.cmdline()
            ]
            delay_s = moment_s(seed) - 1
            timers.append(threading.Timer(delay_s, own[0].suspend))
            timers.append(threading.Timer(delay_s + 2, own[0].resume))
            for timer in timers:
                timer.start()

        with embedded("", "") as (a, b):
            yield run(a.url, b.url, on_progress=later, workers=workers)


def all_bad(repeats: int, script: str, cool_down_s: float = 30) -> Iterator[Found]:
    """Three embedded servers with one script, for 70 s: at most 3 switches in any 60 s."""
    for _ in range(repeats):
        with embedded(script, script, script) as servers:
            yield run(
                *(one.url for one in servers),
                duration_ns=70 * NS_PER_S,
                switching=Switching(cool_down_ns=int(cool_down_s * NS_PER_S)),
            )


FLAPPING = "; ".join(f"{t}s: {'hang' if t % 4 == 2 else 'ok'}" for t in range(2, 200, 2))

CASES: dict[str, Callable[[int], Iterator[Found]]] = {
    "stopped": stopped,
    "stopped-for-good": stopped_for_good,
    "killed": killed,
    "slow-fifth": slow_fifth,
    "full-cap": full_cap,
    "four-percent": four_percent,
    "stalls": stalls,
    "slow-start": slow_start,
    "stopped-worker-of-2": lambda repeats: stopped_workers(repeats, 2),
    "stopped-only-worker": lambda repeats: stopped_workers(repeats, 1),
    "all-hang": lambda repeats: all_bad(repeats, "2s: hang"),
    "all-half-errors": lambda repeats: all_bad(repeats, "2s: error=UNAVAILABLE@50%"),
    "all-flapping": lambda repeats: all_bad(repeats, FLAPPING, 1),
}


def main() -> None:
    """Run the cases, print, and print median and worst."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", nargs="+", choices=CASES, metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    for case in arguments.case:
        runs = []
        for number, one in enumerate(CASES[case](arguments.repeats), 1):
            runs.append(one)
            print(f"{case} {number}: {one}", flush=True)
        delays = [one.delay_ms for one in runs if one.delay_ms is not None]
        shown = "no switch in any"
        if delays:
            shown = f"median {statistics.median(delays):.0f} ms, worst {max(delays):.0f} ms"
        print(f"{case}: {len(runs)} runs, {len(delays)} with a switch: {shown}", flush=True)


if __name__ == "__main__":
    main()
