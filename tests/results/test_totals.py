"""Totals add up, for a run and for each server."""

from harness.records import Decision, Outcome
from harness.results.totals import totals
from tests.synthetic import synthetic_run


def test_by_table() -> None:
    run = synthetic_run(urls=("a:1", "b:1"), mix={Outcome.OK: 1}, rows=False)
    counts = run.tally.counts
    counts[:] = 0
    counts[0, Outcome.OK, Decision.IN_TIME] = 90
    counts[0, Outcome.OK, Decision.SLOW] = 4
    counts[0, Outcome.ERROR, Decision.STATUS] = 3
    counts[1, Outcome.TIMEOUT, Decision.SLOW] = 2
    counts[1, Outcome.CANCELLED, Decision.UNDECIDED] = 5
    counts[1, Outcome.LOST, Decision.SLOW] = 1
    counts[1, Outcome.DROPPED, Decision.STATUS] = 6
    counts[2, Outcome.DROPPED, Decision.UNDECIDED] = 7
    counts[2, Outcome.UNSENT, Decision.UNDECIDED] = 8
    run.tally.buckets[2, 1, 4] = 9
    found = totals(run.tally)
    assert found.model_dump() == {
        "scheduled": 126,
        "sent": 105,
        "dropped": 13,
        "dropped_backpressure": 6,
        "dropped_client": 7,
        "unsent": 8,
        "ok": 94,
        "error": 3,
        "timeout": 2,
        "cancelled": 5,
        "lost": 1,
        "decided": 106,
        "in_time": 90,
        "violations": 16,
        "violations_by": {
            "timeout": 2,
            "error": 3,
            "slow": 4,
            "dropped": 6,
            "cancelled": 0,
            "lost": 1,
        },
        "client_late": int(run.tally.buckets[:, :, 4].sum()),
    }
    assert found.population == 119
    assert found.violation_share == 16 / 106
    assert [totals(run.tally, server).scheduled for server in range(3)] == [97, 14, 15]
    assert totals(run.tally, 2).violation_share is None
