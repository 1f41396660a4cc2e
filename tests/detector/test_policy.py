"""Which policy a run has, and what holds for each."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.config import Switching
from harness.detector.ejection import Ejection, Fixed
from harness.detector.failover import Failover, Why
from harness.detector.policy import make_policy

S = 10**9
BALANCING = ["round-robin", "least-outstanding", "weighted"]


def made(name, eject, servers, **times):
    weights = (1,) * servers if name == "weighted" else ()
    return Switching(policy=name, weights=weights, eject=eject and name != "failover", **times)


def test_failover_takes_its_times():
    policy = make_policy(Switching(dwell_ns=3 * S, cool_down_ns=7 * S), 3, [0])
    assert isinstance(policy, Failover)
    assert (policy.in_use, policy.dwell_ns, policy.cool_down_ns) == ((1,), 3 * S, 7 * S)
    assert policy.standings[0].cool_until_ns == 7 * S


def test_the_plain_rule_has_no_dwell():
    policy = make_policy(Switching(rule="plain"), 3, [])
    connected = [True] * 3
    assert policy.failed(0, S, hard_down=False, connected=connected).to == 1
    assert policy.failed(1, S + 1, hard_down=False, connected=connected).to == 2


@pytest.mark.parametrize("name", BALANCING)
def test_balancing_with_and_without_eject(name):
    ejecting = make_policy(made(name, True, 3, cool_down_ns=S), 3, [2])
    assert type(ejecting) is Ejection
    assert ejecting.in_use == (0, 1)
    assert ejecting.turn(S) == [2]
    fixed = make_policy(made(name, False, 3), 3, [])
    assert type(fixed) is Fixed
    assert fixed.in_use == (0, 1, 2)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["failover", *BALANCING]),
    st.booleans(),
    st.integers(1, 4),
    st.sets(st.integers(0, 3)),
    st.lists(st.tuples(st.integers(0, 20 * S), st.integers(0, 3), st.booleans()), max_size=40),
)
def test_some_server_is_always_in_use(name, eject, servers, absent, steps):
    switching = made(name, eject, servers)
    policy = make_policy(switching, servers, sorted(one for one in absent if one < servers))
    now_ns = 0
    for wait_ns, server, hard_down in steps:
        now_ns += wait_ns
        policy.turn(now_ns)
        move = policy.failed(
            server % servers, now_ns, hard_down=hard_down, connected=[True] * servers
        )
        assert policy.in_use
        assert set(policy.in_use) <= set(range(servers))
        assert (move.why == Why.SWITCH) == (move.to is not None)
        assert move.to is None or policy.in_use == (move.to,)
