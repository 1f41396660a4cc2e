"""Facts of hosts that do not exist."""

from dataclasses import replace
from typing import Any

from harness.doctor.capacity import Capacity, Trial
from harness.doctor.facts import Facts
from harness.doctor.search import Bracket
from harness.machine.spin_gaps import SpinGaps
from harness.machine.wakeup import WakeupError

PACING = "spinning: every worker has a CPU to itself"

GOOD = Facts(
    host={
        "cpu_model": "Imaginary(R) Processor",
        "kernel": "6.1.0",
        "clock_source": "tsc",
        "governor": "performance",
        "cpus_allowed": [0, 1, 2, 3],
        "cpu_quota": None,
    },
    cpu=3,
    clock_read_ns=22.4,
    wakeup=WakeupError(6000, 41_000, 99_500, 800_000),
    gaps=SpinGaps(3.0, 2, 1, 1400.0, 0.0004),
    path_url=None,
    path_floor_ns=217_000,
    capacity=Capacity(
        Bracket(160_000, 170_000),
        (
            Trial(10_000, None, 180, 21_000, PACING),
            Trial(160_000, None, 200, 34_000, PACING),
            Trial(170_000, "lateness p99 1.2 ms", 250, 1_200_000, PACING),
        ),
    ),
    steal_share=0.0002,
)


def facts(**changes: Any) -> Facts:
    """A good host but for ``changes``; keys of ``host`` among them change these."""
    host = {**GOOD.host, **{key: changes.pop(key) for key in list(changes) if key in GOOD.host}}
    return replace(GOOD, host=host, **changes)
