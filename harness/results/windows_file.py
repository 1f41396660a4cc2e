"""``windows.csv``: a line per bucket of scheduled time and server."""

import csv
import io
from typing import IO

import numpy as np

from harness._tally import BUCKET_FIELDS
from harness.records import BUCKET_NS
from harness.results.redaction import Redactor
from harness.results.rundata import RunData
from harness.untrusted import clean_text

NAME = "windows.csv"

COLUMNS = (
    *("t_start_ns", "server", "decided", "violations", "ok", "errors", "in_flight"),
    "client_late",
)


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
