"""Progress where there is no terminal: one line a second, at most 80 columns."""

from harness.config import NS_PER_S
from harness.progress import Progress
from harness.units import server_letter
from harness.untrusted import clean_text

WIDTH = 80
MOST_LETTERS = 4
MAX_NOTE_CHARS = 400


class Plain:
    """A line for each second of a phase, and one for each note."""

    def __init__(self) -> None:
        self._shown: tuple[str, int] | None = None  # phase and second

    def draw(self, progress: Progress | None, notes: list[str]) -> str:
        """Notes, and the progress if its second is a new one."""
        lines = [clean_text(note, MAX_NOTE_CHARS) for note in notes]
        if progress is not None:
            at = (progress.phase, progress.t_ns // NS_PER_S)
            if at[1] > 0 and at != self._shown:
                self._shown = at
                lines.append(progress_text(progress))
        return "".join(line + "\n" for line in lines)

    def end(self) -> str:
        """Nothing: every line is whole."""
        return ""


def progress_text(progress: Progress) -> str:
    """One report; what does not fit into 80 columns is left out, the last part first."""
    done_s = min(progress.t_ns, progress.duration_ns) / NS_PER_S
    at = "".join(server_letter(one) for one in progress.in_use[:MOST_LETTERS])
    latency = "no answers"
    if progress.p50_ns is not None and progress.p99_ns is not None:
        latency = f"p50 {progress.p50_ns / 1e6:.3g} p99 {progress.p99_ns / 1e6:.3g} ms"
    rate = f"ok {progress.ok}" if progress.ok_rate is None else f"ok {progress.ok_rate:.0f}/s"
    # The cap is of each server.
    capped = len(progress.servers) == 1 and progress.inflight_cap is not None
    cap = f"/{progress.inflight_cap}" if capped else ""
    parts = [
        f"{progress.phase} {done_s:.0f}/{progress.duration_ns / NS_PER_S:g} s",
        at,
        rate,
        latency,
        f"violated {100 * progress.violated:.2f} %",
        f"dropped {progress.dropped}" if progress.dropped else "",
        f"in flight {progress.in_flight}{cap}",
    ]
    text = ""
    for part in filter(None, parts):
        longer = f"{text}  {part}" if text else part
        if len(longer) > WIDTH:
            break
        text = longer
    return text
