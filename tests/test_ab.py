"""``harness ab`` and ``bench --repeat``, against embedded servers."""

import json
import threading
from pathlib import Path

import pytest

from harness.ab import Meeting, NotMetError, cpus_of, run_ab
from harness.config import NS_PER_MS, NS_PER_S, BenchConfig, Slo, Switching
from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.errors import UsageError
from harness.host import allowed_cpus
from harness.repeats import Repeats
from harness.results.stored import load_run


def config(out: Path, *urls: str, seconds: float = 2.0, **changes: object) -> BenchConfig:
    return BenchConfig.model_validate(
        {
            "model": "identity",
            "urls": urls,
            "dist": "poisson",
            "rate": 200.0,
            "duration_ns": round(seconds * NS_PER_S),
            "warmup_ns": 0,
            "slo": Slo(threshold_ns=50 * NS_PER_MS, limit=0.05, text="50ms"),
            "out": str(out),
            **changes,
        }
    )


def ab(one: BenchConfig, *, alternate: bool = False, rounds: int = 1):  # type: ignore[no-untyped-def]
    return run_ab(
        one,
        alternate=alternate,
        repeats=Repeats(one, rounds, None),
        tolerance=0.05,
        primary=("p50",),
        on_progress=lambda progress: None,
        on_note=lambda text: None,
        argv=[],
    )


def test_both_servers_get_the_same_slots_at_the_same_time(tmp_path: Path) -> None:
    with (
        EmbeddedServer(ServeConfig(latency="5ms")) as first,
        EmbeddedServer(ServeConfig(latency="15ms")) as second,
    ):
        found = ab(config(tmp_path / "ab", first.url, second.url))
    sides = [load_run(tmp_path / "ab" / "01" / side) for side in "ab"]
    assert sides[0].summary.origin_ns == sides[1].summary.origin_ns
    assert sides[0].summary.plan.hash == sides[1].summary.plan.hash
    assert [side.urls for side in sides] == [[first.url], [second.url]]
    workers = [side.summary.workers[0] for side in sides]
    assert workers[0].pid != workers[1].pid
    for place, worker in enumerate(workers):
        assert worker.cpu in cpus_of(None, allowed_cpus(), place)[0]
    row = next(row for row in found.comparison.rows if row.primary)
    assert row.beside[0].ratio is not None
    assert row.beside[0].ratio > 2
    assert found.comparison.paired is not None
    assert found.comparison.paired.mean_ns > 5 * NS_PER_MS
    assert [group.name for group in found.comparison.groups] == [
        f"A {first.url}",
        f"B {second.url}",
    ]


def test_servers_take_turns(tmp_path: Path) -> None:
    with EmbeddedServer(ServeConfig()) as first, EmbeddedServer(ServeConfig()) as second:
        found = ab(config(tmp_path / "ab", first.url, second.url, seconds=10.5), alternate=True)
    run = load_run(tmp_path / "ab" / "01")
    assert run.rows is not None
    in_turn = run.rows["t_sched_ns"] // (5 * NS_PER_S) % 2
    settled = run.rows["t_sched_ns"] % (5 * NS_PER_S) > NS_PER_S
    sent = run.rows["server"] != 255
    assert (run.rows["server"] == in_turn)[settled & sent].all()
    assert len(found.results) == len(found.results[0]) == 1


def test_a_side_that_does_not_start_ends_the_other(tmp_path: Path) -> None:
    with EmbeddedServer(ServeConfig()) as first:
        one = config(tmp_path / "ab", first.url, "127.0.0.1:1")
        with pytest.raises(Exception, match=r"127\.0\.0\.1:1"):
            ab(one)
    assert not list((tmp_path / "ab").rglob("summary.json"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"urls": ("a:1",)}, "1 -u given"),
        ({"switching": Switching(dwell_ns=0)}, "moves no load"),
        ({"cpus": (4096,)}, "CPU 4096 cannot be used here"),
    ],
)
def test_what_cannot_be_compared(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ab(config(tmp_path / "ab", "a:1", "b:1").model_copy(update=changes))


@pytest.mark.parametrize(
    ("given", "allowed", "sides", "shared"),
    [
        ((0, 1), 2, [(0,), (1,)], False),
        ((4, 5, 6, 7, 8), 9, [(4, 5), (6, 7)], False),
        ((3,), 4, [(3,), (3,)], True),
        (None, 1, [(0,), (0,)], True),
        (None, 2, [(1,), (1,)], True),
        (None, 3, [(1,), (2,)], False),
        (None, 8, [(1, 2, 3), (4, 5, 6)], False),
    ],
)
def test_the_sides_have_as_much_of_the_cpus(
    given: tuple[int, ...] | None, allowed: int, sides: list[tuple[int, ...]], shared: bool
) -> None:
    found = [cpus_of(given, range(allowed), side) for side in (0, 1)]
    assert found == [(one, shared) for one in sides]


def test_sides_that_share_a_cpu_sleep(tmp_path: Path) -> None:
    with EmbeddedServer(ServeConfig()) as first, EmbeddedServer(ServeConfig()) as second:
        one = config(tmp_path / "ab", first.url, second.url, seconds=1)
        cpu = max(allowed_cpus())
        ab(one.model_copy(update={"cpus": (cpu,), "rate": 6000.0}))
    for side in ("a", "b"):
        run = load_run(tmp_path / "ab" / "01" / side)
        assert [worker.cpu for worker in run.summary.workers] == [cpu]
        assert run.summary.config["spin"] == "never"


def test_a_meeting_has_one_time_or_none() -> None:
    meeting, times = Meeting(2), []
    threads = [threading.Thread(target=lambda: times.append(meeting.origin_ns())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(times) == 2
    assert times[0] == times[1]
    called_off = Meeting(2)
    called_off.call_off()
    with pytest.raises(NotMetError):
        called_off.origin_ns()


def test_repeats_are_runs_of_their_own(tmp_path: Path) -> None:
    one = config(tmp_path / "runs", "a:1")
    log = tmp_path / "log"
    found = [
        (repeat.number, repeat.config.out)
        for repeat in Repeats(one, 3, f"echo between >> '{log}'").configs()
    ]
    assert found == [(number, str(tmp_path / "runs" / f"0{number}")) for number in (1, 2, 3)]
    assert log.read_text() == "between\nbetween\n"
    assert json.loads(one.model_dump_json())["out"] == str(tmp_path / "runs")
