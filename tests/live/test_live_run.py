"""Runs on a terminal: what stands on it meanwhile, what is left on it, and what it costs."""

import contextlib
import json
import os
import re
import select
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyte

from harness.embedded.server import EmbeddedServer, ServeConfig
from tests.live.pty_run import PtyRun, on_a_terminal
from tests.runs import balanced, bench

OPTIONS = (
    *("-m", "identity", "--dist", "poisson", "--rate", "500", "--slo", "50ms", "--timeout", "1s"),
    *("--warmup", "0s", "--spin", "never", "--allow-invalid"),
)


@contextmanager
def two_servers(script: str = "") -> Iterator[tuple[str, ...]]:
    """The options for two servers, of which the first has a fault."""
    with EmbeddedServer(ServeConfig(script=script)) as one, EmbeddedServer() as other:
        yield ("-u", one.url, "-u", other.url)


def restored(run: PtyRun) -> None:
    """The terminal is as it was before."""
    assert termios.tcgetattr(run.slave) == run.modes
    assert not run.screen.cursor.hidden
    assert run.screen.cursor.attrs == pyte.screens.Char(" ")
    assert run.screen.cursor.x == 0


def test_a_switch_on_a_terminal(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (
        two_servers("1500ms: hang") as urls,
        on_a_terminal("bench", *OPTIONS, *urls, "--duration", "5s", "--out", str(out)) as run,
    ):
        lines = run.until(lambda lines: any("cooling down" in line for line in lines))
        text = "\n".join(lines)
        assert len(lines) <= 24
        for label in ("run ", "load ", "response ", "violated ", "so far "):
            assert sum(line.startswith(label) for line in lines) == 1, text
        assert "━" in text
        assert "identity   poisson   target 500/s   sent " in text
        assert "limit 5 %, last 5s" in text
        assert "OK answers, last 3 s" in text
        assert f"server A  {urls[1]}" in text
        assert any(line.startswith(f"server B  {urls[3]}   active") for line in lines), text
        switch = next(line for line in lines if "switch A -> B" in line)
        run.resize(60, 20)
        wrapped = " " * 10 + "in flight"
        narrow = run.until(lambda lines: any(line.startswith(wrapped) for line in lines))
        assert "".join(switch.split()) in "".join("".join(narrow).split())
        assert sum(line.startswith("run ") for line in narrow) == 1
        run.resize(80, 24)
        assert run.end() == 0
        restored(run)
        shown = ["".join(row[n].data for n in range(80)).rstrip() for row in run.screen.history.top]
        assert any("VALID" in line for line in [*shown, *run.lines])
        assert not any(line.startswith("so far ") for line in run.lines)


def test_interrupted(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (
        two_servers() as urls,
        on_a_terminal(
            "bench", *OPTIONS, *urls, "--duration", "60s", "--out", str(out), rows=50
        ) as run,
    ):
        run.until(lambda lines: any("of 60 s" in line and " 0 s" not in line for line in lines))
        run.interrupt()
        assert run.end() == 130
        restored(run)
        assert any("SIGINT" in line for line in run.lines)
        assert not any(line.startswith("so far ") for line in run.lines)
    balanced(json.loads((out / "summary.json").read_text()))


def test_an_error_leaves_one_line(tmp_path: Path) -> None:
    with on_a_terminal("bench", "-m", "identity", "-u", "localhost:1", "--out", "x") as run:
        assert run.end() == 3
        restored(run)
        assert run.lines[0].startswith("harness: ")


def test_no_colour_and_dumb_terminals(tmp_path: Path) -> None:
    for name, variables in enumerate(({"NO_COLOR": "1"}, {"TERM": "dumb"})):
        out = tmp_path / str(name)
        arguments = ("bench", *OPTIONS, "--duration", "1500ms", "--out", str(out))
        with two_servers() as urls, on_a_terminal(*arguments, *urls, **variables) as run:
            assert run.end() == 0
            assert re.search(rb"\x1b\[[0-9;]*[34][0-9]m", run.raw) is None
            assert (b"\x1b" in run.raw) == (name == 0)
            assert name == 0 or b"run 1/1.5 s  A  ok " in run.raw


def fill(slave: int) -> None:
    """Until nothing more can be written, as if it were stopped."""
    os.set_blocking(slave, False)
    # What is written moves on inside the kernel, so that there is room again a moment later.
    while select.select([], [slave], [], 0.3)[1]:
        with contextlib.suppress(BlockingIOError):
            os.write(slave, b"." * 100)
    os.set_blocking(slave, True)


def test_a_terminal_that_takes_nothing_delays_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (
        two_servers("1500ms: hang") as urls,
        on_a_terminal(
            *("bench", *OPTIONS, *urls, "--duration", "4s", "--out", str(out)),
            stdout=subprocess.DEVNULL,
            before=fill,
        ) as run,
    ):
        assert run.process.wait(30) == 0
        t_ended_s = time.time()
        run.read()
        assert set(run.raw) == {ord(".")}, "it was not stopped"
    summary = json.loads((out / "summary.json").read_text())
    balanced(summary)
    assert t_ended_s - (out / "summary.json").stat().st_mtime < 4
    (switch,) = summary["switches"]
    assert switch["t_decide_ns"] - switch["t_onset_ns"] < 1_500_000_000


def test_quiet(tmp_path: Path) -> None:
    with two_servers("500ms: hang") as urls:
        run = bench(tmp_path / "out", *OPTIONS, *urls, "--duration", "1500ms", "--quiet")
    assert run.process.returncode == 0
    assert run.stderr == ""
    assert "switch A -> B" in run.stdout


def test_json(tmp_path: Path) -> None:
    with two_servers() as urls:
        run = bench(tmp_path / "out", *OPTIONS, *urls, "--duration", "1500ms", "--json")
    assert run.process.returncode == 0
    assert run.stdout == (tmp_path / "out" / "summary.json").read_text()
    assert "requests/s" in run.stderr
    assert "\nrun 1/1.5 s" in "\n" + run.stderr


def test_json_of_repeats_is_a_line_each(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--duration", "300ms", "--repeat", "2", "--json", "--quiet")
    with two_servers() as urls:
        run = bench(out, *OPTIONS, *urls, *arguments)
    assert run.process.returncode == 0
    assert run.stderr == ""
    stored = [json.loads((out / name / "summary.json").read_text()) for name in ("01", "02")]
    assert [json.loads(line) for line in run.stdout.splitlines()] == stored


def test_no_json_of_a_run_that_did_not_start(tmp_path: Path) -> None:
    run = bench(tmp_path / "out", "-m", "identity", "-u", "localhost:1", "--json", "--quiet")
    assert run.process.returncode == 3
    assert run.stdout == ""
    assert run.stderr.startswith("harness: ")
    assert run.stderr.count("\n") == 1
