"""The highest rate and the smallest lateness this host holds: short real runs, searched."""

import tempfile
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
    """One short run. ``fault``: why it was not held, None if it was. Lateness in ns."""

    rate: float
    fault: str | None
    p50_ns: int | None = None
    p99_ns: int | None = None

    @property
    def held(self) -> bool:
        """Valid, every request answered, and in time."""
        return self.fault is None


@dataclass(frozen=True)
class Capacity:
    """What was found. ``pacing``: whether the workers spin at the best rate, and why."""

    bracket: Bracket
    trials: tuple[Trial, ...]
    pacing: str

    @property
    def smallest(self) -> Trial | None:
        """The trial with the smallest p99 of lateness; None if none gave a figure."""
        known = [trial for trial in self.trials if trial.p99_ns is not None]
        return min(known, key=lambda trial: trial.p99_ns or 0, default=None)

    @property
    def broken(self) -> Trial | None:
        """The last trial at the bracket's broken end; None if there is none."""
        tried = [trial for trial in self.trials if trial.rate == self.bracket.broken]
        return tried[-1] if tried else None


def find_capacity(
    url: str,
    model: str,
    *,
    trial_ns: int,
    search_s: float,
    on_trial: Callable[[Trial], None],
    check: Callable[[], None],
) -> Capacity:
    """Try rates against the embedded server at ``url`` for about ``search_s``.

    ``check`` is called after each trial, and may raise. Raises NotStartedError if not even the
    first trial can be started, ResultsError.
    """
    bracket = Bracket()
    trials: list[Trial] = []
    pacing = ""
    t_end_s = time.monotonic() + search_s
    longest_s = 0.0
    with tempfile.TemporaryDirectory(prefix="harness-doctor-") as place:
        while (rate := bracket.next_rate()) is not None:
            for _ in range(TRIES):
                started_s = time.monotonic()
                if trials and started_s + longest_s > t_end_s:
                    return Capacity(bracket, tuple(trials), pacing)
                config = _config(url, model, rate, trial_ns, Path(place, str(len(trials))))
                trial, reason = _try(config, must_start=not trials)
                check()
                longest_s = max(longest_s, time.monotonic() - started_s)
                trials.append(trial)
                on_trial(trial)
                if trial.held:
                    break
            if trial.held or not pacing:
                pacing = reason
            bracket = bracket.after(rate, trial.held)
    return Capacity(bracket, tuple(trials), pacing)


def _config(url: str, model: str, rate: float, trial_ns: int, out: Path) -> BenchConfig:
    return BenchConfig(
        model=model,
        urls=(url,),
        dist="poisson",
        rate=rate,
        duration_ns=trial_ns,
        warmup_ns=0,
        request_timeout_ns=REQUEST_TIMEOUT_NS,
        records="none",
        out=str(out),
    )


def _try(config: BenchConfig, must_start: bool) -> tuple[Trial, str]:
    """One run, and why its workers spin or sleep."""
    try:
        summary = Bench(config).run().summary
    except NotStartedError as error:
        if must_start:
            raise
        return Trial(config.rate, f"not started: {error}"), ""
    lateness = summary.lateness_ns
    trial = Trial(config.rate, fault_of(summary), lateness.p50, lateness.p99)
    return trial, str(summary.host.get("cpu_plan", ""))


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
