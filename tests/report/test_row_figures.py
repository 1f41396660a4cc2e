"""One walk over the rows counts what a plain count over them gives."""

import numpy as np
import pytest

from harness.records import Decision, Outcome
from harness.report import row_figures
from harness.report.latency_bins import BINS, bins_of
from harness.report.row_figures import walk
from harness.report.slices import Slices
from tests.synthetic import synthetic_run

NS_PER_S = 10**9
MIX = {Outcome.OK: 8, Outcome.ERROR: 1, Outcome.TIMEOUT: 1, Outcome.DROPPED: 2}


@pytest.mark.parametrize("chunk", [7, 1 << 18])
@pytest.mark.parametrize("concurrency", [None, 4])
def test_counts(chunk: int, concurrency: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_figures, "CHUNK_ROWS", chunk)
    run = synthetic_run(
        urls=("a:1", "b:1", "c:1"), mix=MIX, client_drops=True, concurrency=concurrency
    )
    assert run.tally.rows is not None
    rows = run.tally.rows[run.tally.rows["outcome"] != Outcome.NONE]
    slices, drawn = Slices(NS_PER_S // 4, NS_PER_S), (0, 2)
    found = walk(rows, slices, drawn)
    ok = rows["outcome"] == Outcome.OK
    client = (rows["outcome"] == Outcome.DROPPED) & (rows["decision"] == Decision.UNDECIDED)
    due = np.minimum(rows["t_sched_ns"] * 4 // NS_PER_S, 3)
    came = rows["t_done_ns"] * 4 // NS_PER_S
    places = [rows["server"] == 0, rows["server"] == 2, ~np.isin(rows["server"], (0, 2))]
    response_ns = rows["t_done_ns"] - rows["t_sched_ns"]
    for place, mine in enumerate(places):
        for index in range(4):
            here = mine & (due == index)
            assert found.scheduled[index, place] == np.count_nonzero(here)
            assert found.population[index, place] == np.count_nonzero(here & ~client)
            dropped = here & (rows["outcome"] == Outcome.DROPPED)
            assert found.dropped[index, place] == np.count_nonzero(dropped)
            np.testing.assert_array_equal(
                found.response[index, place],
                np.bincount(bins_of(response_ns[here & ok]), minlength=BINS),
            )
            now = mine & ok & (came == index)
            assert found.ok[index, place] == np.count_nonzero(now)
            in_time = now & (rows["decision"] == Decision.IN_TIME)
            assert found.in_slo[index, place] == np.count_nonzero(in_time)
        service_ns = (rows["t_done_ns"] - rows["t_taken_ns"])[mine & ok]
        np.testing.assert_array_equal(
            found.service[place], np.bincount(bins_of(service_ns), minlength=BINS)
        )
    lateness_ns = (rows["t_taken_ns"] - rows["t_sched_ns"])[rows["t_taken_ns"] >= 0]
    np.testing.assert_array_equal(found.lateness, np.bincount(bins_of(lateness_ns), minlength=BINS))
    assert found.late_max_ns.max() == lateness_ns.max()
    np.testing.assert_array_equal(found.late.sum(axis=0), found.lateness)
