"""Two sides of one plan: what disturbs both falls out of their ratio, and turns are told apart."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.compare.comparison import Comparison, Verdict, compare
from harness.compare.groups import Group
from harness.compare.paired import LEFT_OUT_NS, Pair, compare_pairs, pair_runs, pair_turns
from harness.compare.text import comparison_text
from harness.config import NS_PER_MS, NS_PER_S
from harness.detector.alternation import TURN_NS
from harness.errors import UsageError
from harness.records import RECORD, Outcome
from harness.results.stored import StoredRun, load_run
from tests.stored_runs import stored

SECONDS = 30


def make(path: Path, **changes: object) -> StoredRun:
    return load_run(
        stored(path, **{"rate": 200, "duration_ns": SECONDS * NS_PER_S, "workers": 1, **changes})
    )


def with_rows(run: StoredRun, rows: np.ndarray) -> StoredRun:
    """The run with other rows than its file has."""
    changed = replace(run)
    changed.__dict__["rows"] = rows
    return changed


def slowed(run: StoredRun, extra_ns: np.ndarray) -> StoredRun:
    assert run.rows is not None
    rows = np.array(run.rows, dtype=RECORD)
    rows["t_done_ns"] += np.where(rows["outcome"] == Outcome.OK, extra_ns, 0)
    return with_rows(run, rows)


def compared(pairs: list[Pair], run: StoredRun) -> Comparison:
    return compare_pairs(("A", "B"), ([run], [run]), pairs, 0.05, ("p50",))


def test_a_disturbance_of_both_falls_out(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    assert run.rows is not None
    second = run.rows["t_sched_ns"] // NS_PER_S
    random = np.random.default_rng(2)
    burst_ns = (random.random(SECONDS + 1) < 0.4) * 30 * NS_PER_MS
    first = slowed(run, burst_ns[second])
    other = slowed(run, burst_ns[second] + NS_PER_MS)
    paired = compared([pair_runs(first, other)], run)
    apart = compare([Group("a", (first,)), Group("b", (other,))])
    widths = []
    for comparison in (paired, apart):
        row = next(row for row in comparison.rows if row.metric.name == "p90")
        interval = row.beside[0].interval
        assert interval is not None
        widths.append(interval.high / interval.low - 1)
    assert widths[0] < widths[1] / 2
    assert paired.paired is not None
    assert paired.paired.mean_ns == pytest.approx(NS_PER_MS)
    assert "+1 ms later on the mean" in " ".join(comparison_text(paired).split())


def test_five_rounds_get_a_verdict(tmp_path: Path) -> None:
    pairs = []
    for number in range(5):
        run = make(tmp_path / str(number), draw=number, rate=100)
        pairs.append(pair_runs(run, slowed(run, np.int64(4 * NS_PER_MS))))
    row = next(row for row in compared(pairs, run).rows if row.primary)
    assert row.beside[0].verdict is Verdict.WORSE
    assert not row.beside[0].within_run
    four = next(row for row in compared(pairs[:4], run).rows if row.primary)
    assert four.beside[0].verdict is Verdict.TOO_FEW


def test_turns_are_told_apart_and_their_first_second_is_left_out(tmp_path: Path) -> None:
    run = make(tmp_path / "run", urls=("a:1", "b:1"))
    assert run.rows is not None
    rows = np.array(run.rows, dtype=RECORD)
    turn, within_ns = rows["t_sched_ns"] // TURN_NS, rows["t_sched_ns"] % TURN_NS
    response_ns = np.where(turn % 2 == 0, 5 * NS_PER_MS, 6 * NS_PER_MS)
    response_ns[within_ns < LEFT_OUT_NS] = 400 * NS_PER_MS
    rows["t_done_ns"] = rows["t_sched_ns"] + response_ns
    pair = pair_turns(with_rows(run, rows))
    assert pair.first.count == pair.second.count == SECONDS * NS_PER_S // (2 * TURN_NS)
    row = next(row for row in compared([pair], run).rows if row.metric.name == "p999")
    assert row.beside[0].ratio == pytest.approx(1.2, rel=0.01)
    cells = [cell.median for cell in row.cells if cell is not None]
    assert cells == pytest.approx([5 * NS_PER_MS, 6 * NS_PER_MS], rel=0.01)
    offered = next(row for row in compared([pair], run).rows if row.metric.name == "offered")
    assert offered.cells[0] is not None
    assert offered.cells[0].median == pytest.approx(200, rel=0.1)


def test_no_rows_no_pairs(tmp_path: Path) -> None:
    run = make(tmp_path / "run", rows=False)
    with pytest.raises(UsageError, match="--records none"):
        pair_runs(run, run)
    with pytest.raises(UsageError, match="--records none"):
        pair_turns(run)
