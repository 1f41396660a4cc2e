"""c: the highest Poisson rate of one worker on one core, and 30 000/s against real Triton."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.suite.limits import Limits
from benchmarks.suite.load import Load, Outcome
from benchmarks.suite.result import Run
from benchmarks.suite.servers import Served, ServedEmbedded, triton_cached
from benchmarks.suite.suite import SPARE_S, Suite
from benchmarks.suite.tools import Tool
from benchmarks.suite.tools.harness import Harness

CASE = "c"
TITLE = "highest Poisson rate of one worker; 30 000/s against Triton"
SEARCH = "search, embedded server"
HIGH_RATE = 30_000
LATENESS_BOUND_US = 100.0
FIRST_RATE = 50_000.0
MOST_RATE = 1_000_000.0
LEAST_RATE = 1000.0
NEAR = 1.3
"""Within this factor of the rate that was held two of three runs decide, as after a bad run."""


@dataclass(frozen=True)
class Bracket:
    """The highest rate that was held and the lowest that was not; 0: none."""

    held: float
    broken: float


def run(suite: Suite) -> None:
    """Raises OutOfTime, NotStartedError."""
    with ServedEmbedded(suite.cpus.server) as embedded:
        for _ in range(suite.plan.runs):
            highest_rate(suite, embedded)
    with triton_cached(suite.cpus.server) as served:
        for _ in range(suite.plan.runs):
            for tool, dist in (
                (Harness(), "poisson"),
                (Harness(), "constant"),
                *((peer, "constant") for peer in suite.available("perf_analyzer")),
            ):
                high_rate(suite, tool, dist, served)


def highest_rate(suite: Suite, served: Served) -> None:
    """One search; the lateness is that of a run that held the highest rate."""
    tool = Harness(alone=True, spin="always")
    outcomes: dict[float, Outcome] = {}

    def holds(rate: float) -> bool:
        load = Load(served.url, served.model, suite.plan.search_s, rate=rate, dist="poisson")
        outcome = suite.run(tool, load)
        if held(outcome) or rate not in outcomes:
            outcomes[rate] = outcome
        return held(outcome)

    bracket = search(holds, suite.plan.search_step)
    figures: dict[str, float] = {}
    trouble = ""
    if bracket.held:
        figures = {"held_rate": bracket.held, "broken_rate": bracket.broken}
        kept = ("lateness_p50_us", "lateness_p99_us", "latency_p99_us")
        last = outcomes[bracket.held].figures
        figures |= {name: last[name] for name in kept if name in last}
    else:
        trouble = next((one.trouble for one in outcomes.values() if one.trouble), "held no rate")
    suite.add(Run(case=CASE, setting=SEARCH, tool=tool.name, figures=figures, trouble=trouble))


def held(outcome: Outcome) -> bool:
    """Lateness p99 within 100 us, and nothing dropped or failed."""
    figures = outcome.figures
    late_us = figures.get("lateness_p99_us")
    clean = not (outcome.trouble or figures.get("dropped", 1) or figures.get("not_ok", 1))
    return clean and late_us is not None and late_us <= LATENESS_BOUND_US


def search(holds: Callable[[float], bool], step: float) -> Bracket:
    """Double, then halve the bracket until it is ``step`` of its lower end.

    A rate that was not held in a bad moment of the machine would bound it for good, so the upper
    end is asked once more when the bracket is found, and the search goes on from there if it holds.
    """
    low, high, rate = 0.0, 0.0, FIRST_RATE
    while low < MOST_RATE and (low or high >= LEAST_RATE or not high):
        if not high or high - low > step * low:
            fine = _mostly(holds, rate, sure=low > 0 and rate < NEAR * low)
            low, high = (rate, high) if fine else (low, rate)
        elif _mostly(holds, high, sure=True):
            low, high = high, 0.0
        else:
            break
        rate = (low + high) / 2 if low and high else (2 * low or high / 2)
    return Bracket(low, high)


def _mostly(holds: Callable[[float], bool], rate: float, sure: bool) -> bool:
    """One run if that holds the rate, two of three if not or where it is to be ``sure``."""
    first = holds(rate)
    if first and not sure:
        return True
    second = holds(rate)
    return first if first == second else holds(rate)


def high_rate(suite: Suite, tool: Tool, dist: str, served: Served) -> None:
    """One run at 30 000/s, with the memory of the client."""
    served.fresh()
    load = Load(served.url, served.model, suite.plan.high_rate_s, rate=HIGH_RATE, dist=dist)
    limits = Limits(2 * load.seconds + SPARE_S, sample_s=0.1)
    outcome = suite.run(tool, load, limits=limits)
    if outcome.trouble:
        outcome = suite.after_trouble(outcome, served)
    kept = ("rate", "valid", "dropped", "lateness_p50_us", "lateness_p99_us")
    figures = {name: outcome.figures[name] for name in kept if name in outcome.figures}
    figures["killed"] = float(bool(outcome.ended.killed))
    figures["peak_rss_mb"] = outcome.ended.peak_rss_bytes / 1e6
    suite.add(
        Run(
            case=CASE,
            setting=f"{HIGH_RATE}/s {dist}, {served.name}",
            tool=tool.name,
            figures=figures,
            trouble=outcome.trouble,
        )
    )
