"""Outages by table, and against a naive recount of the rows."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness._tally import Tally
from harness.config import NS_PER_MS, NS_PER_S
from harness.records import ABSENT_NS, BUCKET_NS, RECORD, Decision, Outcome
from harness.results.books import check_books
from harness.results.outages import (
    MAX_OUTAGES,
    Outage,
    evidence_window_ns,
    find_outages,
    least_outage_ns,
    silences_ns,
)
from harness.results.rundata import RunData
from tests.synthetic import Failure, synthetic_run

MS, S = NS_PER_MS, NS_PER_S
T_NS = 50 * MS


def run_of(slots: list[tuple[int, Outcome, int]], **changes: Any) -> RunData:
    """A run of slots (t_sched in ms, outcome, response in ms) in place of its own."""
    run = synthetic_run(**{"slo_ns": T_NS, **changes})
    rows = np.zeros(len(slots), dtype=RECORD)
    for row, (t_sched_ms, outcome, response_ms) in zip(rows, slots, strict=True):
        in_time = outcome is Outcome.OK and response_ms * MS <= T_NS
        row["t_sched_ns"] = row["t_taken_ns"] = t_sched_ms * MS
        row["t_done_ns"] = (t_sched_ms + response_ms) * MS
        row["outcome"] = outcome
        row["decision"] = Decision.IN_TIME if in_time else Decision.STATUS
        if outcome is Outcome.DROPPED:
            row["t_done_ns"] = ABSENT_NS
    rows["slot"] = np.arange(len(slots))
    run.tally = Tally(run.tally.servers, len(slots), run.spec.duration_ns, np.zeros_like(rows))
    run.tally.add_rows(rows)
    return run


def ok(*times_ms: int) -> list[tuple[int, Outcome, int]]:
    return [(t_ms, Outcome.OK, 0) for t_ms in times_ms]


def times(run: RunData) -> list[tuple[int, int]]:
    return [(one.t_start_ns // MS, one.t_end_ns // MS) for one in find_outages(run)]


# At 100/s the least that counts is the stall tolerance: 250 ms.
@pytest.mark.parametrize(
    ("answers_ms", "expected"),
    [
        ([], [(0, 2000)]),
        ([0], [(0, 2000)]),
        ([1000], [(0, 1000), (1000, 2000)]),
        ([*range(0, 500, 10), *range(800, 2000, 10)], [(490, 800)]),
        ([*range(0, 500, 10), *range(740, 2000, 10)], [(490, 740)]),
        (
            [*range(0, 500, 10), *range(740, 1000, 10), *range(1240, 2000, 10)],
            [(490, 740), (990, 1240)],
        ),
        (range(300, 2000, 10), [(0, 300)]),
        (range(0, 1700, 10), [(1690, 2000)]),
    ],
)
def test_where_outages_lie(answers_ms: range | list[int], expected: Any) -> None:
    run = run_of(ok(*answers_ms), rate=100.0, duration_ns=2 * S)
    assert times(run) == expected


def test_the_longest_is_there_however_short() -> None:
    ((start_ms, end_ms),) = times(run_of(ok(*range(0, 1000, 10)), rate=100.0))
    assert end_ms - start_ms == 10


def test_an_answer_too_late_or_an_error_ends_no_outage() -> None:
    slots = [*ok(*range(0, 500, 10)), (600, Outcome.ERROR, 1), (700, Outcome.OK, 51)]
    run = run_of([*slots, *ok(*range(900, 1000, 10))], rate=100.0)
    assert times(run) == [(490, 900)]


@pytest.mark.parametrize(
    ("rate", "tolerance_ms", "least_ms"),
    [(100.0, 250, 250), (20.0, 250, 250), (10.0, 250, 500), (1.0, 250, 5000), (100.0, 800, 800)],
)
def test_the_least_that_counts_beside_the_longest(
    rate: float, tolerance_ms: int, least_ms: int
) -> None:
    assert least_outage_ns(rate, tolerance_ms * MS) == least_ms * MS


def test_the_stall_tolerance_of_the_run_counts() -> None:
    answers = ok(*range(0, 500, 10), *range(800, 1000, 10), *range(1400, 2000, 10))
    given = {"rate": 100.0, "duration_ns": 2 * S}
    assert times(run_of(answers, **given)) == [(490, 800), (990, 1400)]
    config = {"switching": {"stall_tolerance_ns": 400 * MS}}
    assert times(run_of(answers, **given, config=config)) == [(990, 1400)]


def test_the_longest_are_kept_in_order_of_time() -> None:
    lengths_ms = [300 + (7 * n) % 25 for n in range(25)]
    moments = np.cumsum([5, *lengths_ms])
    run = run_of(ok(*map(int, moments)), rate=100.0, duration_ns=int(moments[-1] + 1) * MS)
    found = find_outages(run)
    assert [one.duration_ns // MS for one in found] == [n for n in lengths_ms if n >= 305]
    assert len(found) == MAX_OUTAGES
    assert [one.t_start_ns for one in found] == sorted(one.t_start_ns for one in found)


@pytest.mark.parametrize(
    ("cut_ms", "expected"),
    [
        (1200, [(490, 1200)]),
        (1800, [(490, 1500)]),
        (0, []),
    ],
)
def test_the_cut_is_the_end(cut_ms: int, expected: list[tuple[int, int]]) -> None:
    answers = ok(*range(0, 500, 10), *range(1500, 2000, 10))
    run = run_of(answers, rate=100.0, duration_ns=2 * S)
    run.cut_ns = cut_ms * MS
    assert times(run) == expected


def test_what_failed_by_what_became_of_it() -> None:
    run = run_of(
        [
            *ok(*range(0, 480, 10)),
            (480, Outcome.OK, 60),  # due in a bucket the outage touches
            (520, Outcome.ERROR, 1),
            (530, Outcome.TIMEOUT, 10_000),
            (540, Outcome.OK, 51),
            (550, Outcome.DROPPED, 0),
            (560, Outcome.OK, 400),
            *ok(*range(900, 1000, 10)),
            (990, Outcome.ERROR, 1),  # due after it
        ],
        rate=100.0,
    )
    (found,) = find_outages(run)
    assert (found.t_start_ns // MS, found.t_end_ns // MS) == (470, 900)
    assert found.failed == 6
    assert found.failed_by.model_dump() == {"error_or_timeout": 2, "slow": 3, "other": 1}


@pytest.mark.parametrize(
    ("bad_ms", "duration_s", "recovery_ms"),
    [
        # Silence from 0.99 to 2 s; W = 5 s; then slots bad_ms fail, 5 of 500 may at L = 1 %.
        ([], 10, 7000 - 990),
        (range(2010, 2060, 10), 10, 7000 - 990),
        (range(2010, 2070, 10), 10, 7050 - 990),
        (range(2010, 3000, 10), 10, 7950 - 990),
        (range(6010, 6070, 10), 10, None),
        (range(6010, 6070, 10), 12, 11_050 - 990),
        ([], 7, 7000 - 990),
        ([], 6, None),
    ],
)
def test_recovery(bad_ms: Any, duration_s: int, recovery_ms: int | None) -> None:
    good = {*range(0, 1000, 10), *range(2000, 1000 * duration_s, 10)} - set(bad_ms)
    slots = [*ok(*good), *((t_ms, Outcome.ERROR, 1) for t_ms in bad_ms)]
    run = run_of(
        slots,
        rate=100.0,
        duration_ns=duration_s * S,
        limit=0.01,
        config={
            "switching": {"given_window_ns": 5 * S},
        },
    )
    longest = max(find_outages(run), key=lambda one: one.duration_ns)
    assert (longest.t_start_ns, longest.t_end_ns) == (990 * MS, 2000 * MS)
    assert longest.recovery_ns == (None if recovery_ms is None else recovery_ms * MS)


def test_a_window_without_a_decided_slot_is_no_recovery() -> None:
    slots = [*ok(*range(0, 1000, 10)), (2999, Outcome.OK, 2), *ok(9000)]
    first = find_outages(run_of(slots, rate=100.0, duration_ns=10 * S))[0]
    assert (first.t_start_ns, first.t_end_ns) == (990 * MS, 3001 * MS)
    # From 3.05 to 8.05 s nothing was due; the first window that holds a slot ends at 9.05 s.
    assert first.recovery_ns == (9050 - 990) * MS


@pytest.mark.parametrize(
    ("config", "limit", "window_s"),
    [
        ({}, 0.05, 5),
        ({}, 0.01, 25),
        ({"switching": {"given_window_ns": 3 * S}}, 0.01, 3),
        ({"switching": {"stall_tolerance_ns": S}}, 0.05, 20),
        ({"slo": None}, 0.05, None),
    ],
)
def test_the_window(config: dict[str, Any], limit: float, window_s: int | None) -> None:
    found = evidence_window_ns(synthetic_run(limit=limit, config=config).config)
    assert found == (None if window_s is None else window_s * S)


def test_without_an_slo_there_is_no_recovery() -> None:
    run = synthetic_run(slo_ns=None, duration_ns=7 * S)
    assert [one.recovery_ns for one in find_outages(run)] == [None]


def naive_silences(rows: NDArray[np.void], run: RunData) -> list[tuple[int, int]]:
    in_time = (rows["outcome"] == Outcome.OK) & (rows["decision"] == Decision.IN_TIME)
    done = sorted(int(t) for t in rows["t_done_ns"][in_time] if t < run.spec.duration_ns)
    moments = [0, *(min(t_ns, run.end_ns) for t_ns in done), run.end_ns]
    return [(a, b) for a, b in pairwise(moments) if b > a]


def naive_failed(rows: NDArray[np.void], outage: Outage) -> int:
    first, last = outage.t_start_ns // BUCKET_NS, (outage.t_end_ns - 1) // BUCKET_NS
    return sum(
        first <= int(row["t_sched_ns"]) // BUCKET_NS <= last for row in rows if row["decision"] >= 2
    )


def naive_recovery_ns(rows: NDArray[np.void], run: RunData, outage: Outage) -> int | None:
    window_ns = evidence_window_ns(run.config)
    if window_ns is None or run.config.slo is None:
        return None
    width_ns = -(-window_ns // BUCKET_NS) * BUCKET_NS
    start_ns = -(-outage.t_end_ns // BUCKET_NS) * BUCKET_NS
    while start_ns + width_ns <= run.end_ns:
        due = (rows["t_sched_ns"] >= start_ns) & (rows["t_sched_ns"] < start_ns + width_ns)
        decided = int(np.count_nonzero(due & (rows["decision"] > 0)))
        violations = int(np.count_nonzero(due & (rows["decision"] > 1)))
        if decided and violations / decided <= run.config.slo.limit:
            return start_ns + width_ns - outage.t_start_ns
        start_ns += BUCKET_NS
    return None


@st.composite
def runs(draw: st.DrawFn) -> RunData:
    duration_ns = draw(st.integers(1, 3 * S))
    weight = st.integers(0, 5)
    onset_ns = draw(st.integers(0, 2 * S))
    failure = Failure(onset_ns, onset_ns + draw(st.integers(0, S)), 1)
    slo_ns = draw(st.sampled_from([None, 9 * MS, 50 * MS]))
    tolerance_ns = draw(st.sampled_from([50, 100, 250])) * MS
    window = {}
    if slo_ns is not None and draw(st.booleans()):
        window = {"given_window_ns": draw(st.integers(tolerance_ns, S))}
    return synthetic_run(
        urls=("gpu1:8001", "gpu2:8001"),
        rate=draw(st.sampled_from([2.0, 20.0, 60.0, 100.0])),
        duration_ns=duration_ns,
        seed=draw(st.integers(0, 2**32)),
        draw=draw(st.integers(0, 2**32)),
        slo_ns=slo_ns,
        limit=draw(st.sampled_from([0.01, 0.05, 0.3])),
        cut_ns=draw(st.none() | st.integers(0, duration_ns)),
        mix={Outcome.OK: 5, Outcome.ERROR: draw(weight), Outcome.DROPPED: draw(weight)},
        failures=draw(st.sampled_from([(), (failure,)])),
        config={"switching": {"stall_tolerance_ns": tolerance_ns, **window}},
    )


@settings(max_examples=120, deadline=None)
@given(runs())
def test_against_a_naive_recount(run: RunData) -> None:
    assert check_books(run) == []
    rows = run.tally.rows[: run.slots_until_cut]
    silences = naive_silences(rows, run)
    found = find_outages(run)
    if not silences:
        assert found == []
        return
    least_ns = least_outage_ns(run.spec.rate, run.config.switching.stall_tolerance_ns)
    longest = max(silences, key=lambda span: span[1] - span[0])
    expected = [span for span in silences if span[1] - span[0] >= least_ns or span == longest]
    if longest[1] - longest[0] >= BUCKET_NS:
        assert [(one.t_start_ns, one.t_end_ns) for one in found] == expected
    else:
        assert len(found) <= 1
        assert all((one.t_start_ns, one.t_end_ns) in silences for one in found)
    for one in found:
        assert one.failed == naive_failed(rows, one) == sum(one.failed_by.model_dump().values())
        assert min(one.failed_by.model_dump().values()) >= 0
        assert one.recovery_ns == naive_recovery_ns(rows, run, one)


@given(st.lists(st.integers(0, 10 * BUCKET_NS - 1)), st.integers(0, 10 * BUCKET_NS))
def test_silences_are_apart_and_without_an_answer(answers: list[int], end_ns: int) -> None:
    spans = np.full((10, 2), -1, dtype=np.int64)
    for t_ns in sorted(answers):
        bucket = t_ns // BUCKET_NS
        if spans[bucket, 0] < 0:
            spans[bucket, 0] = t_ns
        spans[bucket, 1] = t_ns
    found = silences_ns(spans, end_ns)
    flat = found.ravel().tolist()
    assert flat == sorted(flat)
    assert not flat or (flat[0] >= 0 and flat[-1] <= end_ns)
    for start_ns, stop_ns in found.tolist():
        assert stop_ns > start_ns
        assert not any(start_ns < t_ns < stop_ns for t_ns in answers)


def test_the_same_without_rows() -> None:
    given: dict[str, Any] = {
        "urls": ("gpu1:8001", "gpu2:8001"),
        "duration_ns": 3 * S,
        "failures": (Failure(S, S + 400 * MS, 1),),
    }
    with_rows, without = (find_outages(synthetic_run(**given, rows=rows)) for rows in (True, False))
    assert with_rows == without
    assert with_rows[0].failed > 50
