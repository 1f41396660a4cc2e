"""The rules: rate, hard-down and plain, each a fold over the buckets of one server.

A rule is fed every complete bucket once, in order, empty ones too, and answers with a Trigger for
as long as the server has failed by it. A fresh rule is an empty window.
"""

import math
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from harness.config import DAY_NS, NS_PER_MS, NS_PER_S
from harness.detector.evidence import EMPTY, Evidence
from harness.records import BUCKET_NS

Z_SQUARED = 9
"""Of the Wilson bound: z = 3."""
LEAST_DECIDED = 20
LEAST_VIOLATIONS = 5
WINDOW_NS = 5 * NS_PER_S
NEWEST_NS = 400 * NS_PER_MS
NEWEST_PART = 12
CHANCE = 1e-6
"""A row of violations this unlikely at the limit is no chance."""
STALL_TOLERANCE_NS = 250 * NS_PER_MS
SETTLING_NS = 2 * NS_PER_S
SETTLING_STALL_NS = NS_PER_S
PLAIN_WINDOW_NS = 5 * NS_PER_S
HARD_DOWN = "hard-down"
STALLED = "stalled"  # hard-down too: nothing is answered any more


@dataclass(frozen=True)
class Trigger:
    """Why a rule holds a server for failed, at the end of the bucket fed last.

    ``n`` decided and ``x`` violated in the evidence; ``bound`` is what x had to exceed, or for
    hard-down to reach.
    """

    rule: str  # "rate", "hard-down" or "plain"
    n: int
    x: int
    bound: float


class Rule(Protocol):
    """One rule's fold."""

    def feed(self, bucket: Evidence) -> Trigger | None:
        """Take the next complete bucket."""


def window_ns(limit: Fraction, stall_tolerance_ns: int = STALL_TOLERANCE_NS) -> int:
    """W = max(5 s, S / L): a single tolerated stall stays under the limit. A day at most."""
    return min(max(WINDOW_NS, math.ceil(stall_tolerance_ns / limit)), DAY_NS)


def least_in_a_row(limit: Fraction) -> int:
    """max(5, ln 10^-6 / ln L): violations in a row that hard-down needs."""
    # Rounded first: for L = 10 % the quotient is 6, in floats perhaps a little more.
    chance = math.ceil(round(math.log(CHANCE) / math.log(limit), 9))
    return max(LEAST_VIOLATIONS, chance)


class RateRule:
    """The violation rate over a sliding window is over the limit, and not by chance.

    n >= 20, x >= 5, x > n L, (x - n L)^2 > z^2 n L (1 - L) (the Wilson score bound above L, in
    integers), and the newest max(400 ms, W / 12) are over L too. W may be given; it counts in whole
    buckets, rounded up. While the window fills, what it lacks counts as clean slots at the same
    rate: a stall that a full window tolerates is tolerated from the first second on.
    """

    def __init__(
        self,
        limit: Fraction,
        stall_tolerance_ns: int = STALL_TOLERANCE_NS,
        given_window_ns: int | None = None,
    ) -> None:
        self.limit = limit
        width_ns = given_window_ns or window_ns(limit, stall_tolerance_ns)
        newest = max(_buckets(NEWEST_NS), _buckets(width_ns, NEWEST_PART))
        self.window = Sum(_buckets(width_ns))
        self.newest = Sum(min(newest, self.window.width))
        self.fed = 0

    def feed(self, bucket: Evidence) -> Trigger | None:
        """Take the next complete bucket."""
        self.window.add(bucket)
        self.newest.add(bucket)
        self.fed = min(self.fed + 1, self.window.width)
        n, x = self.window.decided, self.window.violations
        if n < LEAST_DECIDED or x < LEAST_VIOLATIONS:
            return None
        if not _over(self.newest.decided, self.newest.violations, self.limit):
            return None
        of_full = n * self.window.width // self.fed
        if not self._beyond_chance(of_full, x):
            return None
        share = float(self.limit)
        bound = of_full * share + math.sqrt(Z_SQUARED * of_full * share * (1 - share))
        return Trigger("rate", n, x, bound)

    def _beyond_chance(self, n: int, x: int) -> bool:
        p, q = self.limit.numerator, self.limit.denominator
        excess = x * q - n * p
        return excess > 0 and excess * excess > Z_SQUARED * n * p * (q - p)


