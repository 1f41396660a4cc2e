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
from harness.results.bounds import MOST
from harness.results.redaction import Redactor
from harness.results.rundata import RunData
from harness.untrusted import clean_text

NAME = "windows.csv"

COLUMNS = (
    *("t_start_ns", "server", "decided", "violations", "ok", "errors", "in_flight"),
    "client_late",
)

MAX_LINE_CHARS = 4096
MAX_CELLS = 1 << 26
"""Buckets times servers: 38 days of one server, 512 MB a column."""


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
    """Buckets up to the cut; ``server`` is its URL, empty for slots charged to none.

    Lines of no server are written only where it has slots. ``in_flight`` is empty where no sample
    was taken. Raises OSError.
    """
    # Detached at the end: closing the text layer would close ``out``.
    text = io.TextIOWrapper(out, encoding="utf-8", newline="")
    try:
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(COLUMNS)
        redactor = Redactor(run.config)
        names = [clean_text(redactor.text(str(server["url"]))) for server in run.servers]
        for bucket in range(_bucket_count(run)):
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


def _bucket_count(run: RunData) -> int:
    """Buckets that may hold a slot: the one the cut lies in is the last."""
    if run.cut_ns is None:
        return run.tally.bucket_count
    return min(run.tally.bucket_count, run.cut_ns // BUCKET_NS + 1)


def _sample(run: RunData, server: int, bucket: int) -> int | str:
    samples = np.asarray(run.in_flight_samples)
    if bucket >= samples.shape[1] or samples[server, bucket] < 0:
        return ""
    return int(samples[server, bucket])


def load_windows(directory: Path, servers: Sequence[str], end_ns: int) -> Windows:
    """The file of a results directory whose run had these servers and ended at ``end_ns``.

    Raises UsageError in one line.
    """
    shown = f"{NAME} in '{clean_text(str(directory))}'"
    names = [clean_text(name) for name in servers]
    # A slot may be due at the very end.
    buckets = end_ns // BUCKET_NS + 1
    if buckets * (len(names) + 1) > MAX_CELLS:
        raise UsageError(f"{shown} would be of {buckets} buckets, which is too many to load")
    figures = np.zeros((len(COLUMNS) - 2, len(names) + 1, buckets), np.int64)
    figures[COLUMNS.index("in_flight") - 2] = -1
    places = {name: place for place, name in reversed(list(enumerate([*names, ""])))}
    seen = np.zeros((len(names) + 1, buckets), np.bool_)
    try:
        with (directory / NAME).open(encoding="utf-8", newline="") as text:
            for number, cells in enumerate(csv.reader(_bounded(text), strict=True)):
                if number == 0:
                    if tuple(cells) != COLUMNS:
                        raise ValueError("its columns are not of this layout")
                    continue
                place, bucket = places[cells[1]], _whole(cells[0]) // BUCKET_NS
                if _whole(cells[0]) % BUCKET_NS or bucket >= buckets or seen[place, bucket]:
                    raise ValueError(f"line {number + 1}: no bucket of this run, or one twice")
                seen[place, bucket] = True
                figures[:, place, bucket] = [
                    -1 if name == "in_flight" and not cell else _whole(cell)
                    for name, cell in zip(COLUMNS[2:], cells[2:], strict=True)
                ]
    except OSError as error:
        raise UsageError(f"cannot read {shown}: {error.strerror}") from None
    except (ValueError, KeyError, IndexError, csv.Error) as error:
        raise UsageError(f"{shown} is damaged: {clean_text(str(error))}") from None
    return Windows(**dict(zip(COLUMNS[2:], figures, strict=True)))


def _bounded(text: IO[str]) -> Iterator[str]:
    while line := text.readline(MAX_LINE_CHARS):
        if not line.endswith("\n"):
            raise ValueError("it is cut short, or a line is too long")
        yield line


def _whole(cell: str) -> int:
    if not (cell.isascii() and cell.isdigit() and len(cell) <= len(str(MOST))):
        raise ValueError(f"'{cell[:20]}' is no count")
    return min(int(cell), MOST)
