"""The rules: rate, hard-down and plain, each a fold over the buckets of one server.

A rule is fed every complete bucket once, in order, empty ones too, and answers with a Trigger when
the server has failed by it. A fresh rule is an empty window.
"""

import math
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from harness.config import NS_PER_MS, NS_PER_S
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


@dataclass(frozen=True)
class Trigger:
    """Why a rule holds a server for failed, at the end of the bucket fed last.

    ``n`` decided and ``x`` violated in the evidence; ``bound`` is what x had to exceed.
    """

    rule: str
    n: int
    x: int
    bound: float


class Rule(Protocol):
    """One rule's fold."""

    def feed(self, bucket: Evidence) -> Trigger | None:
        """Take the next complete bucket."""


def window_ns(limit: Fraction, stall_tolerance_ns: int = STALL_TOLERANCE_NS) -> int:
    """W = max(5 s, S / L): a single tolerated stall stays under the limit."""
    return max(WINDOW_NS, math.ceil(stall_tolerance_ns / limit))


class RateRule:
    """The violation rate over a sliding window is over the limit, and not by chance.

    n >= 20, x >= 5, x > n L, (x - n L)^2 > z^2 n L (1 - L) (the Wilson score bound above L, in
    integers), and the newest max(400 ms, W / 12) are over L too.
    """

    def __init__(self, limit: Fraction, stall_tolerance_ns: int = STALL_TOLERANCE_NS) -> None:
        self.limit = limit
        width_ns = window_ns(limit, stall_tolerance_ns)
        self.window = Sum(math.ceil(width_ns / BUCKET_NS))
        self.newest = Sum(math.ceil(max(NEWEST_NS, width_ns / NEWEST_PART) / BUCKET_NS))

    def feed(self, bucket: Evidence) -> Trigger | None:
        """Take the next complete bucket."""
        self.window.add(bucket)
        self.newest.add(bucket)
        n, x = self.window.decided, self.window.violations
        if n < LEAST_DECIDED or x < LEAST_VIOLATIONS:
            return None
        if not self._over(self.newest) or not self._beyond_chance(n, x):
            return None
        share = float(self.limit)
        bound = n * share + math.sqrt(Z_SQUARED * n * share * (1 - share))
        return Trigger("rate", n, x, bound)

    def _over(self, part: "Sum") -> bool:
        return part.violations * self.limit.denominator > part.decided * self.limit.numerator

    def _beyond_chance(self, n: int, x: int) -> bool:
        p, q = self.limit.numerator, self.limit.denominator
        excess = x * q - n * p
        return excess > 0 and excess * excess > Z_SQUARED * n * p * (q - p)


class HardDown:
    """No slot in time for the stall tolerance: a dead or hung server, at any rate.

    Consecutive non-empty buckets without one in-time slot that hold at least
    max(5, ln 10^-6 / ln L) violations, from the first one's start to now >= S. In a server's first
    2 s under load ``slow`` violations need a span of 1 s; those with a status do not.
    """

    def __init__(self, limit: Fraction, stall_tolerance_ns: int = STALL_TOLERANCE_NS) -> None:
        self.stall_tolerance_ns = stall_tolerance_ns
        self.least = max(LEAST_VIOLATIONS, math.ceil(math.log(CHANCE) / math.log(limit)))
        self.span_ns = 0
        self.violations = 0
        self.slow = 0
        self.under_load_ns = 0

    def feed(self, bucket: Evidence) -> Trigger | None:
        """Take the next complete bucket."""
        if self.under_load_ns or bucket.decided:
            self.under_load_ns += BUCKET_NS
        if bucket.in_time:
            self.span_ns = self.violations = self.slow = 0
            return None
        if self.violations or bucket.violations:
            self.span_ns += BUCKET_NS
        self.violations += bucket.violations
        self.slow += bucket.slow
        settling = self.under_load_ns <= SETTLING_NS
        if self._down(self.violations, self.slow if settling else 0):
            return Trigger("hard-down", self.violations, self.violations, self.least)
        return None

    def _down(self, violations: int, slow: int) -> bool:
        if violations - slow >= self.least and self.span_ns >= self.stall_tolerance_ns:
            return True
        needed_ns = max(SETTLING_STALL_NS, self.stall_tolerance_ns)
        return violations >= self.least and self.span_ns >= needed_ns


class PlainRule:
    """Tumbling windows of 5 s whose violation rate is over the limit, and nothing else."""

    def __init__(self, limit: Fraction) -> None:
        self.limit = limit
        self.total = EMPTY
        self.buckets = 0

    def feed(self, bucket: Evidence) -> Trigger | None:
        """Take the next complete bucket."""
        self.total += bucket
        self.buckets += 1
        if self.buckets * BUCKET_NS < PLAIN_WINDOW_NS:
            return None
        found, self.total, self.buckets = self.total, EMPTY, 0
        if found.violations * self.limit.denominator <= found.decided * self.limit.numerator:
            return None
        return Trigger("plain", found.decided, found.violations, found.decided * float(self.limit))


class Sum:
    """The sum of the last ``width`` buckets."""

    def __init__(self, width: int) -> None:
        self.buckets: deque[Evidence] = deque([EMPTY] * width, width)
        self.decided = 0
        self.violations = 0

    def add(self, bucket: Evidence) -> None:
        """Take one in, let the oldest go."""
        oldest = self.buckets[0]
        self.buckets.append(bucket)
        self.decided += bucket.decided - oldest.decided
        self.violations += bucket.violations - oldest.violations


def onset(buckets: "deque[Evidence] | list[Evidence]", limit: Fraction) -> int:
    """Index of the bucket where the failure began.

    The start of the suffix that maximizes the sum of x - L n; of several, the latest.
    """
    best = score = 0
    first = len(buckets)
    for index in range(len(buckets) - 1, -1, -1):
        bucket = buckets[index]
        score += bucket.violations * limit.denominator - bucket.decided * limit.numerator
        if score > best:
            best, first = score, index
    return first
