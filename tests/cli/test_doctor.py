"""``harness doctor`` through the command line: its output, mistakes, Ctrl-C and a closed pipe."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.grpc_fixture import closed_port
from tests.runs import COMMAND, alive


def brief(search_s: float) -> list[str]:
    """The command, with less time for each part."""
    effort = f"wakeup_s=0.3, gaps_s=0.3, trial_s=0.5, search_s={search_s}"
    return [
        sys.executable,
        "-c",
        f"from harness.doctor import examination as e; e.USUAL = e.Effort({effort})\n"
        "from harness.cli import main; main()",
    ]


END_S = 40.0
ROWS = [
    *("clock source", "governor", "CPUs", "CPU quota", "steal", "wake-up error", "spin gaps"),
    *("path floor", "highest rate", "lateness"),
]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "80"}


def doctor(command: list[str], *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=END_S,
        check=False,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        env={**environment(), "TMPDIR": str(cwd)},
    )


def test_json(tmp_path: Path) -> None:
    before_s = time.monotonic()
    done = doctor(brief(3), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - before_s < END_S / 2
    said = json.loads(done.stdout)
    assert [row["name"] for row in said["rows"]] == ROWS
    for row in said["rows"]:
        assert set(row) == {"name", "value", "verdict", "advice"}
        assert (row["verdict"] == "look") == (row["advice"] is not None)
    facts = said["facts"]
    assert facts["cpu"] in os.sched_getaffinity(0)
    assert facts["clock_read_ns"] > 0
    assert facts["wakeup"]["sleeps"] > 10
    assert facts["gaps"]["seconds"] == 0.3
    assert facts["path_url"] is None
    assert facts["path_floor_ns"] > 0
    trials = facts["capacity"]["trials"]
    assert trials[0]["rate"] == 10_000
    assert all(trial["pacing"] for trial in trials)
    held = [trial["rate"] for trial in trials if trial["fault"] is None]
    assert facts["capacity"]["bracket"]["held"] == max(held, default=None)
    assert "wake-up error" in done.stderr
    assert all(len(line) <= 80 for line in done.stderr.splitlines() if "not held" not in line)
    assert os.listdir(tmp_path) == []


def test_text(tmp_path: Path) -> None:
    done = doctor(brief(0), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("harness doctor  ")
    assert all(len(line) <= 80 for line in lines)
    named = [line[:15].strip() for line in lines[1:-1] if line[:15].strip()]
    assert named == ROWS


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        ("-u localhost", 2, "port"),
        ("-u http://localhost:8001", 2, "scheme"),
        ("-u user:secret@localhost:8001", 2, "credentials"),
        ("-u a:1 -u b:2", 2, "one server"),
        ("--bogus", 2, "--bogus"),
        ("more", 2, "more"),
    ],
)
def test_mistakes_get_one_line(tmp_path: Path, arguments: str, code: int, word: str) -> None:
    done = doctor(COMMAND, *arguments.split(), cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("harness: ")
    assert word in line
    assert "secret" not in line


def test_a_server_that_cannot_be_reached(tmp_path: Path) -> None:
    with closed_port() as url:
        done = doctor(COMMAND, "-u", url, cwd=tmp_path)
    assert done.returncode == 3
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"harness: server {url} refused")


@pytest.mark.parametrize("moment", ["wake-up error", "spin gaps", "highest rate", "/s "])
def test_an_interrupt_ends_it_at_once(tmp_path: Path, moment: str) -> None:
    """Sent to the whole process group, as a terminal does, when the named line has come."""
    process = subprocess.Popen(
        [*brief(3), "doctor"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**environment(), "TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    with process:
        try:
            assert process.stderr is not None
            assert any(moment in line for line in process.stderr)
            children = psutil.Process(process.pid).children(recursive=True)
            os.killpg(process.pid, signal.SIGINT)
            sent_s = time.monotonic()
            output, rest = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 130
    assert time.monotonic() - sent_s < 5
    assert output == ""
    assert rest.splitlines()[-1] == "harness: interrupted by SIGINT; the host is not examined"
    assert "Traceback" not in rest
    assert not any(alive(child) for child in children)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("redirection", ["| true", ">&-", "2>&-"])
def test_closed_streams_are_quiet(tmp_path: Path, redirection: str) -> None:
    words = " ".join(f"'{word}'" for word in brief(0))
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{words} doctor --json {redirection}"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=END_S,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr
