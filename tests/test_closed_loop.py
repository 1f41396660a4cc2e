"""Whole runs of a closed loop: N in flight, whatever the workers and the servers do."""

import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.switching import embedded
from harness import Bench, BenchConfig, Slo
from harness.bench import Result
from harness.embedded.journal import read_journal
from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.records import Outcome, Reason
from harness.results import directory
from tests.runs import Run, balanced, bench, running

MS = 1_000_000
S = 1_000_000_000
SLO = Slo(threshold_ns=50 * MS, limit=0.05, text="50ms")


def run(out: Path, *urls: str, **options: Any) -> Result:
    """A closed loop of 600 ms, 8 in flight; its books are checked once more."""
    config: dict[str, Any] = {
        "model": "identity",
        "urls": urls,
        "concurrency": 8,
        "duration_ns": 600 * MS,
        "warmup_ns": 0,
        "out": str(out),
    }
    result = Bench(BenchConfig.model_validate(config | options)).run()
    balanced(result.summary.model_dump())
    return result


def rows_of(result: Result) -> NDArray[np.void]:
    rows: NDArray[np.void] = np.load(result.path / "requests.npy")
    return rows


def most_at_once(rows: NDArray[np.void]) -> int:
    """The most requests between being taken and answered."""
    times_ns = np.concatenate([rows["t_taken_ns"], rows["t_done_ns"]])
    steps = np.repeat([1, -1], len(rows))
    # At the same nanosecond an answer frees its place first.
    return int(np.cumsum(steps[np.lexsort((steps, times_ns))]).max())


@pytest.mark.parametrize(
    ("transport", "concurrency", "shares"),
    [
        ("native", 7, [7]),
        ("native", 7, [4, 3]),
        ("native", 1, [1]),
        ("tritonclient", 5, [3, 2]),
    ],
)
def test_n_are_in_flight(
    tmp_path: Path, transport: str, concurrency: int, shares: list[int]
) -> None:
    journal = tmp_path / "journal"
    with EmbeddedServer(ServeConfig(latency="20ms", journal=str(journal))) as server:
        result = run(
            tmp_path / "out",
            server.url,
            concurrency=concurrency,
            workers=len(shares),
            transport=transport,
        )
    summary, rows = result.summary, rows_of(result)
    assert [worker.in_flight_max for worker in summary.workers] == [[n] for n in shares]
    assert most_at_once(rows) == concurrency
    ideal = concurrency / 0.020
    assert 0.4 * ideal < summary.rate.ok <= 1.05 * ideal
    totals = summary.totals
    assert totals.scheduled == totals.ok == summary.plan.slots == len(rows)
    assert (summary.plan.dist, summary.plan.concurrency) == ("closed", concurrency)
    assert (summary.plan.hash, summary.plan.rate, summary.rate.target) == (None, None, None)
    assert np.all(np.diff(rows["slot"]) > 0)
    for worker in summary.workers:
        own = rows["slot"][rows["worker"] == worker.index]
        step = len(shares)
        assert own.tolist() == list(range(worker.index, worker.index + step * worker.taken, step))
    assert np.array_equal(rows["t_sched_ns"], rows["t_taken_ns"])
    assert rows["t_sched_ns"].min() >= 0
    assert rows["t_sched_ns"].max() < 600 * MS
    sent = sorted(one for one in read_journal(journal)["id"] if one.startswith(b"s"))
    assert sent == [f"s{slot:015x}".encode() for slot in rows["slot"]]
    assert f"closed loop, {concurrency} in flight" in result.text


def test_round_robin_shares_n_out(tmp_path: Path) -> None:
    with embedded("", "", latency="5ms") as servers:
        result = run(
            tmp_path / "out",
            *(server.url for server in servers),
            workers=2,
            switching={"policy": "round-robin"},
        )
    handed = [result.summary.per_server[server.url].totals.sent for server in servers]
    assert abs(handed[0] - handed[1]) <= 2
    assert most_at_once(rows_of(result)) == 8


def test_a_hung_server_is_left_and_n_fresh_requests_go_to_the_next(tmp_path: Path) -> None:
    with embedded("300ms: hang", "", latency="5ms") as (a, b):
        result = run(
            tmp_path / "out",
            *(a.url, b.url),
            workers=2,
            slo=SLO,
            duration_ns=S,
            warmup_ns=2 * S,  # no longer a server's first two seconds under load
            request_timeout_ns=S,
        )
    (switch,) = result.summary.switches
    assert switch.rule in ("stalled", "hard-down")
    assert switch.n == switch.x == 8
    hung_ns = 300 * MS
    assert 250 * MS < switch.t_decide_ns - hung_ns < 800 * MS  # S + T, and what a busy machine adds
    rows = rows_of(result)
    left = rows[rows["server"] == 0]
    assert np.count_nonzero(left["outcome"] == Outcome.TIMEOUT) == 8
    fresh = np.sort(rows["t_taken_ns"][rows["server"] == 1])
    assert fresh[7] - switch.t_decide_ns < 100 * MS
    per_server = result.summary.per_server
    assert [per_server[one.url].in_flight_max for one in (a, b)] == [8, 8]
    assert result.summary.totals.violations == 8


