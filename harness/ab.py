"""``harness ab``: one plan on two servers, slot beside slot, or turn beside turn."""

import threading
import time
from collections.abc import Callable, Collection, Sequence
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
            round_ = _Round(one.config, caught, on_progress, on_note, argv)
            done = round_.in_turn() if alternate else round_.at_once()
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


@dataclass(frozen=True)
class _Round:
    """One round, either way."""

    config: BenchConfig
    caught: Interrupts
    on_progress: Callable[[Progress], None]
    on_note: Callable[[str], None]
    argv: Sequence[str]

    def in_turn(self) -> list[Result]:
        """One run, in which the servers take turns."""
        config = self.config.model_copy(update={"switching": Switching(policy="alternate")})
        bench = Bench(config, on_progress=self.on_progress, on_note=self.on_note, argv=self.argv)
        return [bench.run_under(self.caught)]

    def at_once(self) -> list[Result]:
        """A run for each server, with workers of its own and one start."""
        folder = Path(str(self.config.out))
        folder.mkdir(mode=0o700, exist_ok=self.config.force)
        meeting = Meeting(len(SIDES))
        sides = [Interrupts() for _ in SIDES]

        def forward() -> None:
            for side in sides:
                side.names.append(self.caught.names[-1])
                if side.target is not None:
                    side.target()

        def run(place: int) -> Result:
            bench = Bench(
                self._side(place, folder),
                on_progress=self.on_progress if place == 0 else lambda progress: None,
                on_note=self.on_note,
                argv=self.argv,
                origin_ns=meeting.origin_ns,
            )
            try:
                return bench.run_under(sides[place])
            except BaseException:
                meeting.call_off()
                raise

        self.caught.target = forward
        with ThreadPoolExecutor(len(SIDES), "side") as pool:
            running: list[Future[Result]] = [pool.submit(run, place) for place in range(len(SIDES))]
        errors = [error for one in running if (error := one.exception()) is not None]
        # The side that only waited in vain has nothing to say.
        for error in sorted(errors, key=lambda error: isinstance(error, NotMetError)):
            raise error
        return [one.result() for one in running]

    def _side(self, place: int, folder: Path) -> BenchConfig:
        config = self.config
        cpus, shared = cpus_of(config.cpus, allowed_cpus(), place)
        return config.model_copy(
            update={
                "urls": (config.urls[place],),
                "metrics_urls": config.metrics_urls[place : place + 1] or config.metrics_urls,
                "out": str(folder / SIDES[place]),
                "cpus": cpus,
                # Neither side would let the other one run.
                "spin": "never" if shared and config.spin == "auto" else config.spin,
            }
        )


def cpus_of(
    given: Sequence[int] | None, allowed: Collection[int], side: int
) -> tuple[tuple[int, ...], bool]:
    """The CPUs of one side's workers, and whether the other side has the same.

    Its half of those given, or of all but the first of those allowed, which is the coordinators'.
    One CPU is shared: on a CPU each, one side would have the coordinators, or a server, beside it.
    """
    pool = list(given) if given is not None else sorted(allowed)[1:] or list(allowed)
    half = len(pool) // len(SIDES)
    if not half:
        return tuple(pool), True
    return tuple(pool[side * half : (side + 1) * half]), False


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
