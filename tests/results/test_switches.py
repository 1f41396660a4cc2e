"""What the summary says of each switch, from runs whose every slot is known."""

from typing import Any

import numpy as np
import pytest

from harness._tally import EPOCH_LIMIT
from harness.config import NS_PER_MS, NS_PER_S
from harness.records import BUCKET_NS, Outcome
from harness.results.books import check_books
from harness.results.outages import Failed, Outage, find_outages
from harness.results.rundata import RunData
from harness.results.switches import Switch, describe_switches, last_seen_ns
from tests.synthetic import Failure, synthetic_run

MS, S = NS_PER_MS, NS_PER_S
URLS = ("gpu1:8001", "gpu2:8001", "gpu3:8001")


def run_of(*failures: Failure, **changes: Any) -> RunData:
    run = synthetic_run(
        **{"urls": URLS, "rate": 300.0, "duration_ns": 4 * S, "failures": failures, **changes}
    )
    assert check_books(run) == []
    return run


def describe(run: RunData) -> list[Switch]:
    return describe_switches(run, [server["url"] for server in run.servers], find_outages(run))


ONE = Failure(S + 10 * MS, S + 340 * MS, 1)
TWO = Failure(2 * S, 2 * S + 330 * MS, 2)


def test_none() -> None:
    assert describe(run_of()) == []


def test_what_was_measured_is_kept() -> None:
    run = run_of(ONE, TWO)
    for found, switch in zip(describe(run), run.switches, strict=True):
        assert (found.from_, found.to) == (URLS[switch.source], URLS[switch.target])
        for name in ("rule", "t_onset_ns", "t_detect_ns", "t_decide_ns", "t_seen_ns"):
            assert getattr(found, name) == getattr(switch, name)
        for name in ("n", "x", "bound", "epoch"):
            assert getattr(found, name) == getattr(switch, name)
        assert found.rate == switch.x / switch.n == 1.0
        assert list(found.in_flight.values()) == switch.in_flight


def test_the_slots_on_each_side() -> None:
    run = run_of(ONE, TWO)
    rows = run.tally.rows
    for found in describe(run):
        assert found.last_slot_before == max(rows["slot"][rows["epoch"] == found.epoch - 1])
        assert found.first_slot_after == min(
            rows["slot"][(rows["epoch"] == found.epoch) & (rows["server"] == found.epoch)]
        )


@pytest.mark.parametrize(
    ("epoch", "before", "after"),
    [
        (1, True, True),
        (7, False, False),  # nothing was handed under 6 and 7
        (EPOCH_LIMIT - 2, False, True),
        (EPOCH_LIMIT - 1, True, False),  # shares its row with later ones
        (EPOCH_LIMIT, False, False),
        (10**6, False, False),
    ],
)
def test_slots_that_are_not_known_are_none(epoch: int, before: bool, after: bool) -> None:
    run = run_of(ONE)
    run.switches[0].epoch = epoch
    run.tally.epochs[EPOCH_LIMIT - 2 :] = [4, 11, 19]
    (found,) = describe(run)
    assert (found.last_slot_before is not None) is before
    assert (found.first_slot_after is not None) is after


def test_nothing_decided_is_no_rate() -> None:
    run = run_of(ONE)
    run.switches[0].n = run.switches[0].x = 0
    assert describe(run)[0].rate == 0.0


@pytest.mark.parametrize(
    ("commands_ms", "expected_ms"),
    [
        ([], [None, None]),
        ([1000], [1000, None]),
        ([0], [0, None]),
        ([200, 1000, 1341, 2000], [1000, 2000]),
        ([1340, 1341], [1340, 1341]),
        ([2400], [None, None]),
    ],
)
def test_the_command_it_answers(commands_ms: list[int], expected_ms: list[int | None]) -> None:
    run = run_of(ONE, TWO)
    run.events += [{"t_ns": t * MS, "event": "command", "command": "x"} for t in commands_ms]
    run.events.append({"t_ns": 1100 * MS, "event": "command_ended", "exit_code": 0})
    expected = [None if t is None else t * MS for t in expected_ms]
    assert [found.command_ns for found in describe(run)] == expected


def outage(t_start_ms: int, t_end_ms: int) -> Outage:
    none = Failed(error_or_timeout=0, slow=0, other=0)
    return Outage(
        t_start_ns=t_start_ms * MS,
        t_end_ns=t_end_ms * MS,
        failed=0,
        failed_by=none,
        recovery_ns=None,
    )


