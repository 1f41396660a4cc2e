"""Validity and findings by table; exit codes by precedence."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.config import NS_PER_S
from harness.control.server_stats import ModelCounts, Snapshot
from harness.records import Outcome, Reason
from harness.results.books import Imbalance, check_books
from harness.results.findings import Verdict, exit_code, judge
from harness.results.rundata import RunData
from tests.synthetic import synthetic_run

BROKEN = {Outcome.OK: 1, Outcome.ERROR: 1}


def verdict(run: RunData) -> Verdict:
    return judge(run, check_books(run))


def codes(run: RunData) -> tuple[list[str], list[str]]:
    found = verdict(run)
    return [one.code for one in found.invalid_reasons], [one.code for one in found.findings]


def test_a_good_run_is_valid_and_without_findings() -> None:
    found = verdict(synthetic_run())
    assert found.model_dump() == {
        "valid": True,
        "invalid_reasons": [],
        "findings": [],
        "slo_held": True,
    }


@pytest.mark.parametrize(
    ("changes", "reasons", "findings"),
    [
        ({"slo_ns": None}, [], []),
        ({"dead_workers": frozenset({1})}, ["worker_lost"], ["slo_broken"]),
        ({"cut_ns": NS_PER_S // 2}, ["interrupted"], []),
        ({"mix": BROKEN}, [], ["slo_broken", "errors"]),
        ({"mix": {Outcome.OK: 9, Outcome.DROPPED: 1}}, [], ["slo_broken", "backpressure"]),
        ({"lateness_ns": 300_000}, ["client_late"], []),
        ({"config": {"percentile": 90.0}}, [], []),
        ({"config": {"percentile": 99.0}}, ["too_few_requests"], []),
    ],
)
def test_reasons_and_findings(
    changes: dict[str, Any], reasons: list[str], findings: list[str]
) -> None:
    assert codes(synthetic_run(**changes)) == (reasons, findings)


def test_every_reason_has_advice_on_one_line() -> None:
    run = synthetic_run(
        cut_ns=NS_PER_S // 2,
        dead_workers=frozenset({1}),
        lateness_ns=3_000_000,
        config={"percentile": 99.99},
    )
    run.workers[0].overflowed = 3
    run.workers[0].pushed += 3
    found = verdict(run)
    assert not found.valid
    assert {one.code for one in found.invalid_reasons} == {
        "books",
        "overflow",
        "worker_lost",
        "client_late",
        "client_late_slots",
        "interrupted",
        "too_few_requests",
    } - ({"client_late_slots"} if not run.tally.buckets[:, :, 4].any() else set())
    for one in found.invalid_reasons:
        assert one.advice
        assert "\n" not in one.text + one.advice


@pytest.mark.parametrize(
    ("lateness_ns", "median_ns", "late"),
    [
        # p99 of lateness; the bound is max(100 us, a tenth of the median response)
        (99_000, 500_000, False),
        (105_000, 500_000, True),
        (750_000, 8_000_000, False),
        (850_000, 8_000_000, True),
    ],
)
def test_lateness_bound(lateness_ns: int, median_ns: int, late: bool) -> None:
    run = synthetic_run(mix={Outcome.OK: 1}, rows=False)
    for name, value in (("lateness", lateness_ns), ("response", median_ns)):
        histogram = run.tally.histogram(name, 0)
        count = histogram.count
        histogram.clear()
        for _ in range(count):
            histogram.record(value)
    assert ("client_late" in [one.code for one in judge(run, []).invalid_reasons]) is late


def test_lateness_bound_where_most_slots_have_no_answer() -> None:
    run = synthetic_run(mix={Outcome.OK: 1, Outcome.TIMEOUT: 9}, lateness_ns=2_000_000, rows=False)
    assert "client_late" not in [one.code for one in judge(run, []).invalid_reasons]


@pytest.mark.parametrize(("late", "invalid"), [(1, False), (2, False), (3, True)])
def test_share_of_late_slots(late: int, invalid: bool) -> None:
    run = synthetic_run(dist="constant", rate=200, rows=False)
    assert run.plan.slots == 200
    run.tally.buckets[0, :, 4] = 0
    run.tally.buckets[0, 0, 4] = late
    assert ("client_late_slots" in [one.code for one in judge(run, []).invalid_reasons]) is invalid


def test_slots_the_client_dropped_count_as_late() -> None:
    run = synthetic_run(mix={Outcome.OK: 9, Outcome.DROPPED: 1}, client_drops=True)
    reasons, _ = codes(run)
    assert "client_late_slots" in reasons


@pytest.mark.parametrize(("violations", "broken"), [(4, False), (5, False), (6, True)])
def test_slo_is_broken_strictly_over_the_limit(violations: int, broken: bool) -> None:
    run = synthetic_run(dist="constant", rate=100, rows=False, limit=0.05)
    counts = run.tally.counts
    counts[:] = 0
    counts[0, Outcome.OK, 1] = 100 - violations
    counts[0, Outcome.OK, 3] = violations
    found = judge(run, [])
    assert found.slo_held is not broken
    assert ("slo_broken" in [one.code for one in found.findings]) is broken


@pytest.mark.parametrize(
    ("percentile", "slots", "enough"),
    [
        (90.0, 100, True),
        (90.0, 99, False),
        (99.0, 1000, True),
        (99.9, 9999, False),
        (99.9, 10_000, True),
        (50.0, 20, True),
        (50.0, 19, False),
    ],
)
def test_requests_a_percentile_needs(percentile: float, slots: int, enough: bool) -> None:
    run = synthetic_run(rows=False, config={"percentile": percentile})
    run.tally.counts[:] = 0
    run.tally.counts[0, Outcome.OK, 1] = slots
    reasons = [one.code for one in judge(run, []).invalid_reasons]
    assert ("too_few_requests" not in reasons) is enough


def test_executed_differs() -> None:
    run = synthetic_run(urls=("gpu1:8001", "gpu2:8001"))
    counts = run.stats_after[1].counts
    run.stats_after[1] = Snapshot(replace(counts, success_count=counts.success_count + 2))
    found = verdict(run)
    handed = int(run.tally.counts[1].sum())
    assert [(one.code, one.text) for one in found.findings] == [
        (
            "executed_differs",
            f"gpu2:8001: {handed} requests handed, {handed + 2} executed by its own statistics",
        )
    ]
    assert found.valid


@pytest.mark.parametrize("before", [None, Snapshot(None, "no statistics extension")])
def test_no_statistics_is_no_finding(before: Snapshot | None) -> None:
    run = synthetic_run()
    run.stats_before[0] = before
    assert codes(run) == ([], [])


def test_statistics_that_went_backwards_are_no_finding() -> None:
    run = synthetic_run()
    run.stats_before[0] = Snapshot(ModelCounts(success_count=10**9))
    assert codes(run) == ([], [])


def test_errors_by_status_and_reason() -> None:
    run = synthetic_run(mix=BROKEN)
    errors = int((run.tally.rows["outcome"] == Outcome.ERROR).sum())
    found = verdict(run).findings[-1]
    assert found.text == f"gpu1:8001: errors: {errors} UNAVAILABLE"
    run.tally.statuses[0] = 0
    run.tally.statuses[0, [0, 14, 17]] = [2, 3, 1]
    run.tally.reasons[0] = 0
    run.tally.reasons[0, [Reason.GRPC_STATUS, Reason.WRONG_ID, Reason.CLIENT]] = [4, 2, 5]
    found = judge(run, []).findings[-1]
    assert found.text == "gpu1:8001: errors: 2 NO_STATUS, 3 UNAVAILABLE, 1 OTHER (2 wrong id)"


def test_names_from_outside_are_cleaned() -> None:
    run = synthetic_run(mix=BROKEN)
    run.servers[0]["url"] = "gpu1\x1b[31m\u202e:8001"
    text = verdict(run).findings[-1].text
    assert text.startswith("gpu1[31m:8001: errors")


def test_records_not_kept_is_said_unless_asked_for() -> None:
    assert codes(synthetic_run(rows=False)) == ([], ["no_records"])
    assert codes(synthetic_run(rows=False, config={"records": "none"})) == ([], [])


def test_many_imbalances_are_cut_off() -> None:
    imbalances = [Imbalance(5, f"figure {index}") for index in range(30)]
    reason = judge(synthetic_run(), imbalances).invalid_reasons[0]
    assert reason.text.endswith("figure 9; 20 more")


def interrupted(run: RunData) -> None:
    run.interrupted_by = "SIGINT"


def terminated(run: RunData) -> None:
    run.interrupted_by = "SIGTERM"


def unbalanced(run: RunData) -> None:
    run.tally.rows["t_sched_ns"][3] += 1


def overflowed(run: RunData) -> None:
    run.workers[0].overflowed = 1


def lost(run: RunData) -> None:
    run.workers[0].state = "hung"


ALLOW = {"allow_invalid": True}
FAIL = {"fail_on_violation": True}


@pytest.mark.parametrize(
    ("spoil", "config", "mix", "results_failed", "code"),
    [
        ([], {}, None, False, 0),
        ([], FAIL, None, False, 0),
        ([], {}, BROKEN, False, 0),
        ([], FAIL, BROKEN, False, 99),
        ([lost], FAIL, BROKEN, False, 4),
        ([lost], {**FAIL, **ALLOW}, BROKEN, False, 99),
        ([lost], ALLOW, None, False, 0),
        ([unbalanced], ALLOW, None, False, 4),
        ([overflowed], ALLOW, None, False, 4),
        ([lost], {}, None, True, 5),
        ([], {}, None, True, 5),
        ([interrupted], {}, None, False, 130),
        ([interrupted], ALLOW, None, False, 130),
        ([interrupted, unbalanced], FAIL, BROKEN, True, 130),
        ([terminated], {}, None, True, 143),
    ],
)
def test_exit_codes(
    spoil: list[Any],
    config: dict[str, Any],
    mix: dict[Outcome, int] | None,
    results_failed: bool,
    code: int,
) -> None:
    run = synthetic_run(config=config, mix=mix or {Outcome.OK: 1})
    for change in spoil:
        change(run)
    assert exit_code(run, verdict(run), run.config, results_failed=results_failed) == code


def test_nothing_decided_is_neither_held_nor_broken() -> None:
    run = synthetic_run(rows=False)
    run.tally.counts[:] = 0
    assert judge(run, []).slo_held is None
    assert np.all(run.tally.counts == 0)
