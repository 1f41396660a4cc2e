"""Whether one server has failed, and since when: the rules over its buckets."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from harness.config import Slo, Switching
from harness.detector.evidence import Evidence
from harness.detector.rules import HARD_DOWN, HardDown, PlainRule, RateRule, Rule, Trigger

LIMIT_WITHOUT_SLO = Fraction(1, 20)


@dataclass(frozen=True)
class Detection:
    """A server has failed: by which rule, and from the start of which bucket on."""

    trigger: Trigger
    onset_bucket: int


class Detector:
    """The rules over the buckets of one server, from the moment it came into use.

    ``history_buckets`` non-empty buckets are kept, among which the onset is looked for; they should
    span the rules' windows.
    """

    def __init__(self, rules: Sequence[Rule], limit: Fraction, history_buckets: int) -> None:
        self.rules = rules
        self.limit = limit
        self.history: deque[tuple[int, Evidence]] = deque(maxlen=history_buckets)
        self.last_index: int | None = None

    def feed(self, index: int, bucket: Evidence) -> Detection | None:
        """Take bucket number ``index``, the one after the last; hard-down goes before other rules.

        Answers for as long as a rule finds the server failed. ValueError: a bucket out of order.
        """
        if self.last_index is not None and index != self.last_index + 1:
            raise ValueError(f"bucket {index} after bucket {self.last_index}")
        self.last_index = index
        if bucket.decided or bucket.late_failed:
            self.history.append((index, bucket))
        fired: Trigger | None = None
        for rule in self.rules:
            trigger = rule.feed(bucket)
            if trigger is not None and (fired is None or trigger.rule == HARD_DOWN):
                fired = trigger
        if fired is None:
            return None
        first = onset(self.history, self.limit, late_failed=fired.rule == HARD_DOWN)
        return Detection(fired, index if first is None else first)


def onset(
    history: Iterable[tuple[int, Evidence]], limit: Fraction, *, late_failed: bool
) -> int | None:
    """Index of the bucket where the failure began, from (index, bucket) in order.

    The start of the suffix that maximizes the sum of x - L n, of several the latest; None if no
    suffix is over L. ``late_failed`` slots count as violations if asked for.
    """
    score = 0  # of the best suffix of what was seen so far, which starts at ``start``
    start: int | None = None
    for index, bucket in history:
        late = bucket.late_failed if late_failed else 0
        x, n = bucket.violations + late, bucket.decided + late
        if score <= 0:
            score, start = 0, index
        score += x * limit.denominator - n * limit.numerator
    return start if score > 0 else None


def limit_of(slo: Slo | None) -> Fraction:
    """L as the user wrote it, 0.05 being 1/20 and not the nearest float; 5 % without an SLO."""
    if slo is None:
        return LIMIT_WITHOUT_SLO
    return Fraction(str(slo.limit))


def make_rules(switching: Switching, slo: Slo | None, under_load_ns: int) -> list[Rule]:
    """Fresh rules for a server that has been under load for ``under_load_ns``.

    Without an SLO only errors are violations, and only hard-down judges them.
    """
    limit = limit_of(slo)
    if switching.rule == "plain":
        return [PlainRule(limit, switching.given_window_ns)]
    hard_down = HardDown(limit, switching.stall_tolerance_ns, under_load_ns)
    if slo is None:
        return [hard_down]
    return [RateRule(limit, switching.stall_tolerance_ns, switching.given_window_ns), hard_down]
