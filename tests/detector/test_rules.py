"""The rules against their formulas, by tables and by a slow reading of the definition."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.detector.evidence import Evidence
from harness.detector.rules import HardDown, PlainRule, RateRule, least_in_a_row, window_ns

L = Fraction(1, 20)
CLEAN = Evidence(50, 0, 0)
DOWN = Evidence(50, 50, 50)
FAILING = Evidence(50, 50, 0)

buckets = st.lists(
    st.integers(0, 60).flatmap(
        lambda n: st.integers(0, n).flatmap(
            lambda x: st.builds(Evidence, st.just(n), st.just(x), st.integers(0, x))
        )
    ),
    max_size=200,
)
failing_buckets = st.lists(
    st.integers(0, 4).flatmap(
        lambda x: st.builds(
            lambda in_time, slow, late, heard: Evidence(in_time + x, x, slow, late, heard),
            st.sampled_from([0, 0, 0, 0, 0, 0, 0, 1]),
            st.integers(0, x),
            st.sampled_from([0, 0, 2]),
            st.sampled_from([0, 0, 0, 0, 0, 0, 0, 1]),
        )
    ),
    max_size=120,
)


def feed(rule, sequence):
    """Index of the bucket that triggered, None if none did."""
    for index, bucket in enumerate(sequence):
        if rule.feed(bucket):
            return index
    return None


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [("0.05", 5), ("0.5", 5), ("0.01", 25), ("0.001", 250), ("1e-9", 86_400)],
)
def test_window(limit, seconds):
    assert window_ns(Fraction(limit)) == seconds * 10**9


@pytest.mark.parametrize(
    ("limit", "least"),
    [("0.05", 5), ("0.01", 5), ("0.1", 6), ("0.2", 9), ("0.5", 20), ("0.9", 132)],
)
def test_least_in_a_row(limit, least):
    share = Fraction(limit)
    assert least_in_a_row(share) == least
    assert share**least <= Fraction(1, 10**6)


@settings(max_examples=200, deadline=None)
@given(
    buckets,
    st.sampled_from(["0.01", "0.05", "0.2", "0.5"]),
    st.sampled_from([None, 50, 270, 1000, 4800, 7210]),
)
def test_rate_rule_is_the_formula(sequence, limit, given_ms):
    share = Fraction(limit)
    width_s = Fraction(given_ms, 1000) if given_ms else max(5, Fraction("0.25") / share)
    width = math.ceil(width_s * 20)
    newest = min(width, math.ceil(max(Fraction("0.4"), width_s / 12) * 20))
    rule = RateRule(share, given_window_ns=given_ms and given_ms * 10**6)
    for end in range(1, len(sequence) + 1):
        window = sequence[max(0, end - width) : end]
        last = sequence[max(0, end - newest) : end]
        n, x = sum(b.decided for b in window), sum(b.violations for b in window)
        over_last = sum(b.violations for b in last) > share * sum(b.decided for b in last)
        full = n * width // min(end, width)  # as if the window had been clean before
        over = n >= 20 and x >= 5 and x > full * share
        over = over and (x - full * share) ** 2 > 9 * full * share * (1 - share)
        trigger = rule.feed(sequence[end - 1])
        assert (trigger is not None) == (over and over_last)
        if trigger is not None:
            assert (trigger.n, trigger.x) == (n, x)


def test_a_stall_is_tolerated_from_the_first_second_on():
    for before in (0, 1, 5, 20, 99):
        rule = RateRule(L)
        stall = [Evidence(50, 50, 50)] * 4
        assert feed(rule, [CLEAN] * before + stall + [CLEAN] * 200) is None


def down_by_definition(sequence, loaded_before):
    """Hard-down at the end of the sequence, read off the definition; L = 5 %."""
    row = []
    for index in range(len(sequence) - 1, -1, -1):
        if sequence[index].in_time or sequence[index].late_answered:
            break
        if sequence[index].decided or sequence[index].late_failed:
            row.insert(0, index)
    if not row:
        return False
    loaded = next(i for i, b in enumerate(sequence) if b.decided or b.late_failed)
    settled_at = 0 if loaded_before >= 40 else 40 - loaded_before + (0 if loaded_before else loaded)
    span = len(sequence) - row[0]
    every = sum(sequence[i].violations + sequence[i].late_failed for i in row)
    quick = sum(
        b.violations + b.late_failed if i >= settled_at else b.violations - b.slow
        for i, b in ((i, sequence[i]) for i in row)
    )
    return (quick >= 5 and span >= 5) or (every >= 5 and span >= 20)


@settings(max_examples=300, deadline=None)
@given(st.one_of(buckets, failing_buckets), st.sampled_from([0, 10, 40, 100]))
def test_hard_down_is_the_definition(sequence, loaded_before):
    rule = HardDown(L, under_load_ns=loaded_before * 50_000_000)
    for end in range(1, len(sequence) + 1):
        trigger = rule.feed(sequence[end - 1])
        assert (trigger is not None) == down_by_definition(sequence[:end], loaded_before)
        if trigger is not None:
            assert trigger.n == trigger.x >= trigger.bound == 5


def test_hung_after_settling_takes_five_buckets():
    assert feed(HardDown(L), [CLEAN] * 100 + [DOWN] * 20) == 104


def test_slow_start_is_borne_for_a_second_errors_are_not():
    assert feed(HardDown(L), [DOWN] * 40) == 19
    assert feed(HardDown(L), [FAILING] * 40) == 4


def test_load_from_before_counts_towards_settling():
    assert feed(HardDown(L, under_load_ns=2 * 10**9), [DOWN] * 40) == 4
    assert feed(HardDown(L, under_load_ns=10**9), [CLEAN] * 19 + [DOWN] * 40) == 19 + 4


def test_slow_while_settling_is_not_held_against_it_after():
    slow, nothing = Evidence(8, 8, 8), Evidence()
    assert feed(HardDown(L), [CLEAN] * 38 + [slow] + [nothing] * 40) == 38 + 19
    assert feed(HardDown(L), [CLEAN] * 40 + [slow] + [nothing] * 40) == 40 + 4


def test_empty_buckets_neither_break_the_row_nor_stop_its_time():
    nothing = Evidence()
    assert feed(HardDown(L), [CLEAN] * 100 + [DOWN] + [nothing] * 10) == 104
    assert feed(HardDown(L), [CLEAN] * 100 + [nothing] * 10 + [DOWN] * 10) == 114
    assert feed(HardDown(L), [CLEAN] * 100 + [DOWN, nothing, CLEAN, *[nothing] * 20]) is None


def test_a_starved_client_with_an_answer_now_and_then_sees_no_dead_server():
    starved = [Evidence(late_failed=1, late_answered=1)] * 100
    assert feed(HardDown(L, under_load_ns=2 * 10**9), starved) is None


def test_late_failed_slots_are_violations_for_hard_down_alone():
    late = Evidence(late_failed=10)
    assert feed(HardDown(L), [CLEAN] * 100 + [late] * 20) == 104
    assert feed(HardDown(L), [late] * 40) == 19
    assert feed(HardDown(L), [CLEAN] * 100 + [Evidence(1, 0, 0, 10)] * 100) is None
    assert feed(RateRule(L), [CLEAN] * 100 + [late] * 100) is None
    assert feed(PlainRule(L), [Evidence(20, 1, 1, 50)] * 400) is None


def test_low_rate_needs_its_five_violations():
    one, none = Evidence(1, 1, 1), Evidence()
    sparse = [CLEAN] * 100 + [one, none, none, none, none, none, none, none, none, none] * 6
    assert feed(HardDown(L), sparse) == 100 + 40


def test_at_the_limit_nothing_fires():
    assert feed(RateRule(L), [Evidence(100, 5, 5)] * 2000) is None


def test_one_stall_within_the_tolerance_does_not_fire():
    stall = [CLEAN] * 200 + [DOWN] * 4 + [CLEAN] * 200
    assert feed(RateRule(L), stall) is None
    assert feed(HardDown(L), stall) is None


def test_plain_rule_tumbles():
    assert feed(PlainRule(L), [Evidence(10, 1, 1)] * 100) == 99
    assert feed(PlainRule(L), [Evidence(20, 1, 1)] * 1000) is None
    assert feed(PlainRule(L, 1_010_000_000), [Evidence(10, 1, 1)] * 100) == 20


def test_a_given_window_replaces_the_derived_one():
    bad = [CLEAN] * 100 + [Evidence(50, 25, 25)] * 100
    assert feed(RateRule(L, given_window_ns=10**9), bad) < feed(RateRule(L), bad)
    assert feed(RateRule(L, given_window_ns=20 * 10**9), bad) > feed(RateRule(L), bad)


@pytest.mark.parametrize("after", [CLEAN, Evidence()])
def test_the_newest_part_must_be_over_the_limit_too(after):
    rule = RateRule(L)
    assert feed(rule, [CLEAN] * 100 + [DOWN] * 6) == 105
    assert [rule.feed(after) is not None for _ in range(10)] == [True] * 8 + [False] * 2


@given(st.lists(st.builds(Evidence, *[st.integers(0, 9)] * 4), max_size=20), st.randoms())
def test_evidence_merges_by_addition(parts, random):
    shuffled = list(parts)
    random.shuffle(shuffled)
    whole = sum(parts, Evidence())
    assert sum(shuffled, Evidence()) == whole
    assert whole.in_time == sum(part.in_time for part in parts)
