"""The embedded server's journal: the id and arrival time of every inference request."""

from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError

JOURNAL = np.dtype(
    [
        ("id", "S16"),  # ModelInferRequest.id, cut to 16 bytes, NUL-padded
        ("arrival_ns", "<i8"),  # CLOCK_MONOTONIC of the read that brought the request's end
    ]
)
"""One request: 24 bytes, little-endian."""


def read_journal(path: str | PathLike[str]) -> NDArray[np.void]:
    """The records of a journal, in order of arrival, shape (n,), dtype JOURNAL.

    Works on the file of a server that still runs or was killed: what it allocated and did not
    use is zero and left out.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        size = Path(path).stat().st_size
        records = np.fromfile(path, dtype=JOURNAL, count=size // JOURNAL.itemsize)
    except OSError as error:
        raise UsageError(f"journal {str(path)!r} cannot be read: {error.strerror}") from None
    empty = np.flatnonzero(records["arrival_ns"] == 0)
    return records[: empty[0]] if empty.size else records
