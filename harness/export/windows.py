"""Windows as a table: a row per bucket of scheduled time and server."""

from collections.abc import Iterator

import numpy as np

from harness.errors import UsageError
from harness.export.table import CHUNK_ROWS, Cells, Column, Table
from harness.records import BUCKET_NS
from harness.results.stored import StoredRun
from harness.results.windows_file import COLUMNS, NAME, Windows
from harness.untrusted import clean_text

COUNTS = COLUMNS[2:]


def windows_table(run: StoredRun) -> Table:
    """As in windows.csv, where ``server`` is absent for slots charged to none.

    Raises UsageError if the run has none.
    """
    windows = run.windows
    if windows is None:
        raise UsageError(f"'{clean_text(str(run.path))}' has no {NAME} to export")
    columns = [Column(name) for name in COLUMNS]
    columns[1] = Column("server", tuple(run.urls))
    return Table(tuple(columns), lambda: _parts(windows))


def _parts(windows: Windows) -> Iterator[tuple[Cells, ...]]:
    places = len(windows.decided)
    buckets = max(1, CHUNK_ROWS // places)
    for first in range(0, max(1, windows.buckets), buckets):
        counts = {
            name: getattr(windows, name)[:, first : first + buckets].T.ravel() for name in COUNTS
        }
        place = np.arange(len(counts["decided"])) % places
        start_ns = (first + np.arange(len(place)) // places) * BUCKET_NS
        charged = place < places - 1
        # Slots of no server are told where there are any.
        told = charged | np.any([counts[name] > 0 for name in COUNTS], axis=0)
        yield (
            Cells(start_ns[told]),
            Cells(place[told], charged[told]),
            *(
                Cells(counts[name][told], counts[name][told] >= 0 if name == "in_flight" else None)
                for name in COUNTS
            ),
        )
