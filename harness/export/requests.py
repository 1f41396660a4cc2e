"""Requests as a table: a row per slot, with the latencies that its times make."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.export.table import CHUNK_ROWS, Cells, Column, Table
from harness.records import ABSENT_NS, NO_SERVER, Decision, Flag, Outcome, Reason
from harness.results.requests_file import NAME, release_rows
from harness.results.stored import StoredRun
from harness.untrusted import clean_text

TIMES = ("t_sched_ns", "t_taken_ns", "t_sent_ns", "t_first_ns", "t_done_ns")
SPANS = {
    "response_ns": ("t_sched_ns", "t_done_ns"),
    "service_ns": ("t_taken_ns", "t_done_ns"),
    "lateness_ns": ("t_sched_ns", "t_taken_ns"),
    "send_delay_ns": ("t_taken_ns", "t_sent_ns"),
}
"""From one moment to another, where there are both."""

CODES = {"outcome": Outcome, "decision": Decision, "reason": Reason}
PLAIN = ("epoch", "worker", "status", "response_bytes")


def requests_table(run: StoredRun) -> Table:
    """Every slot up to the cut. Raises UsageError if the run kept none, or they are damaged."""
    rows = run.rows
    if rows is None:
        raise UsageError(
            f"'{clean_text(str(run.path))}' has no {NAME} to export; give --what windows,"
            " or run again with --records all"
        )
    columns = (
        Column("slot"),
        *(Column(name) for name in (*TIMES, *SPANS)),
        Column("server", tuple(run.urls)),
        *(Column(name, tuple(one.name.lower() for one in code)) for name, code in CODES.items()),
        *(Column(name) for name in PLAIN),
        *(Column(flag.name.lower()) for flag in Flag),
    )
    return Table(columns, lambda: _parts(rows))


def _parts(rows: NDArray[np.void]) -> Iterator[tuple[Cells, ...]]:
    for first in range(0, max(1, len(rows)), CHUNK_ROWS):
        part = rows[first : first + CHUNK_ROWS].copy()
        release_rows(rows)
        there = {name: part[name] != ABSENT_NS for name in TIMES}
        yield (
            Cells(part["slot"]),
            *(Cells(part[name], there[name]) for name in TIMES),
            *(
                Cells(part[end] - part[start], there[start] & there[end])
                for start, end in SPANS.values()
            ),
            Cells(part["server"], part["server"] != NO_SERVER),
            Cells(part["outcome"]),
            Cells(part["decision"]),
            Cells(part["reason"], part["reason"] != Reason.NONE),
            *(Cells(part[name]) for name in PLAIN),
            *(Cells(part["flags"] & flag != 0) for flag in Flag),
        )
