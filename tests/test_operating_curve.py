"""benchmarks/operating_curve.py: the faults are what they say, the delays those designed for."""

from fractions import Fraction

import numpy as np
import pytest

from benchmarks import operating_curve
from benchmarks.replay import IN_FLIGHT, SLO, ClosedLoop, Fault, replay, stall, trace
from benchmarks.simulated_faults import closed_loop_hangs, one_fails, two_hang
from harness.config import Switching

MS = 10**6
S = 10**9
RATE = 20_000


def test_a_fault_covers_its_part_of_a_bucket():
    drawn = trace(np.random.default_rng(1), RATE, 40, Fault(S + 25 * MS, S + 100 * MS), baseline=0)
    assert drawn.violations[:20] == [0] * 20
    assert drawn.violations[20] == pytest.approx(drawn.decided[20] / 2, rel=0.2)
    assert drawn.violations[21] == drawn.decided[21]
    assert drawn.violations[22:] == [0] * 18
    assert drawn.slow == drawn.violations


def test_errors_are_not_slow_and_a_fault_outside_is_none():
    fault = Fault(-S, S, 0.5, with_status=True)
    drawn = trace(np.random.default_rng(1), RATE, 40, fault, Fault(9 * S, 10 * S), baseline=0)
    assert sum(drawn.violations[:20]) == pytest.approx(RATE / 2, rel=0.1)
    assert sum(drawn.violations[20:]) == sum(drawn.slow) == 0


def test_a_stall_violates_what_it_delays_beyond_t():
    fault = stall(S, 150 * MS)
    assert fault.end_ns - fault.start_ns == 150 * MS - SLO.threshold_ns + 20 * MS


def test_a_closed_loop_takes_nothing_more_once_all_are_stuck():
    hung_ns = 2 * S + 30 * MS
    loop = ClosedLoop.draw(np.random.default_rng(3), 100, hung_ns)
    assert sum(loop.trace.decided) - len(loop.done_ns) == IN_FLIGHT
    assert sum(loop.trace.decided[41:]) == 0
    assert sum(loop.trace.violations[40:]) <= IN_FLIGHT
    before = sum(loop.trace.violations[:39]) / sum(loop.trace.decided[:39])
    assert before == pytest.approx(0.01, abs=0.005)


def test_a_replay_is_a_function_of_its_traces():
    hung = trace(np.random.default_rng(2), 1000, 400, Fault(9 * S, 20 * S))
    clean = trace(np.random.default_rng(3), 1000, 400)
    (left,) = replay(Switching(), [hung, clean])
    assert (left.server, left.detection.trigger.rule) == (0, "hard-down")
    assert left.detection.onset_bucket == 180
    assert [left] == replay(Switching(), [hung, clean])
    assert replay(Switching(), [clean, hung]) == []


@pytest.mark.parametrize(("fault", "rate"), list(operating_curve.EXPECTED_MS))
def test_the_delays_are_those_designed_for(fault, rate):
    default, plain = one_fails(300, rate, 1.0 if fault == "hung" else 0.2)
    assert None not in default + plain
    median_ms, p99_ms = operating_curve.EXPECTED_MS[fault, rate]
    assert np.median(default) == pytest.approx(median_ms, rel=0.1)
    assert np.percentile(default, 99) == pytest.approx(p99_ms, rel=0.1)
    assert np.median(plain) > 1.5 * np.median(default)


def test_two_hung_in_turn_and_a_closed_loop_are_as_quick():
    for default, plain in two_hang(30, 1_000):
        assert None not in default + plain
        assert np.median(default) == pytest.approx(320, rel=0.1)
    default, _ = closed_loop_hangs(30, stalls=True)
    assert None not in default
    assert np.median(default) == pytest.approx(320, rel=0.1)


def test_a_calm_hour_moves_nothing():
    drawn = trace(np.random.default_rng(4), 1000, 3600 * 20)
    assert Fraction(sum(drawn.violations), sum(drawn.decided)) < Fraction(2, 100)
    assert replay(Switching(), [drawn, drawn]) == []


def test_the_tables_are_printed_and_written(tmp_path, capsys):
    page = tmp_path / "page.md"
    begin, end = operating_curve.BEGIN, operating_curve.END
    page.write_text(f"above\n{begin}\nold\n{end}\nbelow\n")
    assert operating_curve.main(["--trials", "2", "--hours", "0.01", "--write", str(page)]) == 0
    printed = capsys.readouterr().out
    assert "--trials 2 --hours 0.01 --write" in printed
    assert page.read_text() == f"above\n{begin}\n\n{printed}\n{end}\nbelow\n"
    assert "| hung | 1000 |" in printed


@pytest.mark.parametrize("text", [None, "no block"])
def test_a_page_without_a_place_for_them(tmp_path, capsys, text):
    page = tmp_path / "page.md"
    if text is not None:
        page.write_text(text)
    assert operating_curve.main(["--write", str(page)]) == 2
    captured = capsys.readouterr()
    assert str(page) in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


def test_the_page_holds_the_tables():
    _, block = operating_curve.PAGE.read_text().split(operating_curve.BEGIN)
    block = block.split(operating_curve.END)[0]
    assert "python -m benchmarks.operating_curve --trials 1000 --hours 24 --write" in block
    assert all(f"| {fault} | {rate} |" in block for fault, rate in operating_curve.EXPECTED_MS)
