"""How long and how often: the full plan and the quick one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Times in seconds. ``short_s`` and ``long_s``: the two runs of a slope, in whole seconds."""

    quick: bool
    runs: int
    whole_s: float
    control_s: float
    short_s: int
    long_s: int
    search_s: float  # one step of the search for the highest rate
    search_step: float  # a bracket this narrow, as a share of its lower end, ends the search
    high_rate_s: float
    long_run_s: float
    overload_s: float
    rates: tuple[int, ...] = (1_000, 10_000, 20_000, 25_000)


FULL = Plan(
    quick=False,
    runs=5,
    whole_s=75 * 60,
    control_s=1.0,
    short_s=1,
    long_s=4,
    search_s=2.0,
    search_step=0.05,
    high_rate_s=8.0,
    long_run_s=600.0,
    overload_s=20.0,
)

QUICK = Plan(
    quick=True,
    runs=1,
    whole_s=5 * 60,
    control_s=0.3,
    short_s=1,
    long_s=2,
    search_s=1.0,
    search_step=0.15,
    high_rate_s=3.0,
    long_run_s=20.0,
    overload_s=6.0,
    rates=(10_000, 20_000),
)
