"""Nothing completes any more, in virtual time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import Slo, Switching
from harness.detector.stall import STOOD_STILL_NS, Stall, make_stalls

MS = 10**6
S = 10**9
STEP = 5 * MS


def fired_at(stall, steps):
    """Time of the first trigger over (now, completed, in flight)."""
    for now_ns, completed, in_flight in steps:
        trigger = stall.feed(now_ns, completed, in_flight)
        if trigger is not None:
            assert (trigger.rule, trigger.n, trigger.x) == ("stalled", in_flight, in_flight)
            return now_ns
    return None


def steps(start, end, completed=7, in_flight=3, step=STEP):
    return [(now, completed, in_flight) for now in range(start, end, step)]


def test_nothing_completed_for_a_second():
    assert fired_at(Stall(), steps(S, 3 * S)) == 2 * S


@pytest.mark.parametrize(("probe_ms", "after_s"), [(1, 1), (300, 1), (1500, 4.5)])
def test_without_an_slo_a_slow_model_has_three_times_its_latency(probe_ms, after_s):
    (stall,) = make_stalls(Switching(), None, 0, probe_ms * MS)
    assert fired_at(stall, steps(0, 10 * S)) == after_s * S


def test_it_goes_on_saying_so():
    stall = Stall()
    fired_at(stall, steps(0, S))
    assert [bool(stall.feed(S + i * STEP, 7, 3)) for i in range(3)] == [True] * 3
    assert stall.feed(S + 4 * STEP, 8, 3) is None


@pytest.mark.parametrize("between", [(900 * MS, 8, 3), (900 * MS, 7, 0)])
def test_an_answer_or_nothing_in_flight_starts_anew(between):
    after = steps(905 * MS, 3 * S, completed=between[1])
    found = fired_at(Stall(), [*steps(0, 900 * MS), between, *after])
    assert found == (1900 * MS if between[1] == 8 else 1905 * MS)


def test_idle_is_not_hung():
    assert fired_at(Stall(), steps(0, 10 * S, in_flight=0)) is None


def test_a_client_that_stood_still_blames_nobody():
    stopped = [*steps(0, 500 * MS), *steps(2500 * MS, 5 * S)]
    assert fired_at(Stall(), stopped) == 3500 * MS
    slow_client = steps(0, 60 * S, step=STOOD_STILL_NS)
    assert fired_at(Stall(), slow_client) is None
    assert fired_at(Stall(), steps(0, 60 * S, step=STOOD_STILL_NS - 1)) is not None


@given(
    st.lists(
        st.tuples(st.integers(1, 400 * MS), st.integers(0, 1), st.integers(0, 3)), max_size=200
    )
)
def test_a_trigger_means_a_second_in_which_nothing_moved(steps):
    stall, now_ns, completed, seen = Stall(), 0, 0, []
    for wait_ns, done, in_flight in steps:
        now_ns, completed = now_ns + wait_ns, completed + done
        seen.append((now_ns, completed, in_flight))
        fired = stall.feed(now_ns, completed, in_flight) is not None
        still = [seen[-1]]
        for one in reversed(seen[:-1]):
            if one[1] != completed or not one[2] or still[-1][0] - one[0] >= STOOD_STILL_NS:
                break
            still.append(one)
        quiet_ns = now_ns - still[-1][0] if in_flight else 0
        assert fired == (quiet_ns >= S)


def test_which_stalls_a_run_has():
    slo = Slo(threshold_ns=50 * MS, limit=0.05, text="50ms")
    (plain,) = make_stalls(Switching(), None, 0)
    assert (plain.span_ns, plain.least) == (S, 1)
    quick, patient = make_stalls(Switching(), slo, 2 * S)
    assert (quick.span_ns, quick.least, quick.settling_ns) == (300 * MS, 5, 0)
    assert (patient.span_ns, patient.least) == (S, 1)
    slow = Slo(threshold_ns=2 * S, limit=0.05, text="2s")
    assert [one.span_ns for one in make_stalls(Switching(), slow, 0)] == [2250 * MS] * 2


def test_a_closed_loop_is_seen_after_the_tolerance_and_t():
    slo = Slo(threshold_ns=50 * MS, limit=0.05, text="50ms")
    quick, _ = make_stalls(Switching(), slo, 2 * S)
    assert fired_at(quick, steps(0, 3 * S, in_flight=64)) == 300 * MS
    quick, patient = make_stalls(Switching(), slo, 2 * S)
    assert fired_at(quick, steps(0, 3 * S, in_flight=4)) is None
    assert fired_at(patient, steps(0, 3 * S, in_flight=4)) == S


def test_a_server_that_settles_has_a_second():
    slo = Slo(threshold_ns=50 * MS, limit=0.05, text="50ms")
    quick, _ = make_stalls(Switching(), slo, 0)
    assert fired_at(quick, steps(0, 3 * S, in_flight=64)) == S
    quick, _ = make_stalls(Switching(), slo, 0)
    moving = [(now, now, 64) for now in range(0, 2 * S, STEP)]
    assert fired_at(quick, [*moving, *steps(2 * S, 4 * S, in_flight=64)]) == 2300 * MS
