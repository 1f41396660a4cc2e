"""What tests of whole runs share: the command as a child process, and its results."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from harness.records import Outcome, Reason
from harness.results.requests_file import load_requests

START_DEADLINE_S = 20.0
COMMAND = [sys.executable, "-c", "from harness.cli import main; main()"]


class Run:
    """A ``harness bench`` in a child process, its results in ``out``."""

    def __init__(self, out: Path, *arguments: str) -> None:
        self.out = out
        self.process = subprocess.Popen(
            [*COMMAND, "bench", "--no-report", "--out", str(out), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "80", "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.stdout = self.stderr = ""

    def workers(self) -> list[psutil.Process]:
        """Its worker processes that run now."""
        try:
            children = psutil.Process(self.process.pid).children()
            return [one for one in children if "harness.load.worker" in one.cmdline()]
        except psutil.NoSuchProcess:
            return []

    def wait_for_slots(
        self, count: int = 1, outcome: Outcome | None = None, reason: Reason | None = None
    ) -> None:
        """Return when ``count`` final records (of one outcome, for one reason) are in the rows."""
        end_s = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < end_s:
            for path in self.out.glob(".requests.npy.*.tmp"):
                try:
                    rows = np.load(path, mmap_mode="r")[:65536]
                except (OSError, ValueError):
                    continue  # its header is not written yet
                found = rows["outcome"] != Outcome.NONE
                if outcome is not None:
                    found &= rows["outcome"] == outcome
                if reason is not None:
                    found &= rows["reason"] == reason
                if np.count_nonzero(found) >= count:
                    return
            assert self.process.poll() is None, self.finish()
            time.sleep(0.01)
        raise AssertionError(f"no {count} slots within {START_DEADLINE_S} s")

    def interrupt(self) -> None:
        """Send SIGINT to the coordinator alone."""
        self.process.send_signal(signal.SIGINT)

    def finish(self, timeout_s: float = 60.0) -> int:
        """Wait for its end; the exit code."""
        self.stdout, self.stderr = self.process.communicate(timeout=timeout_s)
        return self.process.returncode

    @property
    def summary(self) -> dict[str, Any]:
        """``summary.json``."""
        loaded: dict[str, Any] = json.loads((self.out / "summary.json").read_text())
        return loaded

    @property
    def rows(self) -> Any:
        """``requests.npy``."""
        return load_requests(self.out / "requests.npy")


@contextmanager
def running(out: Path, *arguments: str) -> Iterator[Run]:
    """A run that is killed when the block is left, if it has not ended."""
    run = Run(out, *arguments)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
        if run.process.stdout is not None and not run.process.stdout.closed:
            run.process.communicate()


def alive(process: psutil.Process) -> bool:
    """Whether it still runs; an orphan that nobody has reaped yet does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def bench(
    out: Path,
    *arguments: str,
    timeout_s: float = 60.0,
    while_running: Callable[[Run], object] = lambda run: None,
) -> Run:
    """One whole run; ``while_running`` is called once it has started."""
    with running(out, *arguments) as run:
        while_running(run)
        run.finish(timeout_s)
    return run


def balanced(summary: dict[str, Any]) -> None:
    """The accounting invariants 1 and 2, from the summary alone; the run checked 1 to 5 itself."""
    assert not [r for r in summary["invalid_reasons"] if r["code"] in ("books", "overflow")]
    totals = summary["totals"]
    assert totals["scheduled"] == totals["sent"] + totals["dropped"] + totals["unsent"]
    ended = sum(totals[k] for k in ("ok", "error", "timeout", "cancelled", "lost"))
    assert totals["sent"] == ended
    assert totals["decided"] == totals["in_time"] + totals["violations"]
