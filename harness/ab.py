"""``harness ab``: one plan on two servers, slot beside slot, or turn beside turn."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from harness.bench import Bench, Result
from harness.compare.comparison import Comparison
from harness.compare.paired import Pair, compare_pairs, pair_runs, pair_turns
from harness.config import BenchConfig, Switching
from harness.errors import NotStartedError, UsageError
from harness.host import allowed_cpus
from harness.load.coordinator import LEAD_NS
from harness.load.signals import Interrupts, interrupts
from harness.progress import Progress
from harness.repeats import Repeats
from harness.results.stored import StoredRun, load_run

SIDES = ("a", "b")
MEETING_S = 120.0
"""One side may still probe its server while the other is ready."""


@dataclass(frozen=True)
class AbResult:
    """``results``: by round, then by side; one for both under ``alternate``."""

    comparison: Comparison
    results: list[list[Result]]

    @property
    def exit_code(self) -> int:
        """The first that is not 0."""
        return next((one.exit_code for both in self.results for one in both if one.exit_code), 0)


def run_ab(
    config: BenchConfig,
    *,
    alternate: bool,
    repeats: Repeats,
    tolerance: float,
    primary: Sequence[str],
    on_progress: Callable[[Progress], None],
    on_note: Callable[[str], None],
    argv: Sequence[str],
) -> AbResult:
    """Run the rounds and compare; the first server is the baseline.

    Raises UsageError (not two servers, no CPUs, no records) and what a run raises.
    """
    if len(config.urls) != 2:
        raise UsageError(f"harness ab compares two servers; {len(config.urls)} -u given")
    if config.switching != Switching():
        raise UsageError(
            "harness ab moves no load between its servers; leave switching options out"
        )
    results: list[list[Result]] = []
    pairs: list[Pair] = []
    runs: tuple[list[StoredRun], list[StoredRun]] = ([], [])
    if not alternate:
        on_note("progress is that of the first server's side; both run at once")
    with interrupts() as caught:
        for one in repeats.configs():
            caught.target = None
            bench = _alternated if alternate else _both
            done = bench(one.config, caught, on_progress, on_note, argv)
            results.append(done)
            stored = [load_run(result.path) for result in done]
            pairs.append(pair_turns(stored[0]) if alternate else pair_runs(*stored))
            runs[0].append(stored[0])
            runs[1].append(stored[-1])
            if caught.first is not None:
                break
    urls = (
        results[0][0].summary.servers
        if alternate
        else [result.summary.servers[0] for result in results[0]]
    )
    names = (f"A {urls[0]['url']}", f"B {urls[1]['url']}")
    return AbResult(compare_pairs(names, runs, pairs, tolerance, primary), results)


def _alternated(
    config: BenchConfig,
    caught: Interrupts,
    on_progress: Callable[[Progress], None],
    on_note: Callable[[str], None],
    argv: Sequence[str],
) -> list[Result]:
    """One run, in which the servers take turns."""
    config = config.model_copy(update={"switching": Switching(policy="alternate")})
    return [Bench(config, on_progress=on_progress, on_note=on_note, argv=argv).run_under(caught)]


def _both(
    config: BenchConfig,
    caught: Interrupts,
    on_progress: Callable[[Progress], None],
    on_note: Callable[[str], None],
    argv: Sequence[str],
) -> list[Result]:
    """A run for each server, at once, with workers of its own and one start."""
    folder = Path(str(config.out))
    folder.mkdir(mode=0o700, exist_ok=config.force)
    meeting = Meeting(len(SIDES))
    sides = [Interrupts() for _ in SIDES]

    def forward() -> None:
        for side in sides:
            side.names.append(caught.names[-1])
            if side.target is not None:
                side.target()

    def run(place: int) -> Result:
        one = config.model_copy(
            update={
                "urls": (config.urls[place],),
                "metrics_urls": config.metrics_urls[place : place + 1] or config.metrics_urls,
                "out": str(folder / SIDES[place]),
                "cpus": cpus_of(config.cpus, place),
            }
        )
        bench = Bench(
            one,
            on_progress=on_progress if place == 0 else lambda progress: None,
            on_note=on_note,
            argv=argv,
            origin_ns=meeting.origin_ns,
        )
        try:
            return bench.run_under(sides[place])
        except BaseException:
            meeting.call_off()
            raise

    caught.target = forward
    with ThreadPoolExecutor(len(SIDES), "side") as pool:
        running: list[Future[Result]] = [pool.submit(run, place) for place in range(len(SIDES))]
    errors = [error for one in running if (error := one.exception()) is not None]
    # The side that only waited in vain has nothing to say.
    for error in sorted(errors, key=lambda error: isinstance(error, NotMetError)):
        raise error
    return [one.result() for one in running]


def cpus_of(cpus: Sequence[int] | None, side: int) -> tuple[int, ...]:
    """The CPUs of one side's workers: its half of those given, or of those this process may use.

    Raises UsageError.
    """
    pool = sorted(allowed_cpus()) if cpus is None else list(cpus)
    half = len(pool) // len(SIDES)
    if not half:
        if cpus is not None:
            raise UsageError(f"--cpus {pool[0]}: two sides need a CPU each; give two or more")
        return tuple(pool)
    return tuple(pool[side * half : (side + 1) * half])


class NotMetError(NotStartedError):
    """The other side did not come to the start."""


class Meeting:
    """Where the sides of a pair wait for each other, to have one origin."""

    def __init__(self, sides: int) -> None:
        self._origin_ns = 0
        self._barrier = threading.Barrier(sides, action=self._settle)

    def origin_ns(self) -> int:
        """The same on every side, once all have asked. Raises NotMetError."""
        try:
            self._barrier.wait(MEETING_S)
        except threading.BrokenBarrierError:
            raise NotMetError("the other server's side did not start") from None
        return self._origin_ns

    def call_off(self) -> None:
        """Let no side wait any longer."""
        self._barrier.abort()

    def _settle(self) -> None:
        self._origin_ns = time.monotonic_ns() + LEAD_NS
