"""benchmarks/suite/limits.py: real processes that grow, hang, fail, or leave children."""

import os
import signal
import sys
import time

import psutil
import pytest

from benchmarks.suite.limits import Limits, run_limited

MB = 10**6
CPUS = [min(os.sched_getaffinity(0))]


def run_python(tmp_path, code, *, timeout_s=20.0, memory_bytes=500 * MB, **more):
    limits = Limits(timeout_s, memory_bytes, sample_s=0.02)
    return run_limited(
        [sys.executable, "-c", code], limits=limits, cpus=CPUS, folder=tmp_path, **more
    )


def test_a_program_that_grows_is_killed_with_the_figure(tmp_path):
    code = (
        "import time\nheld = []\nwhile True:\n held.append(bytearray(10_000_000)); time.sleep(0.01)"
    )
    ended = run_python(tmp_path, code, memory_bytes=150 * MB)
    assert ended.killed.startswith("killed: 0.")
    assert "GB resident" in ended.trouble
    assert 150 * MB < ended.peak_rss_bytes < 1000 * MB
    assert ended.exit_code == -signal.SIGKILL
    assert ended.wall_s < 15


def test_memory_of_children_counts(tmp_path):
    code = (
        "import subprocess, sys\n"
        "hold = 'x = bytearray(200_000_000); import time; time.sleep(60)'\n"
        "subprocess.run([sys.executable, '-c', hold])"
    )
    ended = run_python(tmp_path, code, memory_bytes=150 * MB)
    assert "GB resident" in ended.killed


def test_a_program_that_hangs_is_killed_and_its_child_with_it(tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    ended = run_python(tmp_path, code, timeout_s=1.5)
    assert ended.killed == "killed: not over after 2 s"
    deadline_s = time.monotonic() + 5
    pid = int(ended.stdout)
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_cpu_time_is_of_the_whole_tree_and_the_cpu_the_one_asked_for(tmp_path):
    burn = "import time\nwhile time.process_time() < 0.4: pass"
    code = (
        "import os, subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {burn!r}])\n"
        "print(sorted(os.sched_getaffinity(0)))"
    )
    ended = run_python(tmp_path, code)
    assert ended.trouble == ""
    assert ended.stdout == f"{CPUS}\n"
    assert 0.4 <= ended.cpu_s < 3
    assert ended.cpu_s <= ended.wall_s + 0.1


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        ("raise SystemExit('it is broken\\x1b[0m')", "exit 1: it is broken[0m"),
        ("raise SystemExit(3)", "exit 3: it said nothing"),
        ("print('no'); raise SystemExit(3)", "exit 3: no"),
        ("pass", ""),
    ],
)
def test_a_failure_is_told_in_a_line(tmp_path, code, trouble):
    assert run_python(tmp_path, code).trouble == trouble


def test_nothing_is_left_when_the_one_who_asked_fails(tmp_path):
    pids = []

    def started(pid):
        pids.append(pid)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_python(tmp_path, "import time; time.sleep(60)", on_start=started)
    assert not psutil.pid_exists(pids[0])
