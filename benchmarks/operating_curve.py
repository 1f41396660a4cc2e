"""The operating curve of the rules: how soon they see a failure, how often they see none.

``python -m benchmarks.operating_curve [--trials 1000] [--hours 1]`` replays the real rules over
simulated buckets: T = 50 ms, L = 5 %, a baseline of 1 % violations, window full. Delays are from
onset to the moment the last needed bucket is complete, T after its end.
"""

import argparse
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from harness.config import NS_PER_MS
from harness.detector.evidence import Evidence
from harness.detector.rules import HardDown, PlainRule, RateRule, Rule
from harness.records import BUCKET_NS

LIMIT = Fraction(1, 20)
BASELINE = 0.01
THRESHOLD_NS = 50 * NS_PER_MS
RATES = (100, 1_000, 10_000)
FULL_BUCKETS = 200
LONGEST_BUCKETS = 600

RULE_SETS: dict[str, Callable[[], Sequence[Rule]]] = {
    "default": lambda: (RateRule(LIMIT), HardDown(LIMIT)),
    "plain": lambda: (PlainRule(LIMIT),),
}


def delay_ms(
    rules: Sequence[Rule], rate: float, bad: float, random: np.random.Generator
) -> float | None:
    """From onset, at a random moment of a bucket, to detection; None: never, or before it."""
    onset_ns = int(random.integers(0, BUCKET_NS))
    first = FULL_BUCKETS + int(random.integers(0, 100))  # any phase of a tumbling window
    per_bucket = random.poisson(rate * BUCKET_NS / 1e9, first + LONGEST_BUCKETS)
    for index, decided in enumerate(per_bucket):
        if index < first:
            violations = random.binomial(decided, BASELINE)
        elif index == first:
            after = random.binomial(decided, 1 - onset_ns / BUCKET_NS)
            violations = random.binomial(after, bad) + random.binomial(decided - after, BASELINE)
        else:
            violations = random.binomial(decided, bad)
        bucket = Evidence(int(decided), int(violations), int(violations))
        fired = [rule.feed(bucket) for rule in rules]
        if any(fired):
            if index < first:
                return None
            complete_ns = (index - first + 1) * BUCKET_NS + THRESHOLD_NS
            return (complete_ns - onset_ns) / NS_PER_MS
    return None


def false_alarms(rules: Callable[[], Sequence[Rule]], rate: float, hours: float) -> int:
    """Triggers in ``hours`` at the baseline; after one the window is empty again."""
    random = np.random.default_rng(2)
    buckets = int(hours * 3600e9 / BUCKET_NS)
    per_bucket = random.poisson(rate * BUCKET_NS / 1e9, buckets)
    violations = random.binomial(per_bucket, BASELINE)
    alarms, current = 0, rules()
    for decided, violated in zip(per_bucket.tolist(), violations.tolist(), strict=True):
        bucket = Evidence(decided, violated, violated)
        if any([rule.feed(bucket) for rule in current]):
            alarms, current = alarms + 1, rules()
    return alarms


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--hours", type=float, default=1.0)
    arguments = parser.parse_args()
    print("rule      fault     rate/s   median ms   p99 ms   detected")
    for name, rules in RULE_SETS.items():
        for fault, bad in (("20 % bad", BASELINE + 0.2), ("hung", 1.0)):
            for rate in RATES:
                random = np.random.default_rng(1)
                found = [delay_ms(rules(), rate, bad, random) for _ in range(arguments.trials)]
                delays = [one for one in found if one is not None]
                print(
                    f"{name:9s} {fault:9s} {rate:6d} {np.median(delays):11.0f}"
                    f" {np.percentile(delays, 99):8.0f} {len(delays):6d}/{len(found)}",
                    flush=True,
                )
        alarms = false_alarms(rules, 1_000, arguments.hours)
        print(f"{name:9s} none        1000   {alarms} alarms in {arguments.hours:g} h", flush=True)


if __name__ == "__main__":
    main()
