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
from harness.records import ABSENT_NS, BUCKET_NS, NO_SERVER, Decision, Outcome, Reason
from harness.results import events_file, requests_file, windows_file
from harness.results.bounds import LONGEST_NS, MOST
from harness.results.events_file import load_events
from harness.results.reading import is_there
from harness.results.requests_file import load_requests, release_rows
from harness.results.summary import Summary, load_summary
from harness.results.windows_file import Windows, bucket_count, load_windows
from harness.untrusted import clean_text

CHUNK_ROWS = 1 << 16
TIMES = ("t_taken_ns", "t_sent_ns", "t_first_ns", "t_done_ns")
OVERRUN_NS = 3600 * NS_PER_S
"""How long after every deadline a machine that stood still may have ended a run."""


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
        if not self.summary.balanced or not is_there(self.path / requests_file.NAME):
            return None
        try:
            rows = load_requests(self.path)
            _check_rows(rows, self.summary, _shown(self.path, requests_file.NAME))
        except UsageError as error:
            raise UsageError(f"{error}; remove it to go on without") from None
        return rows

    @property
    def end_ns(self) -> int:
        """The end of the planned time, or the cut."""
        return end_ns(self.summary)

    @property
    def urls(self) -> list[str]:
        """The servers, in order; server i of a row or window is the i-th."""
        return self.summary.urls


def load_run(path: Path) -> StoredRun:
    """Read a results directory. Raises UsageError: one line that names the file at fault."""
    summary = load_summary(path)
    if not path.is_dir():
        raise UsageError(
            f"'{clean_text(str(path))}' is no results directory; give the directory the file is in"
        )
    if not summary.balanced:
        missing = "nothing but the summary: the books of this run do not balance"
        return StoredRun(path, summary, None, None, (missing,))
    windows, events, absent = None, None, []
    if is_there(path / windows_file.NAME):
        windows = load_windows(path, summary.urls, _buckets(summary))
        _check_windows(windows, summary, _shown(path, windows_file.NAME))
    else:
        absent.append(f"no {windows_file.NAME}: nothing over time")
    if is_there(path / events_file.NAME):
        events = load_events(path, len(summary.servers))
    else:
        absent.append(f"no {events_file.NAME}: no events")
    if not is_there(path / requests_file.NAME):
        absent.append(f"no {requests_file.NAME}: no single requests")
    return StoredRun(path, summary, windows, events, tuple(absent))


def end_ns(summary: Summary) -> int:
    """The end of the planned time, or the cut; 1 at least."""
    cut_ns = summary.plan.cut_ns
    return max(1, _planned_ns(summary) if cut_ns is None else min(_planned_ns(summary), cut_ns))


def _planned_ns(summary: Summary) -> int:
    return round(summary.plan.duration_s * NS_PER_S)


def _buckets(summary: Summary) -> int:
    return bucket_count(_planned_ns(summary), summary.plan.cut_ns)


def _shown(path: Path, name: str) -> str:
    return f"{name} in '{clean_text(str(path))}'"


def _check_windows(windows: Windows, summary: Summary, shown: str) -> None:
    """No more violations than decided anywhere, and as many of each as the summary says."""
    found = summary.totals
    in_all = {
        "decided": found.decided,
        "violations": found.violations,
        "ok": found.ok,
        "errors": found.error + found.timeout,
        "client_late": found.client_late,
    }
    for name, here in in_all.items():
        if (there := int(getattr(windows, name).sum())) != here:
            raise UsageError(f"{_foreign(shown, there, name, here)}; remove it to go on without")
    if (windows.violations > windows.decided).any():
        raise UsageError(
            f"{shown} is damaged: more violations than decided; remove it to go on without"
        )


def _foreign(shown: str, there: int, name: str, here: int) -> UsageError:
    return UsageError(f"{shown} is not of this run: {there} {name} in it, {here} in all")


def _check_rows(rows: NDArray[np.void], summary: Summary, shown: str) -> None:
    """Every row within its ranges, and as many of each outcome as the summary says."""
    servers, workers = len(summary.servers), max(1, len(summary.workers))
    planned_ns = max(1, _buckets(summary)) * BUCKET_NS
    limits = summary.limits
    latest_ns = min(
        LONGEST_NS,
        planned_ns + limits.timeout_ns + limits.drain_timeout_ns + limits.lag_ns + OVERRUN_NS,
    )
    counts = np.zeros((max(Outcome) + 1, max(Decision) + 1), np.int64)
    last_slot = -1
    for first in range(0, len(rows), CHUNK_ROWS):
        part = rows[first : first + CHUNK_ROWS]
        slots, t_sched_ns = part["slot"], part["t_sched_ns"]
        fits = (part["outcome"] >= Outcome.OK) & (part["outcome"] <= max(Outcome))
        fits &= (part["decision"] <= max(Decision)) & (part["reason"] <= max(Reason))
        fits &= part["worker"] < workers
        fits &= (part["server"] < servers) | (part["server"] == NO_SERVER)
        fits &= (t_sched_ns >= 0) & (t_sched_ns < planned_ns)
        for name in TIMES:
            fits &= (part[name] >= ABSENT_NS) & (part[name] <= latest_ns)
        fits &= (slots >= 0) & (slots <= MOST)
        fits[1:] &= slots[1:] > slots[:-1]
        fits[:1] &= slots[:1] > last_slot
        ok = part["outcome"] == Outcome.OK
        fits &= ~ok | ((part["t_taken_ns"] >= 0) & (part["t_done_ns"] >= part["t_taken_ns"]))
        fits &= ~ok | (part["t_done_ns"] >= t_sched_ns)
        if not fits.all():
            row = first + int(fits.argmin())
            raise UsageError(f"{shown} is damaged: row {row} is out of its range")
        last_slot = int(slots[-1])
        cells = part["outcome"].astype(np.intp) * counts.shape[1] + part["decision"]
        counts += np.bincount(cells, minlength=counts.size).reshape(counts.shape)
        release_rows(rows)
    found = summary.totals
    in_all = {outcome.name.lower(): int(counts[outcome].sum()) for outcome in Outcome}
    in_all["in_time"] = int(counts[:, Decision.IN_TIME].sum())
    in_all["violations"] = int(counts[:, Decision.STATUS :].sum())
    for name, there in in_all.items():
        if name != "none" and there != getattr(found, name):
            raise _foreign(shown, there, name, getattr(found, name))
