"""Where the load goes, in virtual time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.detector.failover import (
    COOL_DOWN_NS,
    DWELL_NS,
    FLAP_NS,
    FLAP_SWITCHES,
    LONGEST_COOL_DOWN_NS,
    Failover,
    Move,
    Why,
)

S = 10**9
ALL = [True, True, True]


def test_the_first_in_order_is_next():
    policy = Failover(3)
    assert policy.failed(policy.active, 5 * S, hard_down=True, connected=ALL) == Move(Why.SWITCH, 1)
    assert policy.active == 1


def test_a_server_without_a_connection_is_passed_over():
    policy = Failover(3)
    assert policy.failed(policy.active, S, hard_down=True, connected=[True, False, True]).to == 2


def test_a_cooling_server_is_passed_over_until_its_time():
    policy = Failover(2)
    policy.failed(policy.active, 0, hard_down=True, connected=ALL)
    assert policy.failed(policy.active, COOL_DOWN_NS - 1, hard_down=True, connected=ALL) == Move(
        Why.ALL_BAD
    )
    assert policy.failed(policy.active, COOL_DOWN_NS, hard_down=True, connected=ALL).to == 0


def test_only_hard_down_counts_within_the_dwell():
    policy = Failover(3)
    policy.failed(policy.active, 0, hard_down=False, connected=ALL)
    assert policy.failed(policy.active, DWELL_NS - 1, hard_down=False, connected=ALL) == Move(
        Why.DWELL
    )
    assert policy.failed(policy.active, DWELL_NS - 1, hard_down=True, connected=ALL).to == 2


def test_a_single_server_stays():
    assert Failover(1).failed(0, S, hard_down=True, connected=[True]) == Move(Why.ALL_BAD)


def test_an_absent_server_begins_in_cool_down():
    policy = Failover(3)
    policy.absent(1)
    assert policy.failed(policy.active, S, hard_down=True, connected=ALL).to == 2


def test_the_first_present_server_is_active_at_the_start():
    policy = Failover(3)
    policy.absent(0)
    assert policy.in_use == (1,)
    policy.absent(1)
    assert policy.in_use == (2,)
    assert policy.failed(2, S, hard_down=True, connected=ALL).why == Why.ALL_BAD
    assert policy.failed(2, COOL_DOWN_NS, hard_down=True, connected=ALL).to == 0


def test_a_standby_that_fails_moves_nothing():
    policy = Failover(3)
    assert policy.failed(1, S, hard_down=True, connected=ALL) == Move(Why.NONE)
    assert policy.in_use == (0,)
    assert policy.turn(1000 * S) == []
    assert not policy.all_out


def test_standing_by_is_no_health():
    policy = Failover(2)
    policy.failed(0, 0, hard_down=True, connected=ALL)
    policy.failed(1, 100 * S, hard_down=True, connected=ALL)
    policy.failed(0, 101 * S, hard_down=True, connected=[True, True])
    assert policy.failed(0, 130 * S, hard_down=True, connected=ALL).to == 1
    assert policy.standings[0].cool_until_ns == (130 + 30) * S
    policy = Failover(2)
    policy.failed(0, 0, hard_down=True, connected=ALL)
    policy.failed(1, 100 * S, hard_down=True, connected=ALL)
    assert policy.failed(0, 129 * S, hard_down=True, connected=ALL).why == Why.ALL_BAD
    policy.standings[1].cool_until_ns = 0
    assert policy.failed(0, 129 * S, hard_down=True, connected=ALL).to == 1
    assert policy.standings[0].cool_until_ns == (129 + 60) * S


def test_cool_downs_grow_in_a_row_and_are_forgotten_after_health():
    policy = Failover(2, cool_down_ns=S)
    standing = policy.standings[0]
    for k in (1, 2, 3):
        standing.eject(standing.cool_until_ns, S)
        assert standing.cool_down_ns == k * S
    standing.eject(standing.cool_until_ns + standing.cool_down_ns, S)
    assert standing.cool_down_ns == S
    for _ in range(400):
        standing.eject(standing.cool_until_ns, S)
    assert standing.cool_down_ns == LONGEST_COOL_DOWN_NS


def test_flapping_stays():
    policy = Failover(3, cool_down_ns=S)
    moves = [
        policy.failed(policy.active, t * 3 * S, hard_down=True, connected=ALL).why for t in range(8)
    ]
    assert moves == [Why.SWITCH] * 3 + [Why.FLAPPING] * 5


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 20 * S), st.booleans()), max_size=60),
    st.sampled_from([S, 5 * S, COOL_DOWN_NS]),
)
def test_never_more_switches_than_allowed_and_never_to_a_cooling_server(servers, steps, cool):
    policy = Failover(servers, cool_down_ns=cool)
    now_ns, switched = 0, []
    for wait_ns, hard_down in steps:
        now_ns += wait_ns
        before = policy.active
        until = [one.cool_until_ns for one in policy.standings]
        move = policy.failed(policy.active, now_ns, hard_down=hard_down, connected=[True] * servers)
        assert (move.to is not None) == (move.why == Why.SWITCH)
        if move.to is None:
            assert policy.active == before
            continue
        assert policy.active == move.to != before
        assert until[move.to] <= now_ns
        assert hard_down or not switched or now_ns - switched[-1] >= DWELL_NS
        switched.append(now_ns)
        assert len([t for t in switched if now_ns - t < FLAP_NS]) <= FLAP_SWITCHES


@pytest.mark.parametrize("connected", [[False, False], [True, False]])
def test_all_bad_is_said_before_flapping(connected):
    policy = Failover(2)
    assert policy.failed(policy.active, 0, hard_down=True, connected=connected).why == Why.ALL_BAD
