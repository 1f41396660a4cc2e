"""Blocks against figures taken from the rows directly, and what is drawn from them."""

from pathlib import Path

import numpy as np
import pytest

from harness.compare.blocks import cut, draw_group, resample
from harness.compare.statistics import percentile_interval
from harness.config import NS_PER_S
from harness.records import Outcome
from harness.results.stored import StoredRun, load_run
from tests.stored_runs import stored


@pytest.fixture
def run(tmp_path: Path) -> StoredRun:
    mix = {Outcome.OK: 90, Outcome.ERROR: 3, Outcome.TIMEOUT: 1, Outcome.DROPPED: 6}
    return load_run(stored(tmp_path / "run", rate=500, duration_ns=8 * NS_PER_S, mix=mix))


def test_whole_run_has_the_figures_of_its_summary(run: StoredRun) -> None:
    assert run.rows is not None
    summary = run.summary
    blocks = cut(run.rows, run.end_ns, summary.limits.timeout_ns)
    assert blocks.count == 8
    found = {
        name: values[0] for name, values in blocks.figures(np.ones((1, 8), np.float32)).items()
    }
    assert found["offered"] == pytest.approx(summary.rate.offered)
    assert found["ok"] == pytest.approx(summary.rate.ok)
    assert found["in_slo"] == pytest.approx(summary.rate.in_slo)
    assert summary.slo is not None
    assert found["violated"] == pytest.approx(summary.slo.violation_share)
    for name in ("p50", "p90", "p99", "p999"):
        service = getattr(summary.service_ns, name)
        assert found[f"service_{name}"] == pytest.approx(service, rel=0.003)
        response = getattr(summary.response_ns, name)
        expected = summary.limits.timeout_ns if response is None else response
        assert found[name] == pytest.approx(expected, rel=0.003)


def test_draws_are_seeded_and_lie_around_the_figure(run: StoredRun) -> None:
    assert run.rows is not None
    blocks = cut(run.rows, run.end_ns, run.summary.limits.timeout_ns)
    first, again = draw_group([blocks], 5), draw_group([blocks], 5)
    assert first is not None
    assert again is not None
    assert all(np.array_equal(first[name], again[name]) for name in first)
    interval = percentile_interval(first["service_p50"])
    assert interval.low <= (run.summary.service_ns.p50 or 0) * 1.003
    assert interval.high >= (run.summary.service_ns.p50 or 0) * 0.997


def test_too_few_blocks_are_not_drawn_from(tmp_path: Path) -> None:
    run = load_run(stored(tmp_path / "short", duration_ns=2 * NS_PER_S))
    assert run.rows is not None
    assert draw_group([cut(run.rows, run.end_ns, 1)], 1) is None


def test_every_draw_has_as_many_blocks_as_there_are() -> None:
    assert set(resample(7).sum(axis=1)) == {7.0}


def test_one_server_alone(tmp_path: Path) -> None:
    run = load_run(stored(tmp_path / "two", urls=("a:1", "b:1"), duration_ns=6 * NS_PER_S))
    assert run.rows is not None
    counts = [cut(run.rows, run.end_ns, 1, server).sums["scheduled"].sum() for server in (0, 1)]
    assert counts == [int((run.rows["server"] == server).sum()) for server in (0, 1)]
