"""Progress of a run for people: one line a second on a stream."""

import shutil
from dataclasses import dataclass
from typing import TextIO

from harness.config import NS_PER_S
from harness.units import server_letter

MOST_LETTERS = 4


@dataclass(frozen=True)
class Progress:
    """How a phase stands. Latencies are of answers since the last report, None without any."""

    phase: str  # "warm-up" or "run"
    t_ns: int
    duration_ns: int
    ok: int
    decided: int
    violations: int
    in_flight: int
    p50_ns: int | None
    p99_ns: int | None
    in_use: tuple[int, ...] = ()  # servers the load goes to, where there is more than one


class ProgressLine:
    """Writes each report as a line; on a terminal the line replaces the one before."""

    def __init__(self, stream: TextIO | None) -> None:
        """``stream`` None: closed; a reader that goes away costs the run nothing either."""
        self.stream = stream
        self.in_place = stream is not None and stream.isatty()
        self.open = False

    def __call__(self, progress: Progress) -> None:
        text = progress_text(progress)
        if self.in_place:
            width = min(80, shutil.get_terminal_size().columns) - 1
            self._write("\r" + text[:width].ljust(width))
            self.open = True
        else:
            self._write(text + "\n")

    def note(self, text: str) -> None:
        """A line of its own that stays."""
        self.close()
        self._write(text + "\n")

    def close(self) -> None:
        """Leave the line standing."""
        if self.open:
            self._write("\n")
            self.open = False

    def _write(self, text: str) -> None:
        if self.stream is None:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError:
            self.stream = None


def progress_text(progress: Progress) -> str:
    """One report in at most 80 columns."""
    share = 100 * progress.violations / progress.decided if progress.decided else 0.0
    latency = "no answers"
    if progress.p50_ns is not None and progress.p99_ns is not None:
        latency = f"p50 {progress.p50_ns / 1e6:.3g} p99 {progress.p99_ns / 1e6:.3g} ms"
    done_s = min(progress.t_ns, progress.duration_ns) / NS_PER_S
    at = "".join(server_letter(one) for one in progress.in_use[:MOST_LETTERS])
    return (
        f"{progress.phase} {done_s:.0f}/{progress.duration_ns / NS_PER_S:g} s"
        f"{at and '  ' + at}"
        f"  ok {progress.ok}  {latency}"
        f"  violated {share:.2f} %  in flight {progress.in_flight}"
    )
