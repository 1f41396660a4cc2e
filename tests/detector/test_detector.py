"""One server's detector: which rule speaks, since when it failed, which rules a run has."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.config import Slo, Switching
from harness.detector.detector import Detector, limit_of, make_rules, onset
from harness.detector.evidence import Evidence
from harness.detector.rules import HardDown, PlainRule, RateRule
from harness.slo import parse_slo

L = Fraction(1, 20)
SLO = Slo(threshold_ns=50_000_000, limit=0.05, text="50ms")
SETTLED_NS = 2 * 10**9
CLEAN = Evidence(50, 0, 0)
DOWN = Evidence(50, 50, 50)

evidence = st.integers(0, 30).flatmap(
    lambda n: st.integers(0, n).flatmap(
        lambda x: st.builds(
            Evidence, st.just(n), st.just(x), st.integers(0, x), st.sampled_from([0, 0, 0, 4])
        )
    )
)


def new(**switching):
    return Detector(make_rules(Switching(**switching), SLO, SETTLED_NS), L, 200)


def feed(detector, sequence, first=0):
    """Index and detection of the first bucket that is detected."""
    for index, bucket in enumerate(sequence, first):
        detection = detector.feed(index, bucket)
        if detection is not None:
            return index, detection
    return None


def test_hung_is_hard_down_since_its_first_bucket():
    index, detection = feed(new(), [CLEAN] * 100 + [DOWN] * 10, first=1000)
    assert (index, detection.onset_bucket) == (1104, 1100)
    assert (detection.trigger.rule, detection.trigger.n, detection.trigger.x) == (
        "hard-down",
        250,
        250,
    )


def test_a_fifth_bad_is_the_rate_rule_since_its_first_bucket():
    index, detection = feed(new(), [CLEAN] * 100 + [Evidence(50, 10, 10)] * 100)
    assert detection.trigger.rule == "rate"
    assert (index, detection.onset_bucket) == (129, 100)


def test_hard_down_goes_before_the_rate_rule():
    detector = Detector(
        [RateRule(L, given_window_ns=250_000_000), HardDown(L, under_load_ns=SETTLED_NS)], L, 100
    )
    found = [detector.feed(index, DOWN).trigger.rule for index in range(5)]
    assert found == ["rate"] * 4 + ["hard-down"]


def test_the_onset_counts_late_failed_slots_for_hard_down_only():
    late = Evidence(late_failed=10)
    _, detection = feed(new(), [CLEAN] * 100 + [late] * 3 + [DOWN] * 5)
    assert (detection.trigger.rule, detection.onset_bucket) == ("hard-down", 100)
    history = list(enumerate([CLEAN, late, DOWN]))
    assert onset(history, L, late_failed=True) == 1
    assert onset(history, L, late_failed=False) == 2


def test_a_row_longer_than_the_history_in_buckets_is_kept():
    sparse = [Evidence(1, 1, 1), *[Evidence()] * 99]
    detector = Detector(make_rules(Switching(), SLO, SETTLED_NS), L, 10)
    index, detection = feed(detector, [CLEAN] + sparse * 6)
    assert (index, detection.onset_bucket) == (401, 1)


def test_buckets_come_in_order():
    detector = new()
    detector.feed(7, CLEAN)
    for index in (7, 9, 6):
        with pytest.raises(ValueError, match=f"bucket {index} after bucket 7"):
            detector.feed(index, CLEAN)


@given(st.lists(evidence, max_size=60))
def test_onset_is_the_best_suffix(sequence):
    def score(first):
        late = [b.late_failed for b in sequence[first:]]
        x = sum(b.violations for b in sequence[first:]) + sum(late)
        return x - L * (sum(b.decided for b in sequence[first:]) + sum(late))

    scores = [score(first) for first in range(len(sequence))]
    found = onset(enumerate(sequence), L, late_failed=True)
    if max(scores, default=0) <= 0:
        assert found is None
    else:
        assert scores[found] == max(scores)
        assert max(scores) not in scores[found + 1 :]


@settings(max_examples=100, deadline=None)
@given(st.lists(evidence, max_size=150), st.sampled_from(["default", "plain"]))
def test_a_detector_is_the_fold_of_its_rules(sequence, rule):
    first, second, rules = (
        new(rule=rule),
        new(rule=rule),
        make_rules(Switching(rule=rule), SLO, SETTLED_NS),
    )
    for index, bucket in enumerate(sequence):
        detection = first.feed(index, bucket)
        assert second.feed(index, bucket) == detection
        fired = {one.rule: one for one in (rule.feed(bucket) for rule in rules) if one}
        assert (detection is None) == (not fired)
        if detection is not None:
            assert detection.trigger == fired.get("hard-down", detection.trigger)
            assert detection.trigger in fired.values()
            assert 0 <= detection.onset_bucket <= index


@pytest.mark.parametrize(
    ("text", "limit"),
    [("50ms", Fraction(1, 20)), ("p99<50ms", Fraction(1, 100)), ("p99.9<1s", Fraction(1, 1000))],
)
def test_the_limit_is_the_one_written(text, limit):
    assert limit_of(parse_slo(text)) == limit


def test_the_limit_of_a_share_and_of_no_slo():
    assert limit_of(Slo(threshold_ns=1, limit=0.3, text="")) == Fraction(3, 10)
    assert limit_of(Slo(threshold_ns=1, limit=1e-12, text="")) == Fraction(1, 10**12)
    assert limit_of(None) == L


def test_which_rules_a_run_has():
    def kinds(switching, slo):
        return [type(rule) for rule in make_rules(switching, slo, 0)]

    assert kinds(Switching(), SLO) == [RateRule, HardDown]
    assert kinds(Switching(), None) == [HardDown]
    assert kinds(Switching(rule="plain"), SLO) == [PlainRule]
    assert kinds(Switching(rule="plain"), None) == [PlainRule]


def test_the_rules_take_what_was_given():
    given = Switching(given_window_ns=2 * 10**9, stall_tolerance_ns=10**9)
    rate, hard_down = make_rules(given, SLO, 3 * 10**9)
    assert rate.window.width == 40
    assert (hard_down.stall_tolerance_ns, hard_down.under_load_ns) == (10**9, 3 * 10**9)
    (plain,) = make_rules(Switching(rule="plain", given_window_ns=2 * 10**9), SLO, 0)
    assert plain.width == 40
    assert make_rules(Switching(stall_tolerance_ns=10**9), SLO, 0)[0].window.width == 400


def test_without_an_slo_errors_are_seen():
    detector = Detector(make_rules(Switching(), None, 0), limit_of(None), 200)
    index, detection = feed(detector, [CLEAN] * 10 + [Evidence(50, 50, 0)] * 10)
    assert (index, detection.trigger.rule) == (14, "hard-down")
