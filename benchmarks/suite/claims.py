"""The bounds the figures are held against."""

from dataclasses import dataclass
from typing import Literal

from benchmarks.suite.cases import (
    closed_loop,
    constant_rate,
    highest_rate,
    long_run,
    overload,
    start_up,
)
from benchmarks.suite.result import SuiteResult

CACHED = "Triton, cached"
POISSON = f"{highest_rate.HIGH_RATE}/s poisson, {CACHED}"
CONSTANT = f"{highest_rate.HIGH_RATE}/s constant, {CACHED}"


@dataclass(frozen=True)
class Claim:
    """A bound of a figure's median, or with ``peer`` of its ratio to the peer's median.

    ``setting`` None: the only setting there is.
    """

    text: str
    case: str
    setting: str | None
    figure: str
    bound: float
    least: bool = False  # at least, otherwise at most
    tool: str = "harness"
    peer: str | None = None


@dataclass(frozen=True)
class Judged:
    """``held`` None: there is no figure to judge."""

    claim: Claim
    found: float | None
    held: bool | None

    @property
    def verdict(self) -> Literal["yes", "no", "no figure"]:
        """In words."""
        if self.held is None:
            return "no figure"
        return "yes" if self.held else "no"


CLAIMS = (
    *(
        Claim(
            f"CPU a request, closed loop, harness / {peer}",
            *(closed_loop.CASE, CACHED, "cpu_us", bound),
            peer=peer,
        )
        for peer, bound in (("perf_analyzer", 0.4), ("tritonclient", 0.15), ("h2load", 1.3))
    ),
    *(
        claim
        for rate in (10_000, 20_000)
        for claim in (
            Claim(
                f"CPU a request, {rate}/s, harness / perf_analyzer",
                *("b", f"{rate}/s", "cpu_us", 0.7),
                peer="perf_analyzer",
            ),
            Claim(
                f"lateness p99, {rate}/s, harness / perf_analyzer",
                *("b", f"{rate}/s", "lateness_p99_us", 1.0),
                peer="perf_analyzer",
            ),
            Claim(
                f"lateness p50, {rate}/s, spinning, us",
                *("b", f"{rate}/s", "lateness_p50_us", 1.0),
                tool=constant_rate.SPINNING,
            ),
            Claim(
                f"lateness p99, {rate}/s, spinning, us",
                *("b", f"{rate}/s", "lateness_p99_us", 25.0),
                tool=constant_rate.SPINNING,
            ),
        )
    ),
    Claim(
        "highest Poisson rate of one worker, /s",
        *("c", highest_rate.SEARCH, "held_rate", 150_000),
        least=True,
    ),
    Claim("30 000/s Poisson against Triton is valid", "c", POISSON, "valid", 1, least=True),
    Claim("client's memory at 30 000/s Poisson, MB", "c", POISSON, "peak_rss_mb", 200),
    Claim(
        "perf_analyzer is killed at 30 000/s",
        *("c", CONSTANT, "killed", 1),
        least=True,
        tool="perf_analyzer",
    ),
    Claim("coordinator's CPU a record, us", long_run.CASE, None, "coordinator_us", 0.3),
    Claim("coordinator's memory grows, %", long_run.CASE, None, "coordinator_growth_percent", 5),
    Claim("worker's memory grows, %", long_run.CASE, None, "worker_growth_percent", 5),
    *(
        Claim(text, overload.CASE, overload.SETTING, figure, bound, least)
        for text, figure, bound, least in (
            ("in flight at overload / cap", "in_flight_share", 1, False),
            ("drops at overload, at least", "drops_backpressure", 1, True),
            ("drops that are no violation", "drops_not_violations", 0, False),
            ("Triton's memory at overload, MB", "server_rss_mb", 1000, False),
            ("Triton well after the end, s", "recovery_s", 2, False),
        )
    ),
    Claim("CPU of `bench --help`, s", start_up.CASE, start_up.HELP, "cpu_s", 0.4),
    Claim("command to first slot, s", start_up.CASE, start_up.FIRST_SLOT, "first_slot_s", 1.5),
)


def judge(result: SuiteResult, claims: tuple[Claim, ...] = CLAIMS) -> list[Judged]:
    """Every claim, in order."""
    return [_judge(result, claim) for claim in claims]


def _judge(result: SuiteResult, claim: Claim) -> Judged:
    settings = {run.setting for run in result.runs if run.case == claim.case}
    setting = claim.setting if claim.setting is not None else next(iter(settings), "")
    found = result.median(claim.case, setting, claim.tool, claim.figure)
    if found is not None and claim.peer is not None:
        found = ratio(found, result.median(claim.case, setting, claim.peer, claim.figure))
    if found is None:
        return Judged(claim, None, None)
    return Judged(claim, found, found >= claim.bound if claim.least else found <= claim.bound)


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """None if one is unknown, or theirs is 0."""
    return ours / theirs if ours is not None and theirs else None