@pytest.mark.parametrize("transport", ["native", "tritonclient"])
def test_a_refused_server_is_tried_once_a_millisecond(tmp_path: Path, transport: str) -> None:
    with embedded("200ms: refuse", latency="5ms") as (server,):
        result = run(tmp_path / "out", server.url, concurrency=32, transport=transport)
    rows = rows_of(result)
    errors = rows[rows["outcome"] == Outcome.ERROR]
    # 400 ms are left; those that were in flight fail at once.
    assert 30 < len(errors) <= 400 + 2 * 32
    if transport == "native":
        refused = errors[errors["reason"] == Reason.NO_CONNECTION]
        assert np.diff(refused["t_taken_ns"]).min() >= MS
    assert not result.summary.switches


def test_a_killed_server_is_left(tmp_path: Path) -> None:
    with embedded("", "", latency="5ms") as (a, b):
        result = run(
            tmp_path / "out",
            *(a.url, b.url),
            slo=SLO,
            duration_ns=S,
            at=[{"at_ns": 300 * MS, "command": f"kill -KILL {a.pid}"}],
        )
    (switch,) = result.summary.switches
    assert (switch.from_, switch.to) == (a.url, b.url)
    assert 250 * MS <= switch.t_decide_ns - 300 * MS < S
    rows = rows_of(result)
    assert rows["server"][-1] == 1
    assert rows["outcome"][-1] == Outcome.OK


def test_a_killed_worker_loses_what_it_had_in_flight(tmp_path: Path) -> None:
    def kill_one(one: Run) -> None:
        one.wait_for_slots(50)
        one.workers()[0].kill()

    with EmbeddedServer(ServeConfig(latency="10ms")) as server:
        done = bench(
            tmp_path / "out",
            *("-m", "identity", "-u", server.url, "--concurrency", "8", "--workers", "2"),
            *("--duration", "1s", "--warmup", "0s"),
            while_running=kill_one,
        )
    assert done.process.returncode == 4, done.stderr
    summary, rows = done.summary, done.rows
    balanced(summary)
    totals = summary["totals"]
    assert [one["code"] for one in summary["invalid_reasons"] if one["code"] == "worker_lost"]
    assert 0 < totals["lost"] <= 4
    assert totals["unsent"] == 0
    assert totals["ok"] + totals["lost"] == totals["scheduled"] == len(rows)
    taken = {one["state"]: one["taken"] for one in summary["workers"]}
    assert taken["finished"] > taken["died"]
    assert len(np.unique(rows["slot"])) == len(rows)
    assert rows["slot"][-1] > len(rows)  # the dead worker's last slots are nobody's


@pytest.mark.parametrize("interrupts", [1, 2])
def test_interrupts_cut_it(tmp_path: Path, interrupts: int) -> None:
    # Twice: answers that take 30 s are given up.
    script = "" if interrupts == 1 else "0s: latency=30s@20%"
    options = ("--duration", "30s", "--warmup", "0s")
    with (
        EmbeddedServer(ServeConfig(latency="10ms", script=script)) as server,
        running(
            tmp_path / "out", *("-m", "identity", "-u", server.url, "--concurrency", "8"), *options
        ) as done,
    ):
        done.wait_for_slots(15)
        end_s = time.monotonic() + 10
        done.interrupt()
        if interrupts == 2:
            with pytest.raises(subprocess.TimeoutExpired):  # it drains
                done.process.wait(0.15)
            done.interrupt()
        assert done.finish(10) == 130, done.stderr
        assert time.monotonic() < end_s
    balanced(done.summary)
    totals, plan = done.summary["totals"], done.summary["plan"]
    assert (totals["cancelled"] > 0) == (interrupts == 2)
    assert 0 < plan["cut_ns"] < 20 * S
    assert plan["slots"] == totals["scheduled"] == len(done.rows)
    assert done.rows["t_taken_ns"].max() <= plan["cut_ns"]


def test_without_room_for_rows_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "most_rows", lambda records: 100)
    with EmbeddedServer(ServeConfig(latency="5ms")) as server:
        result = run(tmp_path / "out", server.url)
    assert result.summary.totals.ok == result.summary.plan.slots > 100
    assert "no_records" in {one.code for one in result.verdict.findings}
    assert sorted(one.name for one in result.path.iterdir()) == [
        *("events.jsonl", "report.html", "summary.json", "windows.csv")
    ]
