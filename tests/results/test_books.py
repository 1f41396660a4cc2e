"""The books: consistent runs balance, and each single corruption is found by its rule."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.config import NS_PER_MS, NS_PER_S
from harness.plan import PlanFacts
from harness.records import NO_SERVER, Decision, Flag, Outcome, Reason
from harness.results.books import check_books
from harness.results.rundata import RunData
from harness.results.totals import totals
from tests.synthetic import Spec, overdue_records, synthetic_run

MIXED = {
    Outcome.OK: 12,
    Outcome.ERROR: 2,
    Outcome.TIMEOUT: 1,
    Outcome.CANCELLED: 1,
    Outcome.DROPPED: 2,
}


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    workers = draw(st.integers(1, 4))
    duration_ns = draw(st.integers(1, NS_PER_S))
    servers = draw(st.integers(1, 3))
    return Spec(
        dist=draw(st.sampled_from(["constant", "poisson"])),
        rate=draw(st.floats(1, 150)),
        duration_ns=duration_ns,
        seed=draw(st.integers(0, 2**32)),
        urls=tuple(f"gpu{index}:8001" for index in range(servers)),
        workers=workers,
        slo_ns=draw(st.none() | st.integers(NS_PER_MS, 40 * NS_PER_MS)),
        cut_ns=draw(st.none() | st.integers(0, duration_ns)),
        dead_workers=draw(st.frozensets(st.integers(0, workers - 1))),
        mix=draw(
            st.fixed_dictionaries(
                {Outcome.OK: st.integers(1, 9)},
                optional={
                    outcome: st.integers(1, 9) for outcome in MIXED if outcome is not Outcome.OK
                },
            )
        ),
        client_drops=draw(st.booleans()),
        draw=draw(st.integers(0, 2**32)),
        rows=draw(st.booleans()),
        concurrency=draw(st.none() | st.integers(4, 64)),
    )


@settings(max_examples=150, deadline=None)
@given(specs())
def test_consistent_runs_balance(spec: Spec) -> None:
    run = synthetic_run(spec)
    assert check_books(run) == []
    found = totals(run.tally)
    assert found.scheduled == run.slots_until_cut
    assert found.scheduled == found.sent + found.dropped + found.unsent
    assert found.violations == sum(found.violations_by.model_dump().values())
    by_server = [totals(run.tally, server) for server in range(len(spec.urls) + 1)]
    assert found.violations == sum(one.violations for one in by_server)
    assert found.sent == sum(one.sent for one in by_server)


def test_a_closed_loop_longer_than_a_chunk() -> None:
    run = synthetic_run(concurrency=4, rate=400_000.0, workers=1)
    assert run.plan.slots > 65_536
    assert check_books(run) == []
    run.tally.rows["t_sched_ns"][66_000] += 1
    assert [one.text for one in check_books(run) if one.rule == 3] == [
        "t_sched differs from t_taken: 1 slots, the first is 66000"
    ]


def test_longer_than_a_chunk_of_the_plan() -> None:
    run = synthetic_run(rate=70_000.0, duration_ns=NS_PER_S, workers=1, cut_ns=NS_PER_S - 10**7)
    assert run.plan.slots > 65_536
    assert check_books(run) == []
    run.tally.rows["t_sched_ns"][66_000] += 1
    assert [one.text for one in check_books(run) if one.rule == 3] == [
        "t_sched differs from the plan: 1 slots, the first is 66000"
    ]


def mixed_run(**changes: object) -> RunData:
    """Every outcome, two servers, a dead worker, and the plan cut at 0.8 s."""
    given_changes: dict[str, object] = {
        "urls": ("gpu1:8001", "gpu2:8001"),
        "workers": 3,
        "mix": MIXED,
        "client_drops": True,
        "dead_workers": frozenset({2}),
        "slo_ns": 10 * NS_PER_MS,
        "cut_ns": 800 * NS_PER_MS,
        **changes,
    }
    run = synthetic_run(**given_changes)
    assert check_books(run) == []
    return run


def first(run: RunData, outcome: Outcome, decision: Decision | None = None) -> int:
    rows = run.tally.rows
    wanted = rows["outcome"] == outcome
    if decision is not None:
        wanted &= rows["decision"] == decision
    assert wanted.any()
    return int(wanted.argmax())


def set_row(where: int | Outcome, **values: object) -> Callable[[RunData], None]:
    def corrupt(run: RunData) -> None:
        index = first(run, where) if isinstance(where, Outcome) else where
        for name, value in values.items():
            assert run.tally.rows[name][index] != value
            run.tally.rows[name][index] = value

    return corrupt


def lose_row(run: RunData) -> None:
    run.tally.rows[40] = np.zeros((), dtype=run.tally.rows.dtype)


def swap_rows(run: RunData) -> None:
    run.tally.rows[[10, 13]] = run.tally.rows[[13, 10]]


def double_record(run: RunData) -> None:
    run.tally.add_rows(run.tally.rows[5:6].copy())


def double_overdue(run: RunData) -> None:
    run.tally.add_rows(overdue_records(run.tally.rows)[:1])


def stray_record(run: RunData) -> None:
    stray = run.tally.rows[5:6].copy()
    stray["slot"] = run.plan.slots
    run.tally.add_rows(stray)


def row_after_cut(run: RunData) -> None:
    extra = run.tally.rows[run.slots_until_cut - 1 : run.slots_until_cut].copy()
    extra["slot"] = run.slots_until_cut
    run.tally.rows[run.slots_until_cut] = extra[0]


def record_after_cut(run: RunData) -> None:
    extra = run.tally.rows[first(run, Outcome.OK, Decision.IN_TIME)].copy()
    extra["slot"] = run.slots_until_cut
    run.tally.add_rows(np.array([extra]))


def wrong_bucket(run: RunData) -> None:
    ok = run.tally.buckets[0, :, 2]
    filled = int(ok.argmax())
    ok[filled] -= 1
    ok[filled - 1] += 1


def moved_answer(run: RunData) -> None:
    filled = int(run.tally.answers[:, 1].argmax())
    run.tally.answers[filled, 1] -= 1


def other_epoch(run: RunData) -> None:
    run.tally.rows["epoch"][first(run, Outcome.OK)] += 1


def shift_time(run: RunData) -> None:
    run.tally.rows["t_sched_ns"][20] += 1


def swap_server(run: RunData) -> None:
    index = first(run, Outcome.OK)
    run.tally.rows["server"][index] = 1 - run.tally.rows["server"][index]


def other_worker(run: RunData) -> None:
    run.tally.rows["worker"][30] = (run.tally.rows["worker"][30] + 1) % 3


def flip_ok(run: RunData) -> None:
    index = first(run, Outcome.OK, Decision.IN_TIME)
    run.tally.rows["decision"][index] = Decision.SLOW


def late_ok(run: RunData) -> None:
    index = first(run, Outcome.OK, Decision.IN_TIME)
    run.tally.rows["t_done_ns"][index] += 10 * NS_PER_MS


def overdue_in_time(run: RunData) -> None:
    index = first(run, Outcome.OK, Decision.IN_TIME)
    run.tally.rows["flags"][index] |= Flag.OVERDUE


def undecided_error(run: RunData) -> None:
    run.tally.counts[0, Outcome.ERROR, Decision.UNDECIDED] += 1


def in_time_timeout(run: RunData) -> None:
    run.tally.counts[0, Outcome.TIMEOUT, Decision.IN_TIME] += 1


def judged_unsent(run: RunData) -> None:
    run.tally.counts[2, Outcome.UNSENT, Decision.SLOW] += 1


def count_none(run: RunData) -> None:
    run.tally.counts[0, Outcome.NONE, Decision.UNDECIDED] += 1


def handed_to_none(run: RunData) -> None:
    run.tally.counts[0, Outcome.OK, Decision.IN_TIME] -= 1
    run.tally.counts[2, Outcome.OK, Decision.IN_TIME] += 1


def sent_but_dropped(run: RunData) -> None:
    run.tally.rows["t_sent_ns"][first(run, Outcome.DROPPED)] = 5


def no_such_outcome(run: RunData) -> None:
    run.tally.rows["outcome"][9] = 8


def no_such_decision(run: RunData) -> None:
    run.tally.rows["decision"][9] = 4


def drop_reason(run: RunData) -> None:
    rows = run.tally.rows
    client = (rows["outcome"] == Outcome.DROPPED) & (rows["reason"] == Reason.CLIENT)
    rows["reason"][client.argmax()] = Reason.BACKPRESSURE


def set_run(**values: object) -> Callable[[RunData], None]:
    def corrupt(run: RunData) -> None:
        for name, value in values.items():
            setattr(run, name, value)

    return corrupt


def set_worker(**changes: int) -> Callable[[RunData], None]:
    def corrupt(run: RunData) -> None:
        for name, change in changes.items():
            setattr(run.workers[1], name, getattr(run.workers[1], name) + change)

    return corrupt


def bucket_decided(run: RunData) -> None:
    run.tally.buckets[0, 3, 0] += 1


def cut_moved(run: RunData) -> None:
    run.slots_until_cut += 1


def other_plan(run: RunData) -> None:
    run.plan = type(run.plan)(run.plan.slots, "0" * 64)


CORRUPTIONS: list[tuple[Callable[[RunData], None], set[int]]] = [
    (lose_row, {4, 5}),
    (swap_rows, {3, 4}),
    (double_record, {4}),
    (double_overdue, {2, 5}),
    (stray_record, {4}),
    (row_after_cut, {4}),
    (record_after_cut, {3, 4, 5}),
    (wrong_bucket, {5}),
    (moved_answer, {5}),
    (other_epoch, {5}),
    (shift_time, {3}),
    (swap_server, {5}),
    (set_row(Outcome.OK, server=NO_SERVER), {5}),
    (other_worker, {4}),
    (flip_ok, {2, 5}),
    (late_ok, {2}),
    (overdue_in_time, {2}),
    (undecided_error, {2, 3, 5}),
    (in_time_timeout, {2, 3, 5}),
    (judged_unsent, {2, 3, 5}),
    (count_none, {1, 2, 3, 5}),
    (handed_to_none, {1, 5}),
    (set_row(Outcome.OK, t_taken_ns=-1), {1}),
    (set_row(Outcome.OK, t_done_ns=-1), {1}),
    (sent_but_dropped, {1}),
    (set_row(Outcome.DROPPED, reason=Reason.WRONG_ID), {1}),
    (drop_reason, {2}),
    (no_such_outcome, {1, 5}),
    (no_such_decision, {2, 5}),
    (set_row(7, slot=8), {4}),
    (set_row(Outcome.ERROR, status=13), {5}),
    (set_row(Outcome.ERROR, reason=Reason.WRONG_ID), {5}),
    (set_run(in_flight_after_drain=2), {1}),
    (set_worker(popped=-1), {4}),
    (set_worker(overflowed=1, pushed=1), {4}),
    (set_worker(slots=-1), {4}),
    (bucket_decided, {2, 5}),
    (cut_moved, {3}),
    (other_plan, {3}),
]


@pytest.mark.parametrize(
    ("corrupt", "rules"), CORRUPTIONS, ids=lambda part: getattr(part, "__name__", str(part))
)
def test_each_corruption_is_found_by_its_rule(
    corrupt: Callable[[RunData], None], rules: set[int]
) -> None:
    run = mixed_run()
    corrupt(run)
    found = {one.rule for one in check_books(run)}
    assert found >= rules


def closed_run(**changes: object) -> RunData:
    """As ``mixed_run``, of a closed loop; its workers took unevenly many slots."""
    run = mixed_run(concurrency=64, rate=600.0, **changes)
    taken = [worker.taken for worker in run.workers]
    assert len(set(taken)) == 3
    assert run.tally.rows is None or len(run.tally.rows) > sum(taken)
    return run


def gap_filled(run: RunData) -> None:
    rows = run.tally.rows
    gap = int((rows["outcome"] == Outcome.NONE).argmax())
    rows[gap] = rows[gap - 3]
    rows["slot"][gap] = gap


def taken_late(run: RunData) -> None:
    for name in ("t_sched_ns", "t_taken_ns"):
        run.tally.rows[name][20] = 800 * NS_PER_MS + 1


def lose_slot(run: RunData) -> None:
    run.tally.counts[0, Outcome.OK, Decision.IN_TIME] -= 1


def no_room(run: RunData) -> None:
    run.tally.limit_rows(5)
    run.tally.add_rows(run.tally.rows[7:8].copy())


OPEN_ONLY = {
    *("stray_record", "row_after_cut", "record_after_cut", "drop_reason", "other_plan"),
    *("shift_time", "swap_rows"),
}
CLOSED: list[tuple[Callable[[RunData], None], set[int]]] = [
    *(one for one in CORRUPTIONS if one[0].__name__ not in OPEN_ONLY),
    (swap_rows, {4}),
    (shift_time, {3}),
    (taken_late, {3}),
    (gap_filled, {4}),
    (lose_slot, {2, 3, 5}),
    (no_room, {4}),
    (set_worker(taken=1), {3, 4}),
    (set_worker(taken=-1), {3, 4}),
    (set_run(plan=PlanFacts(3, None)), {3}),
]


@pytest.mark.parametrize(
    ("corrupt", "rules"), CLOSED, ids=lambda part: getattr(part, "__name__", str(part))
)
def test_each_corruption_of_a_closed_loop_is_found(
    corrupt: Callable[[RunData], None], rules: set[int]
) -> None:
    run = closed_run()
    corrupt(run)
    assert {one.rule for one in check_books(run)} >= rules


WITHOUT_ROWS: list[tuple[Callable[[RunData], None], set[int]]] = [
    (undecided_error, {2, 3}),
    (count_none, {1, 3}),
    (handed_to_none, {1, 5}),
    (bucket_decided, {2}),
    (set_worker(popped=-1), {4}),
    (set_run(in_flight_after_drain=1), {1}),
    (other_plan, {3}),
]


@pytest.mark.parametrize(("corrupt", "rules"), WITHOUT_ROWS)
def test_counts_alone(corrupt: Callable[[RunData], None], rules: set[int]) -> None:
    for run in (mixed_run(rows=False), mixed_run(rows=False, concurrency=64, rate=600.0)):
        corrupt(run)
        assert {one.rule for one in check_books(run)} >= rules


def test_slow_without_an_slo() -> None:
    run = synthetic_run(slo_ns=None, rows=False)
    run.tally.counts[0, Outcome.OK, Decision.IN_TIME] -= 1
    run.tally.counts[0, Outcome.OK, Decision.SLOW] += 1
    assert 2 in {one.rule for one in check_books(run)}


def test_texts_name_count_and_first_slot() -> None:
    run = mixed_run()
    run.tally.rows["t_sched_ns"][[20, 50]] += 1
    assert "t_sched differs from the plan: 2 slots, the first is 20" in {
        one.text for one in check_books(run)
    }
