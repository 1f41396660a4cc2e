"""Runs in which a process is killed, stopped or interrupted: the books balance all the same."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.records import Decision, Flag, Outcome, Reason
from tests.runs import alive, balanced, bench, running

REPEATS = int(os.environ.get("HARNESS_REPEATS", "3"))
"""How often the tests at random moments are run."""

BASE = ("-m", "identity", "--dist", "poisson", "--warmup", "0s", "--spin", "never")


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(ServeConfig(latency="5ms")) as one:
        yield one


@pytest.mark.parametrize("repeat", range(REPEATS))
def test_killed_worker_leaves_a_finished_marked_run(
    tmp_path: Path, server: EmbeddedServer, repeat: int
) -> None:
    arguments = (*BASE, "-u", server.url, "--rate", "2000", "--duration", "2s", "--workers", "2")
    with running(tmp_path / "out", *arguments, "--timeout", "2s") as run:
        run.wait_for_slots(50 + 100 * (repeat % 20))
        run.workers()[repeat % 2].kill()
        code = run.finish()
    assert code == 4, run.stderr
    summary = run.summary
    balanced(summary)
    assert not summary["valid"]
    assert "worker" in str(summary["invalid_reasons"])
    totals = summary["totals"]
    assert totals["scheduled"] == summary["plan"]["slots"]
    assert totals["unsent"] > 0
    assert totals["ok"] + totals["lost"] + totals["unsent"] == totals["scheduled"]
    rows = run.rows
    made = rows[rows["flags"] & Flag.MADE != 0]
    assert set(np.unique(made["outcome"])) <= {Outcome.LOST, Outcome.UNSENT}
    assert len(set(made["worker"])) == 1
    survivor = rows[rows["worker"] != made["worker"][0]]
    assert np.all(survivor["outcome"] == Outcome.OK)


@pytest.mark.parametrize("repeat", range(REPEATS))
def test_killed_coordinator_leaves_nothing(
    tmp_path: Path,
    server: EmbeddedServer,
    repeat: int,
    wait_until: Callable[..., None],
) -> None:
    names = set(os.listdir("/dev/shm"))
    arguments = (*BASE, "-u", server.url, "--rate", "2000", "--duration", "20s", "--workers", "2")
    with running(tmp_path / "out", *arguments) as run:
        run.wait_for_slots(20 + 100 * (repeat % 20))
        workers = run.workers()
        assert len(workers) == 2
        run.process.kill()
        run.finish()
    wait_until(lambda: not any(map(alive, workers)), 1.0, "workers are gone")
    assert not {name for name in set(os.listdir("/dev/shm")) - names if "harness" in name}


@pytest.mark.parametrize("repeat", range(REPEATS))
def test_one_interrupt_drains_and_writes(
    tmp_path: Path, server: EmbeddedServer, repeat: int
) -> None:
    arguments = (*BASE, "-u", server.url, "--rate", "1000", "--duration", "30s")
    with running(tmp_path / "out", *arguments) as run:
        run.wait_for_slots(1 + 50 * (repeat % 20))
        run.interrupt()
        code = run.finish(10)
    assert code == 130, run.stderr
    summary = run.summary
    balanced(summary)
    totals = summary["totals"]
    assert totals["cancelled"] == 0
    assert totals["ok"] == totals["scheduled"] == len(run.rows)
    assert totals["scheduled"] < summary["plan"]["slots"]
    assert run.rows["t_sched_ns"].max() <= summary["plan"]["cut_ns"]
    assert "interrupted" in str(summary["invalid_reasons"])
    cut_ns = summary["plan"]["cut_ns"]
    inside = np.count_nonzero(
        (run.rows["outcome"] == Outcome.OK) & (run.rows["t_done_ns"] < cut_ns)
    )
    assert summary["rate"]["ok"] == pytest.approx(inside / (cut_ns / 1e9))


@pytest.mark.parametrize("repeat", range(REPEATS))
def test_second_interrupt_ends_at_once(tmp_path: Path, repeat: int) -> None:
    with EmbeddedServer(ServeConfig(script="500ms: hang")) as server:
        arguments = (*BASE, "-u", server.url, "--rate", "500", "--duration", "30s")
        with running(tmp_path / "out", *arguments, "--slo", "100ms") as run:
            run.wait_for_slots(20)
            # Once overdue ones are in the books, one interrupt would wait for their deadline.
            run.wait_for_slots(1, Outcome.DROPPED, Reason.BACKPRESSURE)
            run.interrupt()
            time.sleep(0.1 + 0.02 * (repeat % 20))
            assert run.process.poll() is None
            t_second_s = time.monotonic()
            run.interrupt()
            code = run.finish(10)
            took_s = time.monotonic() - t_second_s
    assert code == 130, run.stderr
    assert took_s < 1.0
    summary = run.summary
    balanced(summary)
    assert summary["totals"]["cancelled"] > 0
    assert summary["totals"]["timeout"] == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("after_s", [0.3, 0.5, 0.8])
def test_a_signal_before_slot_0_leaves_nothing(
    tmp_path: Path, server: EmbeddedServer, number: signal.Signals, code: int, after_s: float
) -> None:
    arguments = ("-m", "identity", "-u", server.url, "--warmup", "20s")
    with running(tmp_path / "out", *arguments) as run:
        time.sleep(after_s)  # anywhere between start and warm-up
        run.process.send_signal(number)
        ended = run.finish(10)
    assert ended in (code, -number)  # the interpreter itself may still have been starting
    assert not (tmp_path / "out").exists()


def test_terminated_run_exits_143(tmp_path: Path, server: EmbeddedServer) -> None:
    arguments = (*BASE, "-u", server.url, "--rate", "1000", "--duration", "30s")
    with running(tmp_path / "out", *arguments) as run:
        run.wait_for_slots(100)
        run.process.send_signal(signal.SIGTERM)
        assert run.finish(10) == 143, run.stderr
    balanced(run.summary)


@pytest.mark.parametrize("transport", ["native", "tritonclient"])
def test_hung_server_is_accounted_for(tmp_path: Path, transport: str) -> None:
    with EmbeddedServer(ServeConfig(script="1.5s: hang")) as server:
        t_start_s = time.monotonic()
        run = bench(
            tmp_path / "out",
            *(*BASE, "-u", server.url, "--rate", "200", "--duration", "3s", "--slo", "50ms"),
            *("--timeout", "1500ms", "--transport", transport, "--allow-invalid"),
        )
        took_s = time.monotonic() - t_start_s
    summary = run.summary
    balanced(summary)
    assert took_s < 3 + 1.5 + 1 + 3  # duration, deadline, 1 s, and start-up on a busy machine
    totals = summary["totals"]
    assert totals["timeout"] > 0
    assert totals["ok"] + totals["timeout"] + totals["dropped"] == totals["scheduled"]
    assert summary["response_ns"]["p99"] is None
    assert ">1.5 s" in run.stdout or ">2 s" in run.stdout
    rows = run.rows
    late = rows[rows["outcome"] == Outcome.TIMEOUT]
    assert np.all(late["decision"] == Decision.SLOW)
    assert np.all(late["flags"] & Flag.OVERDUE != 0)
    assert np.all(late["t_done_ns"] == -1)


def test_stopped_worker_is_late_itself_and_nothing_is_lost(
    tmp_path: Path, server: EmbeddedServer
) -> None:
    arguments = (*BASE, "-u", server.url, "--rate", "500", "--duration", "4s", "--slo", "50ms")
    with running(tmp_path / "out", *arguments) as run:
        run.wait_for_slots(100)
        worker = run.workers()[0]
        worker.suspend()
        time.sleep(1.0)
        worker.resume()
        code = run.finish()
    assert code == 4, run.stderr
    summary = run.summary
    balanced(summary)
    totals = summary["totals"]
    assert totals["dropped_client"] > 100
    assert totals["lost"] == totals["unsent"] == 0
    assert totals["scheduled"] == summary["plan"]["slots"]
    assert summary["workers"][0]["max_loop_gap_ns"] > 900_000_000


def test_embedded_servers_of_a_killed_run_go_with_it(
    tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    with running(tmp_path / "out", *BASE, "--duration", "20s", "--rate", "500") as run:
        run.wait_for_slots(10)
        children = psutil.Process(run.process.pid).children(recursive=True)
        assert len(children) == 3
        run.process.kill()
        run.finish()
    wait_until(lambda: not any(map(alive, children)), 2.0, "children are gone")
