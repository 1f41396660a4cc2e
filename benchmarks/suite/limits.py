"""One program under limits: pinned, with a deadline and a watch on its memory; what it used."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.host import on_cpus
from harness.untrusted import clean_text

ROOT = Path(__file__).resolve().parents[2]
GB = 10**9
MAX_OUTPUT_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Limits:
    """Wall time, and resident memory of the program and all its descendants."""

    timeout_s: float
    memory_bytes: int = 4 * GB
    sample_s: float = 0.2


@dataclass(frozen=True)
class Ended:
    """A program that is over. ``killed``: by which limit, empty if by none."""

    exit_code: int
    killed: str
    cpu_s: float  # user and system, of every process of its tree that was waited for
    wall_s: float
    started_ns: int  # CLOCK_MONOTONIC, before it was started
    peak_rss_bytes: int
    stdout: str
    stderr: str

    @property
    def trouble(self) -> str:
        """Why its figures are not to be had, in a line; empty if they are."""
        if self.killed:
            return self.killed
        if self.exit_code == 0:
            return ""
        lines = [line for line in (self.stderr or self.stdout).splitlines() if line.strip()]
        return (
            f"exit {self.exit_code}: {clean_text(lines[-1], 120) if lines else 'it said nothing'}"
        )


class MemoryWatch(threading.Thread):
    """Samples the resident memory of a process tree; over ``limit_bytes`` it calls ``kill`` once.

    Shared pages count in each process that has them. ``peak_bytes``: the largest sample;
    ``killed_at_bytes``: the one that was over the limit, else None.
    """

    def __init__(
        self, pid: int, limit_bytes: int, kill: Callable[[], None], sample_s: float = 0.2
    ) -> None:
        super().__init__(daemon=True)
        self.peak_bytes = 0
        self.killed_at_bytes: int | None = None
        self._pid, self._limit_bytes, self._kill = pid, limit_bytes, kill
        self._sample_s = sample_s
        self._over = threading.Event()

    def run(self) -> None:
        """Until the process is gone or ``stop``."""
        while True:
            rss_bytes = tree_rss_bytes(self._pid)
            self.peak_bytes = max(self.peak_bytes, rss_bytes)
            if rss_bytes > self._limit_bytes and self.killed_at_bytes is None:
                self.killed_at_bytes = rss_bytes
                self._kill()
            if self._over.wait(self._sample_s):
                return

    def stop(self) -> None:
        """No more samples, and no kill, after this returns."""
        self._over.set()
        self.join()

    def __enter__(self) -> "MemoryWatch":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def tree_rss_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants; 0 when it is gone."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += one.memory_info().rss
    return total


def run_limited(
    argv: Sequence[str],
    *,
    limits: Limits,
    cpus: Collection[int],
    folder: Path,
    env: Mapping[str, str] | None = None,
    on_start: Callable[[int], None] = lambda pid: None,
) -> Ended:
    """Run a program to its end, or to the first limit it meets, on ``cpus``.

    ``folder`` takes its output. ``on_start`` gets its pid. Nothing of it is left when this returns
    or raises; it ends with this process too, however that ends.
    """
    with (folder / "stdout").open("w+b") as out, (folder / "stderr").open("w+b") as err:
        started_ns = time.monotonic_ns()
        with on_cpus(cpus):
            process = subprocess.Popen(
                [*_dying_with_us(), *argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=env,
                cwd=ROOT,
                start_new_session=True,
            )
        killed = ""
        watch = MemoryWatch(
            process.pid, limits.memory_bytes, lambda: _kill_group(process.pid), limits.sample_s
        )
        pidfd = os.pidfd_open(process.pid)
        try:
            with watch:
                on_start(process.pid)
                if not select.select([pidfd], [], [], limits.timeout_s)[0]:
                    killed = f"killed: not over after {limits.timeout_s:.0f} s"
        finally:
            wall_s = (time.monotonic_ns() - started_ns) / 1e9
            # Not reaped yet, so the group is still its own.
            _kill_group(process.pid)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            os.close(pidfd)
        if watch.killed_at_bytes is not None:
            killed = (
                f"killed: {watch.killed_at_bytes / GB:.1f} GB resident after {wall_s:.1f} s,"
                f" the limit is {limits.memory_bytes / GB:g} GB"
            )
        return Ended(
            process.returncode,
            killed,
            usage.ru_utime + usage.ru_stime,
            wall_s,
            started_ns,
            watch.peak_bytes,
            *(_text(file) for file in (folder / "stdout", folder / "stderr")),
        )


def _dying_with_us() -> list[str]:
    program = shutil.which("setpriv")
    return [program, "--pdeathsig", "KILL", "--"] if program else []


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - MAX_OUTPUT_BYTES))
        return file.read().decode(errors="replace")
