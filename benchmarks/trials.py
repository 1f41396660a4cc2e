"""How often a comparison is right: ``python -m benchmarks.trials verdicts|width``.

``verdicts``: 20 s runs at 2000/s against embedded servers, one with 10 ms and one with 12 ms of
latency (log-normal), recorded in turn; trials draw 5 runs a side from the record. ``width``: the
interval of ``harness ab`` beside that of two runs one after the other of the same total length,
while another load disturbs the machine in bursts.
"""

import argparse
import contextlib
import math
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.ab import run_ab
from harness.bench import Bench
from harness.compare.comparison import Comparison, Verdict, compare
from harness.compare.groups import Group
from harness.config import NS_PER_MS, NS_PER_S, BenchConfig, Slo
from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.host import allowed_cpus
from harness.repeats import Repeats
from harness.results.stored import StoredRun, load_run

SAME, SLOWER = "lognormal:10ms,20ms", "lognormal:12ms,24ms"
NEAR = Slo(threshold_ns=20 * NS_PER_MS, limit=0.05, text="20ms")
"""1 % of the one server's answers violate it, and 4 % of the slower one's: a rate that varies."""
BASE = {
    "model": "identity",
    "dist": "poisson",
    "report": False,
    "rate": 2000.0,
    "slo": Slo(threshold_ns=50 * NS_PER_MS, limit=0.05, text="50ms"),
    "request_timeout_ns": 2 * NS_PER_S,
    "warmup_ns": NS_PER_S,
}
RUN_S = 20
REFERENCE_S = 10 * RUN_S
SIDE = 5
TRIES = 3
BURST_S = (0.15, 0.4)
QUIET_S = (0.6, 1.8)


def one_run(url: str, out: Path, seconds: float, **changes: object) -> StoredRun:
    """A run of its own."""
    load = {"urls": (url,), "out": str(out), "duration_ns": round(seconds * NS_PER_S)}
    config = BenchConfig.model_validate({**BASE, **load, **changes})
    return load_run(Bench(config).run().path)


def valid_run(url: str, out: Path, seconds: float) -> StoredRun:
    """A run of its own; again where the machine's other work made it invalid."""
    for number in range(TRIES):
        run = one_run(url, out, seconds, slo=NEAR, force=True)
        if run.summary.valid:
            break
        print(f"{out.name} is invalid; try {number + 1} of {TRIES}", file=sys.stderr, flush=True)
    return run


def verdicts(folder: Path, runs: int, trials: int) -> None:
    """Prints a line a trial, and how many were right."""
    cpu = allowed_cpus()[0]
    with (
        EmbeddedServer(ServeConfig(cpu=cpu, latency=SAME, seed=1)) as same,
        EmbeddedServer(ServeConfig(cpu=cpu, latency=SLOWER, seed=2)) as slower,
    ):
        pools: dict[str, list[StoredRun]] = {same.url: [], slower.url: []}
        for number in range(runs):
            for place, url in enumerate(pools):
                out = folder / f"{'same' if place == 0 else 'slower'}-{number:02d}"
                pools[url].append(valid_run(url, out, RUN_S))
            print(f"recorded {number + 1} of {runs} a side", file=sys.stderr, flush=True)
        reference = [
            valid_run(url, folder / f"reference-{place}", REFERENCE_S)
            for place, url in enumerate(pools)
        ]
    ours, theirs = pools.values()
    truth = {name: reference_ratio(reference[1], reference[0], name) for name in ("p99", "in_slo")}
    draw = random.Random(1)
    right = {"same": 0, "slower": 0, "p99": 0, "in_slo": 0}
    for trial in range(trials):
        chosen = draw.sample(ours, 2 * SIDE)
        alike = compared(chosen[:SIDE], chosen[SIDE:])
        differ = compared(draw.sample(ours, SIDE), draw.sample(theirs, SIDE))
        calm = {Verdict.WITHIN, Verdict.UNDECIDED}
        right["same"] += set(alike.verdicts) <= calm
        right["slower"] += Verdict.WORSE in differ.verdicts
        for row in differ.rows:
            interval = row.beside[0].interval
            if row.metric.name in truth and interval is not None:
                right[row.metric.name] += interval.low <= truth[row.metric.name] <= interval.high
        shown = ", ".join(f"{one}" for one in (*alike.verdicts, "|", *differ.verdicts))
        print(f"trial {trial + 1:2}: {shown}", flush=True)
    print(f"same server, no better or worse: {right['same']} of {trials}")
    print(f"20 % slower, worse: {right['slower']} of {trials}")
    for name, ratio in truth.items():
        print(f"interval of {name} holds the reference's {ratio:.4f}: {right[name]} of {trials}")


