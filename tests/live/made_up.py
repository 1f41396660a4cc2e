"""A progress to show, and others like it."""

from dataclasses import replace
from typing import Any

from harness.progress import ACTIVE, COOLING, Progress, ServerState

S = 1_000_000_000

RUN = Progress(
    phase="run",
    t_ns=12 * S,
    duration_ns=60 * S,
    ok=23_900,
    decided=20_000,
    violations=25,
    in_flight=353,
    p50_ns=8_410_000,
    p99_ns=46_123_000,
    in_use=(1,),
    end_ns=70 * S,
    target_rate=2000.0,
    sent_rate=1998.4,
    ok_rate=1987.2,
    inflight_cap=1100,
    lateness_p99_ns=61_000,
    recent_decided=50_000,
    recent_violations=155,
    recent_ns=25 * S,
    limit=0.01,
    servers=(
        ServerState("gpu1:8001", COOLING, True, 350, 28 * S),
        ServerState("gpu2:8001", ACTIVE, True, 3),
    ),
    model="densenet_onnx",
    dist="poisson",
)


def changed(**fields: Any) -> Progress:
    """RUN, but for these."""
    return replace(RUN, **fields)
