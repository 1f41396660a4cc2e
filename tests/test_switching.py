"""Whole runs in which servers fail: the load moves, and every slot is accounted for.

The faults are the cases of ``benchmarks.switching``, which prints their figures.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import switching as cases
from benchmarks.switching import Found, embedded
from benchmarks.verdict import one_run
from harness import Bench, BenchConfig, Slo
from harness.bench import Result
from harness.config import AtCommand
from harness.embedded.journal import read_journal
from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.records import Outcome
from tests.runs import balanced, bench

REPEATS = int(os.environ.get("HARNESS_REPEATS", "1"))
S = 1_000_000_000
SLO = Slo(threshold_ns=50_000_000, limit=0.05, text="50ms")


def left(case: Callable[[int], Iterator[Found]], within_ms: float) -> list[Found]:
    runs = list(case(REPEATS))
    for one in runs:
        assert one.books
        assert one.switches == 1
        assert one.delay_ms is not None
        assert one.delay_ms <= within_ms
        assert one.late_counted == 0
        assert one.after_ok > 0.97  # a busy machine may make the client drop some
    return runs


def stayed(case: Callable[[int], Iterator[Found]]) -> list[Found]:
    runs = list(case(REPEATS))
    for one in runs:
        assert one.books
        assert one.switches == 0
    return runs


@pytest.mark.xdist_group("triton")
@pytest.mark.usefixtures("triton_installation")
def test_a_stopped_triton_is_left_and_its_late_answers_count_for_nothing() -> None:
    for one in left(cases.stopped, 500):
        assert one.late_answers > 100
        assert one.answered_after > 100
        assert one.timeouts == 0


@pytest.mark.xdist_group("triton")
@pytest.mark.usefixtures("triton_installation")
def test_a_triton_that_stays_stopped_leaves_timeouts_only() -> None:
    for one in left(cases.stopped_for_good, 500):
        assert one.timeouts > 100
        assert one.errors == one.answered_after == 0


@pytest.mark.xdist_group("triton")
@pytest.mark.usefixtures("triton_installation")
def test_a_killed_triton_is_left() -> None:
    for one in left(cases.killed, 500):
        assert one.errors > 100


def test_a_server_slow_for_a_fifth_of_its_requests_is_left() -> None:
    for one in left(cases.slow_fifth, 2300):
        assert one.rule == "rate"


def test_a_full_in_flight_cap_blinds_nobody() -> None:
    left(cases.full_cap, 500)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stopped_worker_is_not_blamed_on_the_server(workers: int) -> None:
    for one in stayed(lambda repeats: cases.stopped_workers(repeats, workers)):
        assert one.client_late > 1500 / workers
        assert ("blind" in one.findings) == (workers == 1)


def test_four_percent_are_no_reason_to_leave() -> None:
    with embedded("0s: latency=80ms@4%", "") as (a, b):
        one = cases.run(a.url, b.url)
    assert (one.books, one.switches) == (True, 0)


def test_stalls_within_the_tolerance_are_no_reason_to_leave() -> None:
    with embedded("", "") as (a, b):
        stall = f"kill -STOP {a.pid}; sleep 0.15; kill -CONT {a.pid}"
        one = cases.run(a.url, b.url, at=((1.0, stall), (6.0, stall)), duration_ns=8 * S)
    assert (one.books, one.switches) == (True, 0)
    assert one.late_answers + one.client_late > 50


def test_a_hundred_verdicts_a_second_skip_and_double_nothing() -> None:
    found = one_run(5000, 3, 2, "auto", 1)
    assert found.verdicts > 250
    assert found.slots > 14_000
    wrong = (found.handed_after_seen, found.wrong_server, found.out_of_order, found.not_once)
    assert wrong == (0, 0, 0, 0)
    assert found.arrived_late == 0
    assert found.valid_books


class Load:
    """Makes runs of a few seconds at 500/s, all alike but for what a test is about."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self, *urls: str, switching: dict[str, Any] | None = None, **options: Any
    ) -> Result:
        config = {
            "model": "identity",
            "urls": urls,
            "dist": "poisson",
            "rate": 500.0,
            "duration_ns": 3 * S,
            "warmup_ns": 0,
            "slo": SLO,
            "request_timeout_ns": S,
            "spin": "never",
            "out": str(self.folder / "out"),
            "switching": switching or {},
        }
        result = Bench(BenchConfig.model_validate(config | options)).run()
        balanced(result.summary.model_dump())
        return result

    @property
    def rows(self) -> Any:
        return np.load(self.folder / "out" / "requests.npy")

    @property
    def events(self) -> list[dict[str, Any]]:
        lines = (self.folder / "out" / "events.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    return Load(tmp_path)


def codes(result: Result) -> set[str]:
    return {one.code for one in result.verdict.findings}


@pytest.mark.parametrize("transport", ["native", "tritonclient"])
@pytest.mark.parametrize("fault", ["hang", "error=UNAVAILABLE", "refuse"])
def test_every_way_to_fail_is_left(load: Load, transport: str, fault: str) -> None:
    with embedded(f"1s: {fault}", "") as (a, b):
        result = load(a.url, b.url, transport=transport)
    (switch,) = result.summary.switches
    assert (switch.from_, switch.to) == (a.url, b.url)
    assert 0 < switch.t_detect_ns - S < 2 * S
    assert switch.t_decide_ns >= switch.t_detect_ns
    assert all(t_ns is not None and t_ns >= switch.t_decide_ns for t_ns in switch.t_seen_ns)
    rows = load.rows
    handed = rows[np.isin(rows["outcome"], (1, 2, 3, 4))]
    assert np.all(handed["server"] == handed["epoch"])
    assert np.all(rows[rows["t_taken_ns"] > max(switch.t_seen_ns)]["server"] != 0)
    assert switch.first_slot_after == handed["slot"][handed["epoch"] == 1].min()
    assert switch.last_slot_before == handed["slot"][handed["epoch"] == 0].max()
    assert "switched" in codes(result)
    assert "switch A -> B" in result.text


def test_a_graceful_goaway_costs_no_request_and_no_switch(load: Load) -> None:
    with embedded("1s: goaway", "") as (a, b):
        result = load(a.url, b.url)
    assert result.summary.totals.ok == result.summary.plan.slots
    assert result.summary.switches == []


@pytest.mark.parametrize("fault", ["reset", "halfclose", "goaway_abrupt", "garbage"])
def test_one_broken_connection_is_no_reason_to_leave(load: Load, fault: str) -> None:
    with embedded(f"1s: {fault}", "", latency="5ms") as (a, b):
        result = load(a.url, b.url)
    assert result.summary.switches == []
    totals = result.summary.totals
    assert totals.ok + totals.error + totals.dropped == totals.scheduled
    assert 0 < totals.error < 50


@pytest.mark.parametrize(("fault", "within_s"), [("hang", 1.5), ("error=INTERNAL", 0.6)])
def test_without_an_slo_a_dead_server_is_left(load: Load, fault: str, within_s: float) -> None:
    with embedded(f"1s: {fault}", "") as (a, b):
        result = load(a.url, b.url, slo=None)
    (switch,) = result.summary.switches
    assert switch.rule == ("stalled" if fault == "hang" else "hard-down")
    assert switch.t_decide_ns < (1 + within_s) * S


def test_a_single_server_is_judged_and_kept(load: Load) -> None:
    with embedded("1s: hang; 2s: ok") as (a,):
        result = load(a.url)
    assert result.summary.switches == []
    assert "all_bad" in codes(result)
    (longest,) = result.summary.outages
    assert 0.9 * S < longest.t_end_ns - longest.t_start_ns < 1.2 * S
    assert longest.failed > 300
    assert "outage" in result.text


@pytest.mark.parametrize(("on_all_bad", "code"), [("stay", 0), ("stop", 4)])
def test_all_bad(load: Load, on_all_bad: str, code: int) -> None:
    with embedded("0s: error=UNAVAILABLE@50%", "0s: error=UNAVAILABLE@50%") as (a, b):
        result = load(
            a.url,
            b.url,
            duration_ns=16 * S,
            switching={"on_all_bad": on_all_bad, "dwell_ns": S},
            allow_invalid=True,
        )
    assert result.exit_code == code
    assert "all_bad" in codes(result)
    assert len(result.summary.switches) == 1
    assert (result.summary.plan.cut_ns is None) == (on_all_bad == "stay")


def test_flapping_stays_after_three_switches(load: Load) -> None:
    with embedded("0s: hang", "0s: hang") as (a, b):
        result = load(
            a.url, b.url, duration_ns=12 * S, switching={"cool_down_ns": S // 10}, rate=200.0
        )
    assert len(result.summary.switches) == 3
    assert "flapping" in codes(result)


def test_round_robin_is_exact_to_one_for_each_worker(load: Load) -> None:
    with embedded("", "", "") as servers:
        load(*(one.url for one in servers), switching={"policy": "round-robin"}, workers=2)
    rows = load.rows
    for worker in (0, 1):
        mine = rows[(rows["worker"] == worker) & (rows["outcome"] != Outcome.DROPPED)]
        counts = np.bincount(mine["server"], minlength=3)
        assert counts.max() - counts.min() <= 1


def test_weights_are_kept(load: Load, tmp_path: Path) -> None:
    journals = [tmp_path / "a", tmp_path / "b"]
    with (
        EmbeddedServer(ServeConfig(journal=str(journals[0]))) as a,
        EmbeddedServer(ServeConfig(journal=str(journals[1]))) as b,
    ):
        load(a.url, b.url, switching={"policy": "weighted", "weights": (3, 1)})
    counts = [sum(one.startswith(b"s") for one in read_journal(path)["id"]) for path in journals]
    assert abs(counts[0] / sum(counts) - 0.75) < 0.001
    assert np.array_equal(np.bincount(load.rows["server"])[:2], counts)


def test_a_slow_server_gets_little_by_least_outstanding(load: Load) -> None:
    with (
        EmbeddedServer(ServeConfig(latency="10ms")) as a,
        EmbeddedServer(ServeConfig(latency="200ms")) as b,
    ):
        options = {"slo": Slo(threshold_ns=S, limit=0.05, text="1s"), "rate": 1000.0}
        load(a.url, b.url, switching={"policy": "least-outstanding"}, **options)
    share = np.bincount(load.rows["server"], minlength=2)[1] / len(load.rows)
    assert 0.01 < share < 0.1


def test_a_failing_server_is_ejected_and_used_again(load: Load) -> None:
    switching = {"policy": "round-robin", "eject": True, "cool_down_ns": S}
    with embedded("", "1s: error=INTERNAL; 1.8s: ok", "") as (a, b, c):
        result = load(a.url, b.url, c.url, switching=switching, duration_ns=4 * S)
    kinds = [one["event"] for one in load.events if one["event"] in ("eject", "readmit")]
    assert kinds == ["eject", "readmit"]
    assert "ejected" in codes(result)
    rows = load.rows
    times_ns = {one["event"]: one["t_ns"] for one in load.events}
    out = (rows["t_taken_ns"] > times_ns["eject"] + S // 10) & (
        rows["t_taken_ns"] < times_ns["readmit"]
    )
    assert not np.any(rows[out]["server"] == 1)
    assert np.any(rows[rows["t_taken_ns"] > times_ns["readmit"] + S // 10]["server"] == 1)


def test_a_balancing_policy_without_eject_tells_and_stays(load: Load) -> None:
    with embedded("", "1s: hang") as (a, b):
        result = load(a.url, b.url, switching={"policy": "round-robin"})
    assert "failing" in codes(result)
    assert result.summary.switches == []
    assert [one["server"] for one in load.events if one["event"] == "failing"] == [1]


def test_a_missing_standby_is_no_obstacle_if_any_is_enough(load: Load) -> None:
    with embedded("", "") as (a, b):
        missing = a.url
        a.stop()
        result = load(missing, b.url, switching={"require": "any"})
    assert result.summary.totals.ok == result.summary.plan.slots
    assert set(load.rows["server"]) == {1}
    assert "missing" in codes(result)


def test_delays_are_given_from_a_command_too(load: Load) -> None:
    with embedded("", "") as (a, b):
        command = AtCommand(at_ns=S, command=f"kill -STOP {a.pid}")
        try:
            result = load(a.url, b.url, at=(command,))
        finally:
            os.kill(a.pid, 18)
    (switch,) = result.summary.switches
    assert switch.command_ns is not None
    assert S <= switch.command_ns < 1.1 * S
    assert "command (--at)" in result.text
    kinds = [one["event"] for one in load.events]
    assert kinds.index("command") < kinds.index("switch")


def test_header_values_in_commands_never_reach_the_terminal(tmp_path: Path) -> None:
    arguments = ["--rate", "50", "--duration", "500ms", "--warmup", "0s", "-H", "key: s3cr3t"]
    run = bench(tmp_path / "out", *arguments, "--at", "0s: false s3cr3t", "--allow-invalid")
    assert run.process.returncode == 0, run.stderr
    assert "command: false ***" in run.stderr
    assert "command failed, exit code 1: false ***" in run.stderr
    assert "s3cr3t" not in run.stdout + run.stderr
