"""What the servers did with the load, by table."""

from dataclasses import replace

import pytest

from harness.control.keep_warm import KeptWarm
from harness.control.server_stats import ModelCounts, Snapshot
from harness.plan import PlanFacts
from harness.records import Outcome, Reason
from harness.results.findings import judge
from tests.results.test_findings import BROKEN, codes, verdict
from tests.synthetic import synthetic_run


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


@pytest.mark.parametrize(
    ("config", "beyond", "why"),
    [
        ({}, False, "there was no more room for it"),
        ({"records": "all"}, False, "there was no more room for it"),
        ({}, True, "20000001 slots are more than 20000000 (--records all keeps it)"),
    ],
)
def test_why_the_records_of_a_closed_loop_are_not_kept(
    config: dict[str, str], beyond: bool, why: str
) -> None:
    run = synthetic_run(rows=False, concurrency=4, config=config)
    if beyond:
        run.plan = PlanFacts(20_000_001, None)
    (found,) = [one for one in judge(run, []).findings if one.code == "no_records"]
    assert found.text == f"requests.npy not kept: {why}"


def test_drops_of_a_closed_loop_mean_that_fewer_were_in_flight() -> None:
    run = synthetic_run(concurrency=4, mix={Outcome.DROPPED: 1})
    (found,) = [one for one in judge(run, []).findings if one.code == "backpressure"]
    assert found.text.startswith("fewer than 110 in flight: ")


@pytest.mark.parametrize(
    ("sent", "ok", "beside", "differs"),
    [
        (3, 1, 0, True),
        (3, 1, 1, False),
        (3, 1, 2, False),
        (3, 1, 3, False),
        (3, 1, 4, True),
        (0, 0, 0, False),
        (0, 0, 1, True),
    ],
)
def test_what_keeps_a_server_warm_is_executed_too(
    sent: int, ok: int, beside: int, differs: bool
) -> None:
    run = synthetic_run(urls=("gpu1:8001", "gpu2:8001"))
    run.kept_warm = [KeptWarm(0, 0), KeptWarm(sent, ok)]
    counts = run.stats_after[1].counts
    run.stats_after[1] = Snapshot(replace(counts, success_count=counts.success_count + beside))
    findings = verdict(run).findings
    assert bool(findings) is differs
    if sent and differs:
        assert f"requests handed and {sent} to keep it warm, " in findings[0].text
