"""A results directory as it was left: checked before anything is made of it.

Its files may come from anybody: what does not fit is refused in one line, what is not there is
said, and names in them are data.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.config import NS_PER_S
from harness.errors import UsageError
from harness.records import ABSENT_NS, NO_SERVER, Decision, Outcome, Reason
from harness.results import events_file, requests_file, windows_file
from harness.results.bounds import MOST
from harness.results.events_file import load_events
from harness.results.requests_file import load_requests, release_rows
from harness.results.summary import Summary, load_summary
from harness.results.windows_file import Windows, load_windows
from harness.untrusted import clean_text

CHUNK_ROWS = 1 << 18
TIMES = ("t_taken_ns", "t_sent_ns", "t_first_ns", "t_done_ns")
MAX_STATUS = 16
"""The highest gRPC code."""


@dataclass(frozen=True)
class StoredRun:
    """A run that was read back. ``windows`` and ``events`` are None where there is no file.

    ``missing``: what is not there, in words for people.
    """

    path: Path
    summary: Summary
    windows: Windows | None
    events: list[dict[str, Any]] | None
    missing: tuple[str, ...]

    @cached_property
    def rows(self) -> NDArray[np.void] | None:
        """RECORD per slot, mapped read-only and checked; None where no records were kept.

        Raises UsageError.
        """
        if unbalanced(self.summary) or not (self.path / requests_file.NAME).exists():
            return None
        rows = load_requests(self.path)
        _check_rows(rows, self.summary, f"{requests_file.NAME} in '{clean_text(str(self.path))}'")
        return rows

    @property
    def end_ns(self) -> int:
        """The end of the planned time, or the cut."""
        return end_ns(self.summary)

    @property
    def urls(self) -> list[str]:
        """The servers, in order; server i of a row or window is the i-th."""
        return urls(self.summary)


def load_run(path: Path) -> StoredRun:
    """Read a results directory. Raises UsageError: one line that names the file at fault."""
    summary = load_summary(path)
    if not path.is_dir():
        raise UsageError(
            f"'{clean_text(str(path))}' is no results directory; give the directory the file is in"
        )
    missing = []
    windows, events = None, None
    if unbalanced(summary):
        missing.append("nothing but the summary: the books of this run do not balance")
        return StoredRun(path, summary, None, None, tuple(missing))
    if (path / windows_file.NAME).exists():
        windows = load_windows(path, urls(summary), end_ns(summary))
        _check_windows(windows, summary, f"{windows_file.NAME} in '{clean_text(str(path))}'")
    else:
        missing.append(f"no {windows_file.NAME}: nothing over time")
    if (path / events_file.NAME).exists():
        events = load_events(path)
    else:
        missing.append(f"no {events_file.NAME}: no events")
    if not (path / requests_file.NAME).exists():
        missing.append(f"no {requests_file.NAME}: no single requests")
    return StoredRun(path, summary, windows, events, tuple(missing))


def unbalanced(summary: Summary) -> bool:
    """Whether its slots are not accounted for, so that its files cannot fit each other."""
    return any(reason.code == "books" for reason in summary.invalid_reasons)


def urls(summary: Summary) -> list[str]:
    """The servers, in order."""
    return [str(server.get("url")) for server in summary.servers]


def end_ns(summary: Summary) -> int:
    """The end of the planned time, or the cut; 1 at least."""
    planned_ns = round(summary.plan.duration_s * NS_PER_S)
    cut_ns = summary.plan.cut_ns
    return max(1, planned_ns if cut_ns is None else min(planned_ns, cut_ns))


def _check_windows(windows: Windows, summary: Summary, shown: str) -> None:
    for name in ("decided", "violations", "ok", "client_late"):
        there, here = int(getattr(windows, name).sum()), getattr(summary.totals, name)
        if there != here:
            raise UsageError(f"{shown} is not of this run: {there} {name} in it, {here} in all")


def _check_rows(rows: NDArray[np.void], summary: Summary, shown: str) -> None:
    """Every row within its ranges, and as many of each outcome as the summary says."""
    servers = len(summary.servers)
    counts = np.zeros(max(Outcome) + 1, np.int64)
    last_slot = -1
    for first in range(0, len(rows), CHUNK_ROWS):
        part = rows[first : first + CHUNK_ROWS]
        slots = part["slot"]
        fits = (part["outcome"] >= Outcome.OK) & (part["outcome"] <= max(Outcome))
        fits &= (part["decision"] <= max(Decision)) & (part["reason"] <= max(Reason))
        fits &= (part["status"] <= MAX_STATUS) & (part["worker"] < max(1, len(summary.workers)))
        fits &= (part["server"] < servers) | (part["server"] == NO_SERVER)
        fits &= (part["t_sched_ns"] >= 0) & (part["t_sched_ns"] <= MOST)
        for name in TIMES:
            fits &= (part[name] >= ABSENT_NS) & (part[name] <= MOST)
        fits &= (slots <= MOST) & (np.diff(slots, prepend=last_slot) > 0)
        fits &= (part["outcome"] != Outcome.OK) | (part["t_done_ns"] >= part["t_sched_ns"])
        if not fits.all():
            row = first + int(fits.argmin())
            raise UsageError(f"{shown} is damaged: row {row} is out of its range")
        last_slot = int(slots[-1])
        counts += np.bincount(part["outcome"], minlength=len(counts))
        release_rows(rows)
    for outcome, name in (
        *((Outcome.OK, "ok"), (Outcome.ERROR, "error"), (Outcome.TIMEOUT, "timeout")),
        *((Outcome.DROPPED, "dropped"), (Outcome.UNSENT, "unsent")),
    ):
        there, here = int(counts[outcome]), getattr(summary.totals, name)
        if there != here:
            raise UsageError(f"{shown} is not of this run: {there} {name} in it, {here} in all")
