"""Capacity: what counts as held, a second try, the end in time, and a real trial."""

import time
from pathlib import Path
from typing import Any

import pytest

from harness.config import NS_PER_MS
from harness.doctor.capacity import Capacity, Trial, TrialRuns, fault_of, find_capacity
from harness.doctor.search import Bracket
from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.errors import NotStartedError
from harness.records import Outcome
from harness.results.books import check_books
from harness.results.findings import judge
from harness.results.summarize import build_summary
from harness.results.summary import Summary
from tests.grpc_fixture import closed_port
from tests.synthetic import synthetic_run


def summary(**changes: Any) -> Summary:
    run = synthetic_run(**{"slo_ns": None, "lateness_ns": 2000, **changes})
    return build_summary(run, judge(run, check_books(run)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mix": {Outcome.OK: 9, Outcome.DROPPED: 1}}, "dropped at the in-flight cap"),
        ({"lateness_ns": 3 * NS_PER_MS}, "lateness p99 "),
        ({"mix": {Outcome.OK: 9, Outcome.ERROR: 1}}, "not answered"),
        ({"dead_workers": frozenset({1})}, "did not finish"),
    ],
)
def test_what_is_not_held(changes: dict[str, Any], words: str) -> None:
    fault = fault_of(summary(**changes))
    assert fault is not None
    assert words in fault


def test_held() -> None:
    assert fault_of(summary()) is None


def test_dropped_by_the_client() -> None:
    kept = summary()
    totals = kept.totals.model_copy(update={"dropped_client": 1})
    fault = fault_of(kept.model_copy(update={"totals": totals}))
    assert fault == f"the worker came too late to 1 of {totals.scheduled}"


def test_a_rate_is_broken_when_it_breaks_twice() -> None:
    tried: list[float] = []

    def attempt(rate: float) -> Trial:
        tried.append(rate)
        stalled = tried.count(rate) == 1
        return Trial(rate, None if rate <= 30_000 and not stalled else "late")

    told: list[Trial] = []
    found = find_capacity(attempt, 60, told.append)
    assert found.bracket == Bracket(30_000, 32_000)
    assert tried[:6] == [10_000, 10_000, 20_000, 20_000, 40_000, 40_000]
    assert list(found.trials) == told
    last = found.last_at(32_000)
    assert last is not None
    assert last.fault == "late"
    assert found.last_at(None) is None


def test_the_time_is_kept_and_one_trial_is_made_at_least() -> None:
    def slow(rate: float) -> Trial:
        time.sleep(0.05)
        return Trial(rate, None)

    before_s = time.monotonic()
    found = find_capacity(slow, 0.12, lambda trial: None)
    assert time.monotonic() - before_s < 5
    assert found.bracket.held is not None
    assert 1 <= len(found.trials) <= 2
    found = find_capacity(slow, 0, lambda trial: None)
    assert found.bracket == Bracket(10_000, None)


def test_the_smallest_lateness() -> None:
    trials = (Trial(1, "late"), Trial(2, "late", 5, 900), Trial(3, None, 9, 80), Trial(4, None))
    assert Capacity(Bracket(), trials).smallest == trials[2]
    assert Capacity(Bracket(), trials[:1]).smallest is None


def test_a_real_trial(tmp_path: Path) -> None:
    checks: list[int] = []
    with EmbeddedServer(ServeConfig(cpu=0)) as server:
        runs = TrialRuns(
            server.url, "identity", 200 * NS_PER_MS, tmp_path, lambda: checks.append(1)
        )
        trial = runs(1000)
    assert trial.rate == 1000
    assert trial.p50_ns is not None
    assert trial.p99_ns is not None
    assert 0 < trial.p50_ns <= trial.p99_ns
    assert trial.pacing.startswith("sleeping: ")
    assert checks == [1]
    # The server has gone: a later trial is not held, a first one says so.
    later = runs(2000)
    assert later.fault is not None
    assert later.fault.startswith("not started: ")
    assert "refused" in later.fault


def test_the_first_trial_must_start(tmp_path: Path) -> None:
    with closed_port() as url, pytest.raises(NotStartedError, match="refused"):
        TrialRuns(url, "identity", 100 * NS_PER_MS, tmp_path, lambda: None)(1000)