class HardDown:
    """No slot in time for the stall tolerance S: a dead or hung server, at any rate.

    Consecutive non-empty buckets without one in-time slot that hold at least
    ``least_in_a_row(limit)`` violations, from the first one's start to now >= S. Empty buckets do
    not break the row and lengthen its span. ``late_failed`` slots are violations here, of cause
    slow; a ``late_answered`` one ends the row, as one in time does. ``slow`` violations in a
    server's first 2 s under load need a span of 1 s; those with a status do not.
    ``under_load_ns`` is the load the server has had before, from the warm-up say.
    """

    def __init__(
        self,
        limit: Fraction,
        stall_tolerance_ns: int = STALL_TOLERANCE_NS,
        under_load_ns: int = 0,
    ) -> None:
        self.stall_tolerance_ns = stall_tolerance_ns
        self.least = least_in_a_row(limit)
        self.under_load_ns = under_load_ns
        self.span_ns = 0
        self.violations = 0
        self.while_settling = 0  # of them: slow, in the first 2 s under load

    def feed(self, bucket: Evidence) -> Trigger | None:
        """Take the next complete bucket."""
        violations = bucket.violations + bucket.late_failed
        if self.under_load_ns or bucket.decided or violations:
            self.under_load_ns += BUCKET_NS
        if bucket.in_time or bucket.late_answered:
            self.span_ns = self.violations = self.while_settling = 0
            return None
        if self.violations or violations:
            self.span_ns += BUCKET_NS
        self.violations += violations
        if self.under_load_ns <= SETTLING_NS:
            self.while_settling += bucket.slow + bucket.late_failed
        if self._is_down():
            return Trigger(HARD_DOWN, self.violations, self.violations, self.least)
        return None

    def _is_down(self) -> bool:
        settled = self.violations - self.while_settling
        if settled >= self.least and self.span_ns >= self.stall_tolerance_ns:
            return True
        needed_ns = max(SETTLING_STALL_NS, self.stall_tolerance_ns)
        return self.violations >= self.least and self.span_ns >= needed_ns


class PlainRule:
    """Tumbling windows (5 s unless given) whose violation rate is over the limit, nothing else."""

    def __init__(self, limit: Fraction, given_window_ns: int | None = None) -> None:
        self.limit = limit
        self.width = _buckets(given_window_ns or PLAIN_WINDOW_NS)
        self.total = EMPTY
        self.buckets = 0

    def feed(self, bucket: Evidence) -> Trigger | None:
        """Take the next complete bucket."""
        self.total += bucket
        self.buckets += 1
        if self.buckets < self.width:
            return None
        found, self.total, self.buckets = self.total, EMPTY, 0
        if not _over(found.decided, found.violations, self.limit):
            return None
        return Trigger("plain", found.decided, found.violations, found.decided * float(self.limit))


class Sum:
    """The sum of the last ``width`` buckets."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.buckets: deque[Evidence] = deque()
        self.decided = 0
        self.violations = 0

    def add(self, bucket: Evidence) -> None:
        """Take one in, let the oldest go."""
        oldest = self.buckets.popleft() if len(self.buckets) == self.width else EMPTY
        self.buckets.append(bucket)
        self.decided += bucket.decided - oldest.decided
        self.violations += bucket.violations - oldest.violations


def _over(decided: int, violations: int, limit: Fraction) -> bool:
    return violations * limit.denominator > decided * limit.numerator


def _buckets(width_ns: int, parts: int = 1) -> int:
    """Whole buckets that hold ``width_ns / parts``."""
    return -(-width_ns // (parts * BUCKET_NS))
