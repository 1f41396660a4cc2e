"""Runs of many slots, made up in a moment."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from harness.config import BenchConfig
from harness.records import RECORD, Decision, Flag, Outcome
from tests import synthetic
from tests.stored_runs import stored
from tests.synthetic import Spec


def stored_many(out: Path, slots: int, **changes: Any) -> Path:
    """A stored run of about so many slots in 100 s, all OK, a thousandth of them slow."""
    given = {"rate": slots / 100, "duration_ns": 100 * 10**9, **changes}
    with patch.object(synthetic, "make_records", fast_records):
        return stored(out, **given)


def fast_records(
    spec: Spec,
    config: BenchConfig,
    offsets_ns: NDArray[np.int64],
    slots: NDArray[np.int64] | None = None,
) -> NDArray[np.void]:
    """As ``make_records``, of arrays."""
    random = np.random.default_rng(spec.draw)
    count = len(offsets_ns)
    records = np.zeros(count, RECORD)
    records["slot"] = np.arange(count) if slots is None else slots
    records["worker"] = records["slot"] % spec.workers
    records["server"] = random.integers(len(spec.urls), size=count)
    records["t_sched_ns"] = offsets_ns
    records["t_taken_ns"] = offsets_ns + random.exponential(spec.lateness_ns, count).astype(int)
    records["t_sent_ns"] = records["t_taken_ns"] + 20_000
    took_ns = random.lognormal(np.log(spec.median_ns), 0.4, count).astype(int)
    took_ns[random.random(count) < 0.001] += spec.slo_ns or 0
    records["t_first_ns"] = records["t_done_ns"] = records["t_sent_ns"] + took_ns
    records["outcome"] = Outcome.OK
    records["decision"] = Decision.IN_TIME
    slow = records["t_done_ns"] - offsets_ns > (spec.slo_ns or np.inf)
    records["decision"][slow] = Decision.SLOW
    records["flags"][slow] = Flag.OVERDUE | Flag.COMPLETED_AFTER_DECISION
    return records
