"""Which server a slot is handed to, and in what shares."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness._policy import Policy

NEVER_FULL = 2**32 - 1
NAMES = ("failover", "round-robin", "least-outstanding", "weighted")


def picks(policy: Policy, in_use: tuple[int, ...], count: int, servers: int) -> Counter[int]:
    found: Counter[int] = Counter()
    for _ in range(count):
        server = policy.pick(in_use, [0] * servers, NEVER_FULL)
        assert server is not None
        policy.took(server)
        found[server] += 1
    return found


@pytest.mark.parametrize("servers", [1, 2, 3, 32])
@pytest.mark.parametrize("count", [1, 2, 99, 1000, 100_000])
def test_round_robin_is_exact_to_one(servers, count):
    _, found = Policy("round-robin", [1] * servers, 0).pick_ns(range(servers), count)
    assert sum(found) == count
    assert max(found) - min(found) <= 1


@pytest.mark.parametrize("weights", [[3, 1], [1, 1, 8], [7, 11, 13, 1], [1000, 1]])
def test_weights_are_kept_within_a_thousandth(weights):
    count = 100_000
    _, found = Policy("weighted", weights, 0).pick_ns(range(len(weights)), count)
    for server, weight in enumerate(weights):
        assert abs(found[server] / count - weight / sum(weights)) < 0.001


def test_weights_are_spread_and_not_sent_in_bursts():
    policy = Policy("weighted", [3, 1], 0)
    order = []
    for _ in range(8):
        order.append(policy.pick((0, 1), [0, 0], NEVER_FULL))
        policy.took(order[-1])
    assert order == [0, 0, 1, 0, 0, 0, 1, 0]


def test_a_pick_that_comes_to_nothing_changes_nothing():
    policy = Policy("round-robin", [1, 1, 1], 0)
    assert {policy.pick((0, 1, 2), [0] * 3, 1) for _ in range(10)} == {0}


@pytest.mark.parametrize("name", NAMES)
def test_a_single_server_in_use_gets_everything(name):
    assert picks(Policy(name, [1, 1, 1], 0), (2,), 50, 3) == {2: 50}


@pytest.mark.parametrize("name", NAMES)
def test_full_servers_are_passed_over_and_named_when_all_are(name):
    policy = Policy(name, [1, 1], 0)
    assert policy.pick((0, 1), [5, 4], 5) == 1
    assert policy.pick((0, 1), [5, 5], 5) is None
    assert policy.turn in (0, 1)


def test_a_server_that_was_full_gets_no_more_than_its_share_afterwards():
    policy = Policy("round-robin", [1, 1], 0)
    for _ in range(1000):
        server = policy.pick((0, 1), [5, 0], 5)
        assert server == 1
        policy.took(server)
    assert picks(policy, (0, 1), 1000, 2) == {0: 500, 1: 500}


def test_the_less_loaded_of_two_is_taken():
    policy = Policy("least-outstanding", [1, 1], 0)
    assert {policy.pick((0, 1), [4, 3], 9) for _ in range(50)} == {1}
    assert {policy.pick((0, 1), [3, 3], 9) for _ in range(50)} == {0, 1}


def test_the_most_loaded_of_three_is_never_taken():
    policy = Policy("least-outstanding", [1, 1, 1], 0)
    assert {policy.pick((0, 1, 2), [3, 5, 4], 9) for _ in range(200)} == {0, 2}


def test_a_slow_server_gets_what_it_can_serve():
    """Two servers, one 20 times slower, in virtual time: Little's law gives it 1/21."""
    policy, rng = Policy("least-outstanding", [1, 1], 3), random.Random(1)
    in_flight, ends, found = [0, 0], [], Counter()
    for i in range(20_000):
        now = i * 1.0
        for end in [one for one in ends if one[0] <= now]:
            ends.remove(end)
            in_flight[end[1]] -= 1
        server = policy.pick((0, 1), in_flight, NEVER_FULL)
        policy.took(server)
        in_flight[server] += 1
        ends.append((now + rng.expovariate(1 / (8 if server == 0 else 160)), server))
        found[server] += 1
    assert found[1] < 0.1 * found.total()


@given(
    st.sampled_from(NAMES),
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 8)), min_size=1, max_size=32),
    st.data(),
)
def test_only_servers_in_use_with_room_are_picked(name, servers, data):
    in_flight = [count for _, count in servers]
    policy = Policy(name, [weight for weight, _ in servers], 1)
    for _ in range(20):
        in_use = data.draw(st.sets(st.integers(0, len(servers) - 1), min_size=1))
        cap = data.draw(st.integers(1, 9))
        server = policy.pick(in_use, in_flight, cap)
        room = {one for one in in_use if in_flight[one] < cap}
        if server is None:
            assert not room
        else:
            assert server in room
            policy.took(server)


def test_what_cannot_be_meant_is_refused():
    for weights in ([], [0, 1], [1] * 33):
        with pytest.raises(ValueError, match="one positive weight"):
            Policy("weighted", weights, 0)
    policy = Policy("weighted", [1, 1], 0)
    with pytest.raises(ValueError, match="no server"):
        policy.pick((), [0, 0], 1)
    with pytest.raises(IndexError):
        policy.pick((2,), [0, 0], 1)