def compared(baseline: Sequence[StoredRun], candidate: Sequence[StoredRun]) -> Comparison:
    """Two groups of runs."""
    return compare([Group("baseline", tuple(baseline)), Group("candidate", tuple(candidate))])


def reference_ratio(candidate: StoredRun, baseline: StoredRun, name: str) -> float:
    """Of two long runs."""
    (row,) = (row for row in compared([baseline], [candidate]).rows if row.metric.name == name)
    assert row.beside[0].ratio is not None
    return row.beside[0].ratio


@contextlib.contextmanager
def disturbed(seed: int) -> Iterator[None]:
    """A spinning process on every CPU at once, in bursts."""
    over = threading.Event()
    spin = (
        "import sys,time\nend=time.monotonic()+float(sys.argv[1])\nwhile time.monotonic()<end: pass"
    )

    def disturb() -> None:
        draw = random.Random(seed)
        while not over.wait(draw.uniform(*QUIET_S)):
            seconds = str(draw.uniform(*BURST_S))
            burst = [
                subprocess.Popen(
                    ["taskset", "-c", str(cpu), sys.executable, "-S", "-c", spin, seconds]
                )
                for cpu in allowed_cpus()
                for _ in range(2)
            ]
            for one in burst:
                one.wait()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def width(folder: Path, trials: int, seconds: float, metric: str) -> None:
    """Prints both widths of each trial, as log(high / low)."""
    cpu = allowed_cpus()[0]
    narrow = 0
    with (
        EmbeddedServer(ServeConfig(cpu=cpu, latency="1ms", seed=1)) as first,
        EmbeddedServer(ServeConfig(cpu=cpu, latency="1ms", seed=2)) as second,
    ):
        for trial in range(trials):
            with disturbed(trial):
                out = folder / f"ab-{trial:02d}"
                config = BenchConfig(
                    **BASE,
                    urls=(first.url, second.url),
                    out=str(out),
                    duration_ns=round(seconds * NS_PER_S),
                )
                paired = run_ab(
                    config,
                    alternate=False,
                    repeats=Repeats(config, 1, None),
                    tolerance=0.05,
                    primary=("p99", "in_slo"),
                    on_progress=lambda progress: None,
                    on_note=lambda text: None,
                    argv=[],
                ).comparison
                apart = compared(
                    [one_run(first.url, folder / f"a-{trial:02d}", seconds / 2)],
                    [one_run(second.url, folder / f"b-{trial:02d}", seconds / 2)],
                )
            ours, theirs = (log_width(one, metric) for one in (paired, apart))
            narrow += ours <= theirs / 2
            print(f"trial {trial + 1:2}: {metric} ab {ours:.3f}, apart {theirs:.3f}", flush=True)
    print(f"at most half as wide: {narrow} of {trials}")


def log_width(comparison: Comparison, metric: str) -> float:
    """Of a metric's interval."""
    (row,) = (row for row in comparison.rows if row.metric.name == metric)
    interval = row.beside[0].interval
    return math.nan if interval is None else math.log(interval.high / interval.low)


def main() -> None:
    """Parse, and run one of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trials", description=__doc__)
    parser.add_argument("what", choices=("verdicts", "width"))
    parser.add_argument("--trials", type=int)
    parser.add_argument("--runs", type=int, default=2 * SIDE + 2, help="recorded a side")
    parser.add_argument("--seconds", type=float, default=30.0, help="of harness ab")
    parser.add_argument("--metric", default="p99")
    parser.add_argument("--keep", type=Path, help="folder for the runs; otherwise removed")
    arguments = parser.parse_args()
    began_s = time.monotonic()
    with contextlib.ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        if arguments.what == "verdicts":
            verdicts(folder, arguments.runs, arguments.trials or 20)
        else:
            width(folder, arguments.trials or 10, arguments.seconds, arguments.metric)
    print(f"took {time.monotonic() - began_s:.0f} s")


if __name__ == "__main__":
    main()
