"""Which servers a balancing policy uses, in virtual time."""

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.detector.ejection import Ejection, Fixed
from harness.detector.failover import (
    COOL_DOWN_NS,
    DWELL_NS,
    FLAP_NS,
    FLAP_SWITCHES,
    LONGEST_COOL_DOWN_NS,
    Move,
    Why,
)

S = 10**9
ALL = [True, True, True]


def fail(policy, server, now_ns, hard_down=True, connected=ALL):
    return policy.failed(server, now_ns, hard_down=hard_down, connected=connected)


def test_a_failing_server_is_left_out_and_comes_back():
    policy = Ejection(3)
    assert fail(policy, 1, S) == Move(Why.EJECT)
    assert policy.in_use == (0, 2)
    assert policy.turn(S + COOL_DOWN_NS - 1) == []
    assert policy.turn(S + COOL_DOWN_NS) == [1]
    assert policy.in_use == (0, 1, 2)


def test_a_server_that_is_out_fails_no_more():
    policy = Ejection(3)
    fail(policy, 1, S)
    assert fail(policy, 1, 2 * S) == Move(Why.NONE)
    assert policy.turn(S + COOL_DOWN_NS) == [1]


def test_only_hard_down_counts_once_it_is_back():
    policy = Ejection(3)
    fail(policy, 1, 0, hard_down=False)
    policy.turn(40 * S)
    assert fail(policy, 1, 40 * S + DWELL_NS - 1, hard_down=False) == Move(Why.DWELL)
    assert fail(policy, 0, 40 * S, hard_down=False) == Move(Why.EJECT)
    assert fail(policy, 1, 40 * S + DWELL_NS - 1, hard_down=True) == Move(Why.EJECT)


def test_cool_downs_grow_in_a_row_and_are_forgotten_after_health():
    policy, now_ns = Ejection(2), 0
    for k in range(1, 14):
        assert fail(policy, 0, now_ns).why == Why.EJECT
        cool_ns = min(k * COOL_DOWN_NS, LONGEST_COOL_DOWN_NS)
        assert policy.turn(now_ns + cool_ns - 1) == []
        now_ns += cool_ns
        assert policy.turn(now_ns) == [0]
        now_ns += S
    fail(policy, 0, now_ns + LONGEST_COOL_DOWN_NS)
    assert policy.turn(now_ns + LONGEST_COOL_DOWN_NS + COOL_DOWN_NS) == [0]


def test_when_all_are_out_all_are_used_until_one_comes_back():
    policy = Ejection(2)
    assert fail(policy, 0, 0).why == Why.EJECT
    assert fail(policy, 1, 5 * S).why == Why.ALL_BAD
    assert policy.all_out
    assert policy.in_use == (0, 1)
    assert fail(policy, 0, 6 * S) == Move(Why.ALL_BAD)
    assert policy.turn(COOL_DOWN_NS) == [0]
    assert not policy.all_out
    assert policy.in_use == (0,)
    assert policy.turn(5 * S + COOL_DOWN_NS) == [1]
    assert policy.in_use == (0, 1)


def test_it_stays_when_no_other_is_connected():
    policy = Ejection(2)
    assert fail(policy, 0, S, connected=[True, False]) == Move(Why.ALL_BAD)
    assert policy.in_use == (0, 1)
    assert fail(policy, 0, S, connected=[False, True]) == Move(Why.EJECT)


def test_one_that_flaps_is_kept_out():
    policy = Ejection(2, cool_down_ns=0)
    for now_ns in (0, S, 2 * S):
        assert fail(policy, 0, now_ns).why == Why.EJECT
        back = policy.turn(now_ns + S // 2)
    assert back == []
    assert policy.turn(FLAP_NS - 1) == []
    assert policy.turn(FLAP_NS) == [0]


def test_an_absent_server_begins_in_cool_down():
    policy = Ejection(2)
    policy.absent(0)
    assert policy.in_use == (1,)
    assert policy.turn(COOL_DOWN_NS) == [0]


def test_all_absent_are_used():
    policy = Ejection(2)
    policy.absent(0)
    policy.absent(1)
    assert policy.in_use == (0, 1)


def test_fixed_moves_nothing():
    policy = Fixed(2)
    assert fail(policy, 0, S) == Move(Why.NONE)
    assert policy.in_use == (0, 1)
    policy = Fixed(2)
    policy.absent(1)
    assert policy.in_use == (0,)
    assert policy.turn(COOL_DOWN_NS) == [1]
    assert policy.in_use == (0, 1)


failures = st.lists(
    st.tuples(
        st.integers(0, 15 * S),
        st.integers(0, 3),
        st.booleans(),
        st.lists(st.booleans(), min_size=4),
    ),
    max_size=80,
)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 4), failures, st.sampled_from([0, S, COOL_DOWN_NS]), st.booleans())
def test_what_always_holds(servers, steps, cool_down_ns, eject):
    policy = (Ejection if eject else Fixed)(servers, cool_down_ns=cool_down_ns)
    now_ns, ejected = 0, [[] for _ in range(servers)]
    for wait_ns, server, hard_down, connected in steps:
        now_ns += wait_ns
        before = policy.in_use
        back = policy.turn(now_ns)
        assert set(before) <= set(policy.in_use) or len(before) == servers
        assert set(back) <= set(policy.in_use)
        out = set(policy.out)
        move = fail(policy, server % servers, now_ns, hard_down, connected)
        in_use = policy.in_use
        assert in_use
        assert list(in_use) == sorted(set(in_use) & set(range(servers)))
        assert move.to is None
        assert policy.all_out == (len(policy.out) == servers)
        assert (move.why == Why.EJECT) <= (server % servers not in in_use)
        for one in policy.out - out:
            ejected[one].append(now_ns)
            assert len([t for t in ejected[one] if now_ns - t < FLAP_NS]) <= FLAP_SWITCHES
        if not eject:
            assert in_use == tuple(range(servers))
