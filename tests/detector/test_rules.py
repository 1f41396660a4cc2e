"""The rules against their formulas, by tables and by a slow reading of the definition."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.detector.evidence import Evidence
from harness.detector.rules import HardDown, PlainRule, RateRule, onset, window_ns

L = Fraction(1, 20)
CLEAN = Evidence(50, 0, 0)
DOWN = Evidence(50, 50, 50)
FAILING = Evidence(50, 50, 0)

buckets = st.lists(
    st.integers(0, 60).flatmap(
        lambda n: st.integers(0, n).flatmap(
            lambda x: st.integers(0, x).map(lambda slow: Evidence(n, x, slow))
        )
    ),
    max_size=200,
)


def feed(rule, sequence):
    """Index of the bucket that triggered, None if none did."""
    for index, bucket in enumerate(sequence):
        if rule.feed(bucket):
            return index
    return None


@pytest.mark.parametrize(
    ("limit", "seconds"), [("0.05", 5), ("0.5", 5), ("0.01", 25), ("0.001", 250)]
)
def test_window(limit, seconds):
    assert window_ns(Fraction(limit)) == seconds * 10**9


@settings(max_examples=200, deadline=None)
@given(buckets, st.sampled_from(["0.01", "0.05", "0.2", "0.5"]))
def test_rate_rule_is_the_formula(sequence, limit):
    share = Fraction(limit)
    width = math.ceil(max(5, Fraction("0.25") / share) * 20)
    newest = math.ceil(max(Fraction("0.4"), Fraction(width, 240)) * 20)
    rule = RateRule(share)
    for end in range(1, len(sequence) + 1):
        window = sequence[max(0, end - width) : end]
        last = sequence[max(0, end - newest) : end]
        n, x = sum(b.decided for b in window), sum(b.violations for b in window)
        over_last = sum(b.violations for b in last) > share * sum(b.decided for b in last)
        over = n >= 20 and x >= 5 and x > n * share
        over = over and (x - n * share) ** 2 > 9 * n * share * (1 - share)
        trigger = rule.feed(sequence[end - 1])
        assert (trigger is not None) == (over and over_last)
        if trigger is not None:
            assert (trigger.n, trigger.x) == (n, x)


@settings(max_examples=200, deadline=None)
@given(buckets)
def test_hard_down_is_the_definition(sequence):
    rule = HardDown(L)
    loaded = next((i for i, b in enumerate(sequence) if b.decided), None)
    for end in range(1, len(sequence) + 1):
        row = []
        for index in range(end - 1, -1, -1):
            if sequence[index].in_time:
                break
            row.insert(0, (index, sequence[index]))
        while row and row[0][1].violations == 0:
            row.pop(0)
        expected = False
        if row:
            span_s = (end - row[0][0]) * 0.05
            violations = sum(b.violations for _, b in row)
            settled = (end - loaded) * 0.05 > 2.0 + 1e-9
            evidence = violations if settled else sum(b.violations - b.slow for _, b in row)
            expected = (evidence >= 5 and span_s >= 0.25 - 1e-9) or (
                violations >= 5 and span_s >= 1.0 - 1e-9
            )
        assert (rule.feed(sequence[end - 1]) is not None) == expected


def test_hung_after_settling_takes_five_buckets():
    assert feed(HardDown(L), [CLEAN] * 100 + [DOWN] * 20) == 104


def test_slow_start_is_borne_for_a_second_errors_are_not():
    assert feed(HardDown(L), [DOWN] * 40) == 19
    assert feed(HardDown(L), [FAILING] * 40) == 4


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


@given(buckets)
def test_onset_is_the_best_suffix(sequence):
    def score(first):
        return sum(b.violations - L * b.decided for b in sequence[first:])

    best = max([score(first) for first in range(len(sequence))], default=0)
    found = onset(sequence, L)
    if best <= 0:
        assert found == len(sequence)
    else:
        assert score(found) == best
