"""What is written of a run while it lasts, from a thread of its own."""

import errno
import os
import select
import threading
from collections import deque
from typing import Protocol, Self, TextIO

from harness.live.plain import Plain
from harness.progress import Progress

DRAW_EVERY_S = 0.5
CLOSE_S = 2.0
"""How long the end of a run waits for a reader that takes nothing."""
READER_S = 1.0
MOST_WAITING = 10_000
"""Lines kept for a reader that takes nothing; the oldest go first."""


class Renderer(Protocol):
    """Turns what there is to show into text; called from one thread at a time."""

    def draw(self, progress: Progress | None, notes: list[str]) -> str:
        """``notes`` are lines that stay, each given once; ``progress`` may be as before."""

    def end(self) -> str:
        """What leaves the stream fit for others to write to."""


class Display:
    """Shows progress and notes; nobody who calls it ever waits for the reader.

    The latest progress wins. ``fd`` None: nothing is shown.
    """

    def __init__(self, fd: int | None, renderer: Renderer, encoding: str = "utf-8") -> None:
        self._fd = fd
        self._renderer = renderer
        self._encoding = encoding
        self._latest: Progress | None = None
        self._notes: deque[str] = deque(maxlen=MOST_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._over = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, progress: Progress) -> None:
        """Show a snapshot of the run."""
        self._latest = progress
        if self._thread is None and self._fd is not None:
            with self._lock:
                # Not before: it runs on its maker's CPUs, which by now are not the workers'.
                self._thread = threading.Thread(target=self._run, name="display", daemon=True)
                self._thread.start()

    def note(self, text: str) -> None:
        """A line that stays. Before the first progress it is written at once."""
        with self._lock:
            self._notes.append(text)
            if self._thread is None:
                self._draw()

    def close(self) -> None:
        """Show what is left and leave the stream to others."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(CLOSE_S)
        elif self._fd is not None:
            self._write(self._renderer.end())
        self._fd = None

    def _run(self) -> None:
        while not self._over.wait(DRAW_EVERY_S):
            self._draw()
        self._draw()
        self._write(self._renderer.end())

    def _draw(self) -> None:
        notes = [self._notes.popleft() for _ in range(len(self._notes))]
        self._write(self._renderer.draw(self._latest, notes))

    def _write(self, text: str) -> None:
        """Past Python's buffers: their locks, once a thread hangs in one, hold up the exit."""
        left = text.encode(self._encoding, "replace")
        while left and (fd := self._fd) is not None:
            try:
                left = left[os.write(fd, left) :]
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    self._fd = None  # a reader that has gone costs the run nothing
                    return
                select.select([], [fd], [], READER_S)


class Nothing:
    """The renderer of ``--quiet``."""

    def draw(self, progress: Progress | None, notes: list[str]) -> str:
        """Nothing."""
        return ""

    def end(self) -> str:
        """Nothing."""
        return ""


def make_display(stream: TextIO | None, quiet: bool = False) -> Display:
    """For ``stream``: the live view on a terminal, else a line a second; None if it is closed."""
    fd = None
    if stream is not None and not quiet:
        try:
            stream.flush()
            fd = stream.fileno()
        except (OSError, ValueError):
            fd = None
    if stream is None or fd is None:
        return Display(None, Nothing())
    encoding = stream.encoding or "utf-8"
    if os.isatty(fd) and os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown"):
        # rich takes a while to import.
        from harness.live.terminal import Terminal

        return Display(fd, Terminal(fd, encoding), encoding)
    return Display(fd, Plain(), encoding)
