"""The judgement: each limit from both sides, and what is said."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.doctor.capacity import Capacity, Trial
from harness.doctor.judgement import Row, judge, time_text
from harness.doctor.search import Bracket
from harness.machine.spin_gaps import SpinGaps
from harness.machine.wakeup import WakeupError
from tests.doctor.made_up import GOOD, PACING, facts

NAMES = [
    *("clock source", "governor", "CPUs", "CPU quota", "steal", "wake-up error", "spin gaps"),
    *("path floor", "highest rate", "lateness"),
]


def row(name: str, **changes: Any) -> Row:
    return next(one for one in judge(facts(**changes)) if one.name == name)


def gaps(lost_share: float, max_us: float) -> SpinGaps:
    return SpinGaps(3.0, 5, 2, max_us, lost_share)


def wakeup(p99_ns: int) -> WakeupError:
    return WakeupError(6000, 40_000, p99_ns, 900_000)


def capacity(held: float | None, broken: float | None, p99_ns: int | None = 20_000) -> Capacity:
    trials = []
    if held is not None:
        trials.append(Trial(held, None, 150, p99_ns, PACING))
    if broken is not None:
        trials.append(Trial(broken, "the worker was late", 150, p99_ns, PACING))
    return Capacity(Bracket(held, broken), tuple(trials))


def test_a_good_host() -> None:
    rows = judge(GOOD)
    assert [one.name for one in rows] == NAMES
    assert [one.verdict for one in rows] == ["ok"] * len(NAMES)
    assert [one.value for one in rows] == [
        "tsc, 22 ns a read",
        "performance",
        "0-3 allowed, a worker gets CPU 3",
        "none",
        "0.02 % of the CPU time",
        "p50 41 us, p99 99.5 us, max 800 us, 6000 sleeps",
        "2 over 100 us, 1 over 1 ms, longest 1.4 ms in 3 s",
        "217 us to the embedded server",
        "160000/s (spinning); 170000/s not: lateness p99 1.2 ms",
        "p50 0.18 us, p99 21 us at 10000/s",
    ]


@pytest.mark.parametrize(
    ("name", "changes", "value"),
    [
        ("clock source", {"clock_source": "arch_sys_counter"}, "arch_sys_counter"),
        ("clock source", {"clock_source": None}, "not shown here, 22 ns"),
        ("clock source", {"clock_read_ns": 100.0}, "100 ns"),
        ("governor", {"governor": None}, "not shown here"),
        ("CPUs", {"cpus_allowed": [2, 3]}, "2-3"),
        ("steal", {"steal_share": None}, "not known"),
        ("steal", {"steal_share": 0.005}, "0.50 %"),
        ("wake-up error", {"wakeup": wakeup(150_000)}, "p99 150 us"),
        ("spin gaps", {"gaps": gaps(0.005, 100_000.0)}, "longest 100 ms"),
        ("path floor", {"path_floor_ns": 1_000_000}, "1 ms to the embedded server"),
        ("path floor", {"path_url": "gpu:8001"}, "217 us to gpu:8001"),
        ("highest rate", {"capacity": capacity(20_000, 22_000)}, "20000/s (spinning); 22000/s"),
        ("highest rate", {"capacity": capacity(640_000, None)}, "at least 640000/s (spinning)"),
        ("lateness", {"capacity": capacity(20_000, None, 100_000)}, "p99 100 us at 20000/s"),
    ],
)
def test_ok(name: str, changes: dict[str, Any], value: str) -> None:
    found = row(name, **changes)
    assert (found.verdict, found.advice) == ("ok", None)
    assert value in found.value


@pytest.mark.parametrize(
    ("name", "changes", "value", "advice"),
    [
        ("clock source", {"clock_source": "hpet"}, "hpet", "clocksource=tsc"),
        ("clock source", {"clock_source": "kvm-clock"}, "kvm-clock", "clocksource=tsc"),
        ("clock source", {"clock_read_ns": 101.0}, "101 ns a read", "under 100 ns"),
        ("governor", {"governor": "powersave"}, "powersave", "-g performance"),
        ("CPUs", {"cpus_allowed": [3]}, "3 allowed", "allow two or more"),
        ("CPU quota", {"cpu_quota": 1.5}, "1.5 CPUs", "cpu.max"),
        ("steal", {"steal_share": 0.0051}, "0.51 %", "dedicated"),
        ("wake-up error", {"wakeup": wakeup(150_001)}, "p99 150 us", "--spin always"),
        ("wake-up error", {"wakeup": None}, "not known", "run again"),
        ("spin gaps", {"gaps": gaps(0.0051, 400.0)}, "longest 400 us", "0.51 % of the time"),
        ("spin gaps", {"gaps": gaps(0.0, 100_001.0)}, "longest 100 ms", "CPU 3"),
        ("path floor", {"path_floor_ns": 1_000_001}, "to the embedded", "stop what else runs"),
        (
            *("path floor", {"path_floor_ns": 23_400_000, "path_url": "gpu:8001"}),
            *("23.4 ms to gpu:8001", "nearer to the server"),
        ),
        ("highest rate", {"capacity": capacity(19_000, 20_000)}, "19000/s", "20000/s"),
        ("highest rate", {"capacity": capacity(None, 625)}, "none held; 625/s not", "stop what"),
        ("highest rate", {"capacity": capacity(None, None)}, "none tried", "stop what"),
        ("lateness", {"capacity": capacity(20_000, None, 100_001)}, "p99 100 us", "invalid"),
        ("lateness", {"capacity": capacity(20_000, None, None)}, "not known", "stop what"),
    ],
)
def test_look(name: str, changes: dict[str, Any], value: str, advice: str) -> None:
    found = row(name, **changes)
    assert found.verdict == "look"
    assert value in found.value
    assert found.advice is not None
    assert advice in found.advice
    assert "\n" not in found.advice


@given(
    read_ns=st.floats(0, 1e6),
    share=st.none() | st.floats(0, 1),
    floor_ns=st.integers(0, 10**10),
    p99_ns=st.none() | st.integers(0, 10**10),
    quota=st.none() | st.floats(0.01, 100),
    text=st.none() | st.text(),
)
def test_every_row_is_there_and_advice_goes_with_look(
    read_ns: float,
    share: float | None,
    floor_ns: int,
    p99_ns: int | None,
    quota: float | None,
    text: str | None,
) -> None:
    rows = judge(
        facts(
            clock_read_ns=read_ns,
            steal_share=share,
            path_floor_ns=floor_ns,
            wakeup=None if p99_ns is None else wakeup(p99_ns),
            gaps=gaps(share or 0, read_ns),
            cpu_quota=quota,
            governor=text,
            clock_source=text,
            capacity=capacity(None if quota is None else 20_000, p99_ns, p99_ns),
        )
    )
    assert [one.name for one in rows] == NAMES
    for one in rows:
        assert one.value
        assert one.value.isprintable()
        assert (one.verdict == "look") == (one.advice is not None)


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "0 us"),
        (178, "0.178 us"),
        (21_000, "21 us"),
        (999_499, "999 us"),
        (999_500, "1 ms"),
        (1_462_000, "1.46 ms"),
        (999_600_000, "1000 ms"),
        (12_345_600_000, "12346 ms"),
    ],
)
def test_times(time_ns: int, text: str) -> None:
    assert time_text(time_ns) == text
