"""How soon workers follow the verdict, and that they do: ``python -m benchmarks.verdict``.

A metronome takes the controller's place and stores a verdict 100 times a second, between two
embedded servers with journals. ``--rate 20000 --workers 2``: what was handed where, and
what arrived when. ``--rate 1000 --spin always --workers 1 --duration 1``: from the store to t_seen.
"""

import argparse
import os
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.spin_gaps import spin_gaps
from harness._shm import Segment
from harness.bench import Bench
from harness.config import NS_PER_MS, NS_PER_S, BenchConfig
from harness.embedded.journal import read_journal
from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.load.coordinator import Phase
from harness.load.fleet import Fleet
from harness.load.switch import Switch
from harness.records import Outcome
from harness.results.requests_file import load_requests

PERIOD_S = 0.01
LATE_NS = 10 * NS_PER_MS
"""How long after the store a slot taken after it may still arrive at the old server."""


@dataclass
class Stored:
    """One verdict: its epoch, when it was stored and when each worker saw it (None: not yet)."""

    epoch: int
    t_ns: int
    seen_ns: list[int | None] = field(default_factory=list)


class Metronome:
    """A control that moves the load from server to server at a fixed pace, from its own thread."""

    def __init__(self, segment: Segment, fleet: Fleet, phase: Phase, *_: object) -> None:
        self.segment, self.fleet, self.phase = segment, fleet, phase
        self.switches: list[Switch] = []
        self.stored: list[Stored] = []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._beat)

    def look(self, now_ns: int) -> None:
        """Start with the plan."""
        if now_ns >= 0 and not self.thread.ident:
            self.thread.start()

    def turn(self, now_ns: int) -> bool:
        """Never stop."""
        return False

    def finish(self) -> None:
        """Stop the thread."""
        self.ended.set()
        self.thread.join()

    def _beat(self) -> None:
        end_ns = self.phase.origin_ns + self.phase.spec.duration_ns
        next_s = time.monotonic()
        while not self.ended.is_set() and time.monotonic_ns() < end_ns:
            epoch = len(self.stored) + 1
            t_ns = self.segment.set_verdict(epoch, [epoch % 2]) - self.phase.origin_ns
            self.fleet.wake()
            self.stored.append(Stored(epoch, t_ns))
            next_s += PERIOD_S
            self.ended.wait(max(0.0, next_s - time.monotonic()))
            seen = [self.segment.seen(worker.index) for worker in self.fleet.workers]
            self.stored[-1].seen_ns = [ns if at == epoch else None for at, ns in seen]


@dataclass(frozen=True)
class Found:
    """One run under the metronome. Delays in ns from the store; counts of what must not be."""

    slots: int
    verdicts: int
    seen_ns: NDArray[np.int64]  # of every worker that saw a verdict before the next one
    unseen: int
    handed_after_seen: int  # under an older epoch than its worker had seen when it took the slot
    wrong_server: int  # not the server of its epoch
    out_of_order: int  # handed under an older epoch than the slot before, by the same worker
    not_once: int  # ids that are not exactly once in the journals, or at another server
    arrived_late: int  # taken after the store, at the old server over 10 ms after it
    valid_books: bool


def one_run(rate: float, duration_s: float, workers: int, spin: str, seed: int) -> Found:
    """Send a plan under the metronome and compare records with both journals."""
    cpus = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        journals = [Path(folder) / f"journal{server}" for server in range(2)]
        servers = [EmbeddedServer(ServeConfig(journal=str(one), cpu=cpus[0])) for one in journals]
        controls: list[Metronome] = []

        def control(*arguments: Any) -> Any:
            controls.append(Metronome(*arguments))
            return controls[0]

        with servers[0], servers[1]:
            config = BenchConfig(
                model="identity",
                urls=tuple(server.url for server in servers),
                dist="poisson",
                rate=rate,
                seed=seed,
                duration_ns=int(duration_s * NS_PER_S),
                warmup_ns=NS_PER_S // 2,
                workers=workers,
                cpus=(cpus[-1],),
                spin=spin,
                out=f"{folder}/out",
            )
            result = Bench(config, control=control).run()
        rows = load_requests(result.path / "requests.npy")
        arrivals = [read_journal(one) for one in journals]
    books = not any(one.code in ("books", "overflow") for one in result.verdict.invalid_reasons)
    return compare(rows, controls[0].stored, arrivals, result.summary.origin_ns, books)


