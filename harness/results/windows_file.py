"""``windows.csv``: a line per bucket of scheduled time and server."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from harness._tally import BUCKET_FIELDS
from harness.errors import UsageError
from harness.records import BUCKET_NS
from harness.results.reading import open_stored
from harness.results.redaction import Redactor
from harness.results.rundata import RunData
from harness.untrusted import clean_text, csv_cell

NAME = "windows.csv"

COLUMNS = (
    *("t_start_ns", "server", "decided", "violations", "ok", "errors", "in_flight"),
    "client_late",
)

MAX_LINE_CHARS = 4096
MAX_LINES = 1 << 26
"""Of one server and one of none: 19 days."""

LEAST_LINE_BYTES = len("0,x,0,0,0,0,,0\n")
MOST_COUNTED = 2**31
"""In one bucket; sums of all lines still fit 64 bits."""


@dataclass(frozen=True)
class Windows:
    """Counts by [place, bucket]: servers in their order, then the slots charged to none.

    ``in_flight``: -1 where no sample was taken.
    """

    decided: NDArray[np.int64]
    violations: NDArray[np.int64]
    ok: NDArray[np.int64]
    errors: NDArray[np.int64]
    in_flight: NDArray[np.int64]
    client_late: NDArray[np.int64]

    @property
    def buckets(self) -> int:
        """Of 50 ms."""
        return int(self.decided.shape[1])


def write_windows(out: IO[bytes], run: RunData) -> None:
    """Buckets up to the cut; ``server`` is its URL (``csv_cell``), empty for slots charged to none.

    Lines of no server are written only where it has slots. ``in_flight`` is empty where no sample
    was taken. Raises OSError.
    """
    # Detached at the end: closing the text layer would close ``out``.
    text = io.TextIOWrapper(out, encoding="utf-8", newline="")
    try:
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(COLUMNS)
        redactor = Redactor(run.config)
        names = [csv_cell(redactor.text(str(server["url"]))) for server in run.servers]
        for bucket in range(bucket_count(run.tally.duration_ns, run.cut_ns)):
            for server in range(len(names) + 1):
                row = [int(figure) for figure in run.tally.buckets[server, bucket]]
                figures: dict[str, int | str] = dict(zip(BUCKET_FIELDS, row, strict=True))
                if server < len(names):
                    figures |= {"server": names[server], "in_flight": _sample(run, server, bucket)}
                elif not any(row):
                    continue
                figures["t_start_ns"] = bucket * BUCKET_NS
                lines.writerow([figures.get(column, "") for column in COLUMNS])
        text.flush()
    finally:
        text.detach()


def bucket_count(duration_ns: int, cut_ns: int | None) -> int:
    """Buckets that may hold a slot: the one the cut lies in is the last; 0 if it was before."""
    planned = -(-duration_ns // BUCKET_NS)
    return planned if cut_ns is None else max(0, min(planned, cut_ns // BUCKET_NS + 1))


def _sample(run: RunData, server: int, bucket: int) -> int | str:
    samples = np.asarray(run.in_flight_samples)
    if bucket >= samples.shape[1] or samples[server, bucket] < 0:
        return ""
    return int(samples[server, bucket])


def load_windows(directory: Path, servers: Sequence[str], buckets: int) -> Windows:
    """The file of a results directory whose run had these servers and so many buckets.

    Raises UsageError in one line.
    """
    shown = f"{NAME} in '{clean_text(str(directory))}'"
    try:
        with open_stored(directory / NAME) as file:
            # Before any memory is taken: what the summary says may be anything.
            if buckets * len(servers) > min(MAX_LINES, file.seek(0, 2) // LEAST_LINE_BYTES):
                raise ValueError(f"too few lines for {buckets} buckets of {len(servers)} servers")
            file.seek(0)
            figures = _read(io.TextIOWrapper(file, encoding="utf-8", newline=""), servers, buckets)
    except OSError as error:
        raise UsageError(
            f"cannot read {shown}: {error.strerror}; remove it to go on without"
        ) from None
    except (ValueError, csv.Error) as error:
        raise UsageError(
            f"{shown} is damaged: {clean_text(str(error), 100)}; remove it to go on without"
        ) from None
    return Windows(**dict(zip(COLUMNS[2:], figures, strict=True)))


def _read(text: IO[str], servers: Sequence[str], buckets: int) -> NDArray[np.int64]:
    """By [column, place, bucket]. Raises ValueError, csv.Error."""
    names = [csv_cell(name) for name in servers]
    places = {name: place for place, name in reversed(list(enumerate([*names, ""])))}
    figures = np.zeros((len(COLUMNS) - 2, len(names) + 1, max(1, buckets)), np.int64)
    figures[COLUMNS.index("in_flight") - 2] = -1
    seen = np.zeros((len(names) + 1, max(1, buckets)), np.bool_)
    lines = csv.reader(_bounded(text), strict=True)
    if tuple(next(lines, ())) != COLUMNS:
        raise ValueError("its columns are not of this layout")
    for number, cells in enumerate(lines, start=2):
        if len(cells) != len(COLUMNS):
            raise ValueError(f"line {number} has {len(cells)} cells")
        start_ns, place = _whole(cells[0]), places.get(cells[1])
        bucket = start_ns // BUCKET_NS
        if place is None:
            raise ValueError(f"line {number}: '{cells[1][:20]}' is no server of this run")
        if start_ns % BUCKET_NS or bucket >= buckets or seen[place, bucket]:
            raise ValueError(f"line {number}: no bucket of this run, or one twice")
        seen[place, bucket] = True
        figures[:, place, bucket] = [
            -1 if name == "in_flight" and not cell else _count(cell)
            for name, cell in zip(COLUMNS[2:], cells[2:], strict=True)
        ]
    if not seen[: len(names), :buckets].all():
        raise ValueError("lines are missing")
    return figures


def _bounded(text: IO[str]) -> Iterator[str]:
    while line := text.readline(MAX_LINE_CHARS):
        if not line.endswith("\n"):
            raise ValueError("it is cut short, or a line is too long")
        yield line


def _count(cell: str) -> int:
    count = _whole(cell)
    if count > MOST_COUNTED:
        raise ValueError(f"{count} is more than a bucket holds")
    return count


def _whole(cell: str) -> int:
    if not (cell.isascii() and cell.isdigit() and len(cell) <= 18):
        raise ValueError(f"'{cell[:20]}' is no count")
    return int(cell)