@pytest.mark.parametrize(
    ("spans_ms", "index"),
    [
        ([], None),
        ([(1000, 1350)], 0),
        ([(0, 900), (1000, 1350), (2000, 2500)], 1),
        ([(1000, 1339)], None),
        ([(1341, 1500)], None),
        ([(1000, 1340), (1340, 1341)], 0),
        ([(1330, 1340), (1340, 1400)], 1),
    ],
)
def test_the_outage_it_ended(spans_ms: list[tuple[int, int]], index: int | None) -> None:
    run = run_of(ONE)  # decided at 1340 ms, known to all at 1340.2 ms
    outages = [outage(*span) for span in spans_ms]
    assert describe_switches(run, URLS, outages)[0].outage == index


def test_each_switch_has_its_own_outage() -> None:
    run = run_of(ONE, TWO)
    outages = find_outages(run)
    for found, failure in zip(describe(run), (ONE, TWO), strict=True):
        assert found.outage is not None
        ended = outages[found.outage]
        assert failure.t_onset_ns - 50 * MS < ended.t_start_ns < failure.t_onset_ns + 20 * MS
        assert ended.t_end_ns > failure.t_decide_ns


def test_before_during_and_after() -> None:
    run = run_of(ONE, TWO, mix={Outcome.OK: 9, Outcome.ERROR: 1})
    rows = run.tally.rows
    first, second = describe(run)
    # Onset 1.01 s and last seen 1.3402 s lie in the buckets from 1 to 1.35 s.
    spans = {
        "before": (0, 1000),
        "during": (1000, 1350),
        "after": (1350, 2000),
    }
    for name, (start_ms, end_ms) in spans.items():
        phase = getattr(first.phases, name)
        assert (phase.t_start_ns, phase.t_end_ns) == (start_ms * MS, end_ms * MS)
        assert list(phase.servers) == list(URLS)
        due = (rows["t_sched_ns"] >= start_ms * MS) & (rows["t_sched_ns"] < end_ms * MS)
        for index, share in enumerate(phase.servers.values()):
            own = rows[due & (rows["server"] == index)]
            seconds = (end_ms - start_ms) / 1000
            assert share.decided == np.count_nonzero(own["decision"] > 0)
            assert share.violations == np.count_nonzero(own["decision"] > 1)
            assert share.ok == np.count_nonzero(own["outcome"] == Outcome.OK)
            assert share.rate == pytest.approx(share.decided / seconds)
            assert share.ok_rate == pytest.approx(share.ok / seconds)
    assert first.phases.during.servers[URLS[0]].violations > 80
    assert second.phases.before == first.phases.after
    assert (second.phases.after.t_start_ns, second.phases.after.t_end_ns) == (2350 * MS, 4 * S)


@pytest.mark.parametrize("end_ns", [S, S + 150 * MS, S + 345 * MS, 4 * S - 1])
def test_phases_end_with_the_run(end_ns: int) -> None:
    run = run_of(ONE, duration_ns=end_ns)
    phases = describe(run)[0].phases
    assert phases.after.t_end_ns == end_ns
    moments = [
        moment
        for phase in (phases.before, phases.during, phases.after)
        for moment in (phase.t_start_ns, phase.t_end_ns)
    ]
    assert moments == sorted(moments)
    assert all(share.rate == 0.0 for share in phases.after.servers.values()) is (
        phases.after.t_start_ns == end_ns
    )


def test_an_onset_before_the_last_switch_was_seen_begins_there() -> None:
    run = run_of(ONE, TWO)
    run.switches[1].t_onset_ns = ONE.t_onset_ns
    first, second = describe(run)
    assert first.phases.after.t_start_ns == first.phases.after.t_end_ns == 1350 * MS
    assert second.phases.during.t_start_ns == 1350 * MS
    assert all(share.rate == 0.0 for share in first.phases.after.servers.values())


@pytest.mark.parametrize(
    ("seen_ns", "last_ns"), [([5, 9, None], 9), ([None, None], 3), ([], 3), ([2], 3)]
)
def test_the_last_worker_that_saw_it(seen_ns: list[int | None], last_ns: int) -> None:
    switch = run_of(ONE).switches[0]
    switch.t_decide_ns, switch.t_seen_ns = 3, seen_ns
    assert last_seen_ns(switch) == last_ns


def test_edges_are_buckets() -> None:
    found = describe(run_of(ONE))[0].phases
    assert all(
        moment % BUCKET_NS == 0
        for phase in (found.before, found.during, found.after)
        for moment in (phase.t_start_ns, phase.t_end_ns)
    )
