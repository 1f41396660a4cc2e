"""Results directories of runs that never happened, one of each kind that a run may leave."""

from pathlib import Path
from typing import Any

import pytest

from harness.config import NS_PER_MS, NS_PER_S
from harness.errors import UsageError
from harness.records import Outcome
from harness.results.stored import load_run
from tests.stored_runs import store
from tests.synthetic import Failure, synthetic_run

TWO = ("gpu1:8001", "gpu2:8001")
MIX = {
    Outcome.OK: 8,
    Outcome.ERROR: 1,
    Outcome.TIMEOUT: 1,
    Outcome.CANCELLED: 1,
    Outcome.DROPPED: 1,
}

CASES: dict[str, dict[str, Any]] = {
    "one server": {},
    "every outcome": {"urls": TWO, "mix": MIX, "client_drops": True, "dead_workers": {1}},
    "a switch": {
        "urls": TWO,
        "duration_ns": 2 * NS_PER_S,
        "failures": (Failure(NS_PER_S // 2, NS_PER_S * 8 // 10, 1),),
    },
    "cut": {"mix": MIX, "cut_ns": 730 * NS_PER_MS},
    "cut at 0": {"cut_ns": 0, "dist": "constant"},
    "closed": {"concurrency": 4, "urls": TWO, "mix": MIX},
    "closed and cut": {"concurrency": 4, "cut_ns": 730 * NS_PER_MS},
    "no SLO": {"slo_ns": None, "urls": TWO},
    "no records": {"rows": False, "config": {"records": "none"}},
    "an odd duration": {"duration_ns": NS_PER_S + 1, "rate": 50.0},
}


def stored(out: Path, case: str = "one server", **changes: Any) -> Path:
    """A stored synthetic run of that kind."""
    given = {**CASES[case], **changes}
    if "dead_workers" in given:
        given["dead_workers"] = frozenset(given["dead_workers"])
    return store(out, synthetic_run(**given))


def refused(directory: Path, name: str) -> str:
    """The line that loading all of it ends in; it names the file and says what to do."""
    with pytest.raises(UsageError) as caught:
        load_run(directory).rows  # noqa: B018
    text = str(caught.value)
    assert "\n" not in text
    assert name in text
    assert len(text) < 400
    if name != "summary.json":
        assert "remove it to go on without" in text
    return text