def compare(
    rows: NDArray[np.void],
    stored: list[Stored],
    journals: list[NDArray[np.void]],
    origin_ns: int,
    books: bool,
) -> Found:
    """What the records, the verdicts and the journals say about each other."""
    handed = rows[rows["outcome"] != Outcome.DROPPED]
    t_store_ns = np.array([0, *(one.t_ns for one in stored), 2**62])
    seen_ns = [
        one.seen_ns[worker] - one.t_ns
        for one in stored
        for worker in range(len(one.seen_ns))
        if one.seen_ns[worker] is not None
    ]
    after_seen = out_of_order = 0
    for worker in np.unique(rows["worker"]):
        mine = handed[handed["worker"] == worker]
        seen = [(one.seen_ns[worker], one.epoch) for one in stored if one.seen_ns[worker]]
        times_ns = np.array([ns for ns, _ in seen])
        epochs = np.array([0, *(epoch for _, epoch in seen)])
        known = epochs[np.searchsorted(times_ns, mine["t_taken_ns"])]
        after_seen += np.count_nonzero(mine["epoch"] < known)
        out_of_order += np.count_nonzero(np.diff(mine["epoch"].astype(np.int64)) < 0)
    arrived_late = not_once = 0
    for server, whole in enumerate(journals):
        journal = whole[np.char.startswith(whole["id"], b"s")]
        slots = np.array([int(one[1:], 16) for one in journal["id"]], dtype=np.int64)
        own = handed["slot"][handed["server"] == server]
        not_once += len(np.setxor1d(slots, own)) + len(slots) - len(np.unique(slots))
        told = rows[slots]
        left_ns = t_store_ns[told["epoch"].astype(np.int64) + 1]
        arrived_ns = journal["arrival_ns"].astype(np.int64) - origin_ns
        arrived_late += np.count_nonzero(
            (told["t_taken_ns"] > left_ns) & (arrived_ns > left_ns + LATE_NS)
        )
    return Found(
        slots=len(handed),
        verdicts=len(stored),
        seen_ns=np.array(seen_ns, dtype=np.int64),
        unseen=sum(one is None for each in stored for one in each.seen_ns),
        handed_after_seen=int(after_seen),
        wrong_server=int(np.count_nonzero(handed["server"] != handed["epoch"] % 2)),
        out_of_order=int(out_of_order),
        not_once=int(not_once),
        arrived_late=int(arrived_late),
        valid_books=books,
    )


def main() -> None:
    """Run, print, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=20_000)
    parser.add_argument("--duration", type=float, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--spin", default="auto")
    arguments = parser.parse_args()
    p50s, p99s = [], []
    for seed in range(1, arguments.runs + 1):
        print(spin_gaps(max(os.sched_getaffinity(0)), 1.0), flush=True)
        found = one_run(arguments.rate, arguments.duration, arguments.workers, arguments.spin, seed)
        p50, p99 = (float(np.percentile(found.seen_ns, q)) / 1e3 for q in (50, 99))
        p50s.append(p50)
        p99s.append(p99)
        print(
            f"{found.slots} slots, {found.verdicts} verdicts ({found.unseen} unseen before the"
            f" next): handed after seen {found.handed_after_seen}, wrong server"
            f" {found.wrong_server}, out of order {found.out_of_order}, not once"
            f" {found.not_once}, arrived late {found.arrived_late}, books"
            f" {'balance' if found.valid_books else 'DO NOT BALANCE'};"
            f" store to seen p50 {p50:.1f} us, p99 {p99:.1f} us",
            flush=True,
        )
    print(
        f"medians of {arguments.runs}: p50 {statistics.median(p50s):.1f} us"
        f" ({min(p50s):.1f} to {max(p50s):.1f}), p99 {statistics.median(p99s):.1f} us"
        f" ({min(p99s):.1f} to {max(p99s):.1f})"
    )


if __name__ == "__main__":
    main()
