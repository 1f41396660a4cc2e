"""Commands at plan times: started when due, never waited for, secrets taken out of their events."""

import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from harness.config import NS_PER_S, AtCommand, BenchConfig
from harness.load import commands
from harness.load.commands import AtCommands
from harness.results.books import check_books
from harness.results.directory import prepare
from harness.results.findings import judge
from harness.results.summarize import build_summary
from tests.synthetic import synthetic_run

Turner = Callable[..., list[dict[str, Any]]]
DEADLINE_S = 10.0


def at(at_ns: int, command: str) -> AtCommand:
    return AtCommand(at_ns=at_ns, command=command)


@pytest.fixture
def turn_until_ended() -> Turner:
    """Turns as a coordinator would, from plan time 0 on; the events until so many have ended."""

    def turn(one: AtCommands, ended: int = 1) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        t_start_ns = time.monotonic_ns()
        while sum(event["event"] == "command_ended" for event in events) < ended:
            assert time.monotonic_ns() - t_start_ns < DEADLINE_S * NS_PER_S, events
            events += one.turn(time.monotonic_ns() - t_start_ns)
            time.sleep(0.005)
        return events

    return turn


@pytest.fixture
def session_of() -> Iterator[Callable[[Path], int]]:
    """The pid in a file that a command writes; its whole session is killed in the end."""
    found: list[int] = []

    def read(path: Path) -> int:
        t_end_s = time.monotonic() + DEADLINE_S
        while not path.exists() or not path.read_text().endswith("\n"):
            assert time.monotonic() < t_end_s
            time.sleep(0.005)
        found.append(int(path.read_text()))
        return found[-1]

    yield read
    for pid in found:
        os.killpg(pid, signal.SIGKILL)


def test_each_starts_when_its_time_has_come(tmp_path: Path, turn_until_ended: Turner) -> None:
    given = [
        at(200_000_000, f"echo second >> {tmp_path / 'log'}; exit 7"),
        at(50_000_000, f"echo first >> {tmp_path / 'log'}; kill -9 $$"),
    ]
    events = turn_until_ended(AtCommands(given), 2)
    assert [event["event"] for event in events] == ["command", "command_ended"] * 2
    assert (tmp_path / "log").read_text() == "first\nsecond\n"
    for started, ended, one, code in zip(
        events[::2], events[1::2], reversed(given), (-signal.SIGKILL, 7), strict=True
    ):
        assert started == {
            "event": "command",
            "t_ns": started["t_ns"],
            "at_ns": one.at_ns,
            "command": one.command,
        }
        assert one.at_ns <= started["t_ns"] < one.at_ns + NS_PER_S
        assert ended == {
            "event": "command_ended",
            "t_ns": ended["t_ns"],
            "command": one.command,
            "exit_code": code,
        }
        assert ended["t_ns"] > started["t_ns"]


def test_nothing_before_its_time_and_nothing_twice() -> None:
    one = AtCommands([at(10, "true"), at(10, "false")])
    assert one.turn(9) == []
    started = [event["command"] for event in one.turn(10) if event["event"] == "command"]
    assert started == ["true", "false"]
    assert not [event for event in one.turn(11) if event["event"] == "command"]
    assert AtCommands([]).turn(0) == []
    assert AtCommands([at(10, "true")]).close() == []


def test_what_a_command_is_started_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turn_until_ended: Turner
) -> None:
    monkeypatch.setenv("AT_COMMAND_TEST", "inherited")
    report = tmp_path / "report"
    script = (
        "{ cut -d' ' -f1,6 /proc/$$/stat; echo $AT_COMMAND_TEST; readlink /proc/$$/fd/0;"
        f" ls /proc/$$/fd; }} > {report}"
    )
    with open(os.devnull) as one:
        kept = fcntl.fcntl(one.fileno(), fcntl.F_DUPFD, 200)
    try:
        os.set_inheritable(kept, True)
        turn_until_ended(AtCommands([at(0, f"echo out; echo err >&2; {script}")]))
    finally:
        os.close(kept)
    ids, environment, stdin, *descriptors = report.read_text().splitlines()
    pid, session = ids.split()
    assert pid == session != str(os.getsid(0))
    assert environment == "inherited"
    assert stdin == "/dev/null"
    assert {"0", "1", "2"} <= set(descriptors)
    assert str(kept) not in descriptors


def test_cpus_are_the_commands_own(tmp_path: Path, turn_until_ended: Turner) -> None:
    usable = os.sched_getaffinity(0)
    report = tmp_path / "report"
    os.sched_setaffinity(0, {min(usable)})
    try:
        line = f"sed -n 's/^Cpus_allowed:\\s*//p' /proc/$$/status > {report}"
        turn_until_ended(AtCommands([at(0, line)], usable))
        assert os.sched_getaffinity(0) == {min(usable)}
    finally:
        os.sched_setaffinity(0, usable)
    mask = int(report.read_text().replace(",", ""), 16)
    assert {cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1} == usable


def test_what_still_runs_is_left_alone(tmp_path: Path, session_of: Callable[[Path], int]) -> None:
    command = f"echo $$ > {tmp_path / 'pid'}; sleep 60"
    one = AtCommands([at(0, command), at(NS_PER_S, "never started")])
    t_start_s = time.monotonic()
    assert [event["event"] for event in one.turn(0)] == ["command"]
    pid = session_of(tmp_path / "pid")
    assert one.turn(1000) == []
    events = one.close()
    assert time.monotonic() - t_start_s < DEADLINE_S
    assert events == [{"event": "command_running", "t_ns": events[0]["t_ns"], "command": command}]
    assert events[0]["t_ns"] > 0
    assert one.close() == []
    os.kill(pid, 0)


def test_a_shell_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "SHELL", "/nonexistent/sh")
    started, ended = AtCommands([at(0, "true")]).turn(0)
    assert started["event"] == "command"
    assert ended["event"] == "command_ended"
    assert ended["exit_code"] is None
    assert ended["error"] == "No such file or directory"


def test_no_secret_of_a_header_is_written(tmp_path: Path, turn_until_ended: Turner) -> None:
    command = "true 'authorization: Bearer hunter22secret'"
    run = synthetic_run(
        config={
            "headers": (("authorization", SecretStr("Bearer hunter22secret")),),
            "at": (at(0, command),),
        }
    )
    run.events = turn_until_ended(AtCommands(run.config.at))
    run.argv = ["harness", "bench", "--at", f"0s: {command}"]
    asked = BenchConfig(model="identity", out=str(tmp_path / "out"), records="none")
    directory = prepare(asked, run.plan.slots)
    directory.write(run, build_summary(run, judge(run, check_books(run))))
    written = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert {"events.jsonl", "summary.json"} <= set(written)
    assert not [name for name, text in written.items() if "hunter22secret" in text]
    events = [json.loads(line) for line in written["events.jsonl"].splitlines()]
    assert [event["command"] for event in events] == ["true 'authorization: ***'"] * 2
    config = json.loads(written["summary.json"])["config"]
    assert config["at"] == [{"at_ns": 0, "command": "true 'authorization: ***'"}]
