"""perf_analyzer's profile export: when it sent each request, and how late that was.

The planned times are not in it. At a constant rate request i was planned at t0 + i / rate; t0 is
taken so that the earliest request, measured so, has lateness 0. What all requests are late by in
common is thus not seen, which is in perf_analyzer's favour.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError

LATE_US = 1000.0


@dataclass(frozen=True)
class Export:
    """``sent_ns``: wall clock, in order, one a request."""

    sent_ns: NDArray[np.int64]


def read_export(path: Path) -> Export:
    """The requests of the only experiment. Raises UsageError: there is none, or another form."""
    try:
        content = json.loads(path.read_bytes())
        (experiment,) = content["experiments"]
        sent_ns = np.sort(np.array([one["timestamp"] for one in experiment["requests"]], np.int64))
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise UsageError(f"perf_analyzer left no readable profile export: {error}") from None
    if not len(sent_ns):
        raise UsageError("perf_analyzer's profile export holds no request")
    return Export(sent_ns)


def lateness_us(export: Export, rate: float) -> dict[str, float]:
    """Percentiles in us, relative to the earliest request, and the share later than 1 ms."""
    late = lateness_ns(export, rate) / 1e3
    return {
        "lateness_p50_us": float(np.percentile(late, 50)),
        "lateness_p99_us": float(np.percentile(late, 99)),
        "late_percent": 100 * float(np.mean(late > LATE_US)),
    }


def lateness_ns(export: Export, rate: float) -> NDArray[np.float64]:
    """Of each request, at a constant ``rate`` in requests/s; the smallest is 0."""
    since_first_ns = export.sent_ns - export.sent_ns[0]
    late = since_first_ns - np.arange(len(since_first_ns)) * (1e9 / rate)
    relative: NDArray[np.float64] = late - late.min()
    return relative
