"""The faults of the operating curve, drawn, and what the two rules make of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.random import Generator

from benchmarks.replay import (
    BASELINE,
    WARMUP_NS,
    ClosedLoop,
    Fault,
    Trace,
    after_the_switch,
    replay,
    stall,
    trace,
)
from harness.config import NS_PER_MS, NS_PER_S, Switching
from harness.records import BUCKET_NS

RULES = {"default": Switching(), "plain": Switching(rule="plain")}
RATES = (100, 1_000, 10_000)
FULL_BUCKETS = 100
PLAIN_BUCKETS = 100
AFTER_BUCKETS = 600
RUN_S = 60

Delays = list[float | None]
"""In ms from onset to detection, by trial; None: not detected, or switched before."""
BothDelays = tuple[Delays, Delays]
Switches = list[int]
"""By run."""


@dataclass(frozen=True)
class Row:
    """One fault, what the default rule and the plain rule made of it."""

    fault: str
    rate: str
    default: Delays | Switches
    plain: Delays | Switches


def onset_ns(random: Generator) -> int:
    """A random moment after the window is full, at any phase of a tumbling window."""
    phase_ns = int(random.integers(0, PLAIN_BUCKETS * BUCKET_NS))
    return FULL_BUCKETS * BUCKET_NS + phase_ns


def delays_of(switching: Switching, traces: Sequence[Trace], onsets_ns: Sequence[int]) -> Delays:
    """By server that fails, in the order in which they do."""
    left = replay(switching, traces, most=len(onsets_ns))
    found: Delays = [None] * len(onsets_ns)
    for server, (one, start_ns) in enumerate(zip(left, onsets_ns, strict=False)):
        if one.server != server or one.detect_ns < start_ns:
            break
        found[server] = (one.detect_ns - start_ns) / NS_PER_MS
    return found


def one_fails(trials: int, rate: int, share: float, with_status: bool = False) -> BothDelays:
    """One server fails at a random moment and stays so."""
    found: dict[str, Delays] = {rule: [] for rule in RULES}
    for trial in range(trials):
        random = np.random.default_rng(trial)
        start_ns = onset_ns(random)
        buckets = start_ns // BUCKET_NS + AFTER_BUCKETS
        fault = Fault(start_ns, buckets * BUCKET_NS, share, with_status)
        failing = trace(random, rate, buckets, fault)
        for rule, delays in found.items():
            delays.extend(delays_of(RULES[rule], [failing, failing], [start_ns]))
    return found["default"], found["plain"]


def two_hang(trials: int, rate: int) -> tuple[BothDelays, BothDelays]:
    """The first of three servers hangs, and 8 to 20 s later the one the load went to."""
    found: dict[str, list[Delays]] = {rule: [] for rule in RULES}
    for trial in range(trials):
        random = np.random.default_rng(trial)
        first_ns = onset_ns(random)
        second_ns = first_ns + int(random.integers(8 * NS_PER_S, 20 * NS_PER_S))
        buckets = second_ns // BUCKET_NS + AFTER_BUCKETS
        traces = [
            trace(random, rate, buckets, *faults)
            for faults in (
                [Fault(first_ns, buckets * BUCKET_NS)],
                [Fault(second_ns, buckets * BUCKET_NS)],
                [],
            )
        ]
        for rule, delays in found.items():
            delays.append(delays_of(RULES[rule], traces, [first_ns, second_ns]))

    def of(server: int) -> BothDelays:
        default, plain = ([one[server] for one in found[rule]] for rule in RULES)
        return default, plain

    return of(0), of(1)


def closed_loop_hangs(trials: int, *, stalls: bool) -> BothDelays:
    """A closed loop with 64 in flight, whose server hangs. The plain rule has nothing beside it."""
    found: dict[str, Delays] = {rule: [] for rule in RULES}
    for trial in range(trials):
        random = np.random.default_rng(trial)
        hung_ns = onset_ns(random)
        loop = ClosedLoop.draw(random, hung_ns // BUCKET_NS + AFTER_BUCKETS // 2, hung_ns)
        for rule, delays in found.items():
            at_ns = loop.detect_ns(RULES[rule], stalls=stalls and rule == "default")
            if at_ns is None or at_ns < hung_ns:
                delays.append(None)
            else:
                delays.append((at_ns - hung_ns) / NS_PER_MS)
    return found["default"], found["plain"]


def switches(trials: int, draw: Callable[[Generator], Trace]) -> tuple[Switches, Switches]:
    """Two servers with the same faults; by run, how often the load was moved."""
    found: dict[str, Switches] = {rule: [] for rule in RULES}
    for trial in range(trials):
        drawn = draw(np.random.default_rng(trial))
        for rule, counts in found.items():
            counts.append(len(replay(RULES[rule], [drawn, drawn])))
    return found["default"], found["plain"]


def fresh_server_slow(trials: int, rate: int, slow_ns: int) -> tuple[Switches, Switches]:
    """The first of three hangs, the second is slow when the load comes; switches away from that."""
    buckets = RUN_S * NS_PER_S // BUCKET_NS

    def draw(random: Generator, loaded_ns: int) -> Trace:
        return trace(random, rate, buckets, Fault(loaded_ns, loaded_ns + slow_ns))

    found: dict[str, Switches] = {rule: [] for rule in RULES}
    for trial in range(trials):
        random = np.random.default_rng(trial)
        hung = trace(random, rate, buckets, Fault(onset_ns(random), buckets * BUCKET_NS))
        clean = trace(random, rate, buckets)
        for rule, counts in found.items():
            second = partial(draw, np.random.default_rng([trial, 1]))
            counts.append(len(after_the_switch(RULES[rule], hung, clean, second)))
    return found["default"], found["plain"]


def detection_rows(trials: int) -> Iterator[Row]:
    """Faults that must be seen."""
    faults = (
        ("20 % of requests bad", 0.2, False),
        ("hung", 1.0, False),
        ("killed: errors at once", 1.0, True),
    )
    for fault, share, with_status in faults:
        for rate in RATES:
            yield Row(fault, f"{rate}", *one_fails(trials, rate, share, with_status))
    first, second = two_hang(trials, 1_000)
    yield Row("two hung in turn, the first", "1000", *first)
    yield Row("two hung in turn, the second", "1000", *second)
    name = "closed loop, 64 in flight, hung"
    yield Row(name, "closed", *closed_loop_hangs(trials, stalls=True))
    yield Row(f"{name}, buckets alone", "closed", *closed_loop_hangs(trials, stalls=False))


def calm_rows(trials: int, hours: float) -> Iterator[Row]:
    """What must move no load, and beside it what is just beyond that."""
    buckets = RUN_S * NS_PER_S // BUCKET_NS
    long = max(1, int(hours * 3600 * NS_PER_S // BUCKET_NS))

    def every(period_s: int, length_ms: int, rate: int, count: int, random: Generator) -> Trace:
        first_ns = int(random.integers(5 * NS_PER_S, 10 * NS_PER_S))
        starts_ns = range(first_ns, count * BUCKET_NS, period_s * NS_PER_S)
        faults = [stall(start_ns, length_ms * NS_PER_MS) for start_ns in starts_ns]
        return trace(random, rate, count, *faults)

    def four_percent(rate: int, random: Generator) -> Trace:
        share = (0.04 - BASELINE) / (1 - BASELINE)
        start_ns = onset_ns(random)
        end_ns = start_ns + RUN_S * NS_PER_S
        return trace(random, rate, end_ns // BUCKET_NS, Fault(start_ns, end_ns, share))

    def early(random: Generator) -> Trace:
        start_ns = int(random.integers(0, 5 * NS_PER_S))
        return trace(random, 1_000, buckets, stall(start_ns, 150 * NS_PER_MS))

    def slow(start_ns: int, length_ns: int, random: Generator) -> Trace:
        return trace(random, 1_000, buckets, Fault(start_ns, start_ns + length_ns))

    yield Row(
        f"1 % violations, {hours:g} h",
        "1000",
        *switches(1, lambda random: trace(random, 1_000, long)),
    )
    yield Row(
        f"one stall of 100 ms every 30 s, {hours:g} h",
        "1000",
        *switches(1, partial(every, 30, 100, 1_000, long)),
    )
    for rate in RATES:
        draw = partial(four_percent, rate)
        yield Row("4 % violations, 60 s", f"{rate}", *switches(trials, draw))
    for rate in RATES:
        draw = partial(every, 10, 150, rate, buckets)
        yield Row("one stall of 150 ms every 10 s, 60 s", f"{rate}", *switches(trials, draw))
    yield Row("one stall of 150 ms in the first 5 s", "1000", *switches(trials, early))
    in_warmup = partial(slow, -WARMUP_NS, WARMUP_NS)
    yield Row("slow for the 2 s of its warm-up", "1000", *switches(trials, in_warmup))
    after_warmup = partial(slow, 0, 2 * NS_PER_S)
    yield Row("slow for 2 s after its warm-up", "1000", *switches(trials, after_warmup))
    for slow_ms in (900, 2_000):
        found = fresh_server_slow(trials, 1_000, slow_ms * NS_PER_MS)
        yield Row(f"new after a switch, slow for {slow_ms / 1000:g} s", "1000", *found)
