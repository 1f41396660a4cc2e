"""Open-loop load generator for NVIDIA Triton, with SLO accounting of every request."""

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.bench import Bench as Bench
    from harness.bench import Result as Result
    from harness.config import BenchConfig as BenchConfig
    from harness.config import Slo as Slo

__version__ = "0.1.0"

__all__ = ["Bench", "BenchConfig", "Result", "Slo"]

if sys.platform != "linux":
    raise ImportError(f"triton-harness runs on Linux only, this is {sys.platform}")

HOMES = {
    "Bench": "harness.bench",
    "Result": "harness.bench",
    "BenchConfig": "harness.config",
    "Slo": "harness.config",
}


def __getattr__(name: str) -> Any:
    # Imported on use: workers and `--help` need none of it, and grpc takes long.
    if name in HOMES:
        return getattr(importlib.import_module(HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
