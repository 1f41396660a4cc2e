"""A command on a terminal of its own, as pyte shows it."""

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyte

from tests.runs import COMMAND


class PtyRun:
    """``harness`` with a terminal as stderr, and as stdout unless ``stdout`` says otherwise."""

    def __init__(
        self,
        arguments: Sequence[str],
        columns: int = 80,
        rows: int = 24,
        stdout: int | None = None,
        before: Callable[[int], object] = lambda slave: None,
        cwd: Path | None = None,
        **environment: str,
    ) -> None:
        self.master, self.slave = os.openpty()
        self.screen = pyte.HistoryScreen(columns, rows, history=1000)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.resize(columns, rows)
        self.modes: list[Any] = termios.tcgetattr(self.slave)
        before(self.slave)
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self.slave if stdout is None else stdout,
            stderr=self.slave,
            start_new_session=True,
            cwd=cwd,
            env={
                **{name: value for name, value in os.environ.items() if name != "NO_COLOR"},
                "PYTHONPATH": os.pathsep.join(sys.path),
                "TERM": "xterm-256color",
                **environment,
            },
        )

    def resize(self, columns: int, rows: int) -> None:
        """As a person does it to the window."""
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def read(self, wait_s: float = 0.02) -> None:
        """Show what has been written."""
        while select.select([self.master], [], [], wait_s)[0]:
            data = os.read(self.master, 1 << 16)
            self.raw += data
            self.stream.feed(data)
            wait_s = 0

    @property
    def lines(self) -> list[str]:
        """What stands on the screen."""
        return [line.rstrip() for line in self.screen.display if line.strip()]

    def until(self, condition: Callable[[list[str]], object], timeout_s: float = 30.0) -> list[str]:
        """Show what is written until the lines on the screen are so."""
        end_s = time.monotonic() + timeout_s
        while not condition(self.lines):
            assert time.monotonic() < end_s, "\n".join(self.lines)
            self.read()
            if self.process.poll() is not None:
                self.read()
                assert condition(self.lines), "\n".join(self.lines)
        return self.lines

    def end(self, timeout_s: float = 30.0) -> int:
        """Show all there is until the process ends; its exit code."""
        end_s = time.monotonic() + timeout_s
        while self.process.poll() is None:
            assert time.monotonic() < end_s, "\n".join(self.lines)
            self.read()
        self.read()
        return self.process.returncode

    def interrupt(self) -> None:
        """Send SIGINT to the process alone."""
        self.process.send_signal(signal.SIGINT)


@contextmanager
def on_a_terminal(*arguments: str, **options: Any) -> Iterator[PtyRun]:
    """A command on a terminal; it is killed when the block is left, if it has not ended."""
    run = PtyRun(arguments, **options)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
        run.process.wait()
        os.close(run.master)
        os.close(run.slave)
