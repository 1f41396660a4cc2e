"""Why a run is invalid, by table."""

import pytest

from harness.config import NS_PER_S
from harness.records import Outcome
from harness.results.books import Imbalance
from harness.results.findings import judge
from tests.results.test_findings import codes, verdict
from tests.synthetic import synthetic_run


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


def test_many_imbalances_are_cut_off() -> None:
    imbalances = [Imbalance(5, f"figure {index}") for index in range(30)]
    reason = judge(synthetic_run(), imbalances).invalid_reasons[0]
    assert reason.text.endswith("figure 9; 20 more")
