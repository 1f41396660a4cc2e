"""What the rows of a run say over time and as distributions, counted in one walk over them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.records import NO_SERVER, Decision, Outcome
from harness.report.latency_bins import BINS, Counts, bins_of
from harness.report.slices import Slices
from harness.results.requests_file import release_rows

CHUNK_ROWS = 1 << 18


@dataclass(frozen=True)
class RowFigures:
    """Counts by [slice, place, ...]; a place per drawn server, then one for all other slots.

    Slices are of t_sched, those of ``ok`` and ``in_slo`` of t_done. ``response``, ``service`` and
    ``lateness`` have a last axis of latency bins; service and lateness are of the whole run, by
    [place, bin] and [bin]. ``population``: slots but those the client dropped.
    """

    slices: Slices
    response: NDArray[np.int32]
    service: Counts
    lateness: Counts
    population: Counts
    scheduled: Counts
    ok: Counts
    in_slo: Counts
    dropped: Counts
    late: NDArray[np.int32]  # lateness by [slice, bin]
    late_max_ns: Counts  # by slice, -1 where nothing was taken


def walk(rows: NDArray[np.void], slices: Slices, drawn: Sequence[int] = ()) -> RowFigures:
    """Count the rows; ``drawn``: the servers that get a place of their own."""
    places = len(drawn) + 1
    place_of = np.full(NO_SERVER + 1, places - 1)
    place_of[list(drawn)] = np.arange(len(drawn))
    response = np.zeros((slices.count, places, BINS), np.int32)
    late = np.zeros((slices.count, BINS), np.int32)
    late_max_ns = np.full(slices.count, -1, np.int64)
    service = np.zeros((places, BINS), np.int64)
    counts = {
        name: np.zeros((slices.count, places), np.int64)
        for name in ("population", "scheduled", "ok", "in_slo", "dropped")
    }
    for first in range(0, len(rows), CHUNK_ROWS):
        part = rows[first : first + CHUNK_ROWS]
        t_sched_ns, t_taken_ns, t_done_ns = (
            np.ascontiguousarray(part[name]) for name in ("t_sched_ns", "t_taken_ns", "t_done_ns")
        )
        outcome, decision = part["outcome"], part["decision"]
        place, due = place_of[part["server"]], slices.of(t_sched_ns)
        cell = due * places + place
        ok, dropped = outcome == Outcome.OK, outcome == Outcome.DROPPED
        by_client = dropped & (decision == Decision.UNDECIDED)
        taken = t_taken_ns >= 0
        _count(response, cell[ok], bins_of((t_done_ns - t_sched_ns)[ok]))
        served = ok & taken
        _count(service, place[served], bins_of((t_done_ns - t_taken_ns)[served]))
        lateness_ns = np.maximum(t_taken_ns - t_sched_ns, 0)[taken]
        _count(late, due[taken], bins_of(lateness_ns))
        np.maximum.at(late_max_ns, due[taken], lateness_ns)
        came = slices.of(t_done_ns)
        inside = ok & (t_done_ns < slices.end_ns)
        came_cell = came * places + place
        for name, mask, cells in (
            ("population", ~by_client, cell),
            ("scheduled", np.ones(len(part), np.bool_), cell),
            ("dropped", dropped, cell),
            ("ok", inside, came_cell),
            ("in_slo", inside & (decision == Decision.IN_TIME), came_cell),
        ):
            found = np.bincount(cells[mask], minlength=counts[name].size)
            counts[name] += found.reshape(counts[name].shape)
        release_rows(rows)
    return RowFigures(
        slices=slices,
        response=response,
        service=service,
        lateness=late.sum(axis=0, dtype=np.int64),
        late=late,
        late_max_ns=late_max_ns,
        **counts,
    )


def _count(counts: NDArray[np.int32] | Counts, cells: Counts, bins: Counts) -> None:
    """Add one at each [cell, bin]; a flat index is several times as fast as two."""
    np.add.at(counts.reshape(-1), cells * BINS + bins, 1)
