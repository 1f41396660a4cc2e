"""The highest rate and the smallest lateness this host holds: short real runs, searched."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.bench import Bench
from harness.config import NS_PER_S, BenchConfig
from harness.doctor.search import Bracket
from harness.errors import NotStartedError
from harness.results.summary import Summary
from harness.results.validity import LATENESS_FLOOR_NS
from harness.units import format_latency_ms

TRIES = 2
"""One stall of the machine breaks a run of a second; a rate is broken when it breaks twice."""
REQUEST_TIMEOUT_NS = 2 * NS_PER_S


@dataclass(frozen=True)
class Trial:
    """One short run. ``fault``: why it was not held, None if it was. Lateness in ns.

    ``pacing`` says whether its workers spun, and why.
    """

    rate: float
    fault: str | None
    p50_ns: int | None = None
    p99_ns: int | None = None
    pacing: str = ""

    @property
    def held(self) -> bool:
        """Valid, every request answered, and in time."""
        return self.fault is None


@dataclass(frozen=True)
class Capacity:
    """What was found; ``trials`` in order."""

    bracket: Bracket
    trials: tuple[Trial, ...]

    @property
    def smallest(self) -> Trial | None:
        """The trial with the smallest p99 of lateness; None if none gave a figure."""
        known = [trial for trial in self.trials if trial.p99_ns is not None]
        return min(known, key=lambda trial: trial.p99_ns or 0, default=None)

    def last_at(self, rate: float | None) -> Trial | None:
        """The last trial at this rate, an end of the bracket; None if there is none."""
        tried = [trial for trial in self.trials if trial.rate == rate]
        return tried[-1] if tried else None


def find_capacity(
    attempt: Callable[[float], Trial], search_s: float, on_trial: Callable[[Trial], None]
) -> Capacity:
    """Search with ``attempt`` for about ``search_s``, and one trial at least."""
    bracket = Bracket()
    trials: list[Trial] = []
    t_end_s = time.monotonic() + search_s
    longest_s = 0.0
    while (rate := bracket.next_rate()) is not None:
        for _ in range(TRIES):
            started_s = time.monotonic()
            if trials and started_s + longest_s > t_end_s:
                return Capacity(bracket, tuple(trials))
            trial = attempt(rate)
            longest_s = max(longest_s, time.monotonic() - started_s)
            trials.append(trial)
            on_trial(trial)
            if trial.held:
                break
        bracket = bracket.after(rate, trial.held)
    return Capacity(bracket, tuple(trials))


class TrialRuns:
    """Trials of ``trial_ns`` against the server at ``url``; results go under ``place``.

    ``check`` is called after each, and may raise. The first raises NotStartedError if it cannot be
    started; one of a higher rate may lack the memory, and is not held.
    """

    def __init__(
        self, url: str, model: str, trial_ns: int, place: Path, check: Callable[[], None]
    ) -> None:
        self.url = url
        self.model = model
        self.trial_ns = trial_ns
        self.place = place
        self.check = check
        self.started = 0

    def __call__(self, rate: float) -> Trial:
        """One trial."""
        config = self._config(rate)
        try:
            summary = Bench(config).run().summary
        except NotStartedError as error:
            self.check()
            if not self.started:
                raise
            return Trial(rate, f"not started: {error}")
        self.check()
        self.started += 1
        lateness, pacing = summary.lateness_ns, str(summary.host.get("cpu_plan", ""))
        return Trial(rate, fault_of(summary), lateness.p50, lateness.p99, pacing)

    def _config(self, rate: float) -> BenchConfig:
        return BenchConfig(
            model=self.model,
            urls=(self.url,),
            dist="poisson",
            rate=rate,
            duration_ns=self.trial_ns,
            warmup_ns=0,
            request_timeout_ns=REQUEST_TIMEOUT_NS,
            records="none",
            report=False,
            out=str(self.place / str(self.started)),
            force=True,
        )


def fault_of(summary: Summary) -> str | None:
    """Why the rate was not held, in a few words; None if it was."""
    totals = summary.totals
    if totals.dropped_backpressure:
        return f"{totals.dropped_backpressure} of {totals.scheduled} dropped at the in-flight cap"
    if totals.dropped_client:
        return f"the worker came too late to {totals.dropped_client} of {totals.scheduled}"
    p99_ns = summary.lateness_ns.p99
    if p99_ns is not None and p99_ns > LATENESS_FLOOR_NS:
        return f"lateness p99 {format_latency_ms(p99_ns)} ms"
    if summary.invalid_reasons:
        return summary.invalid_reasons[0].text
    if totals.ok != totals.scheduled:
        return f"{totals.scheduled - totals.ok} of {totals.scheduled} not answered"
    return None
