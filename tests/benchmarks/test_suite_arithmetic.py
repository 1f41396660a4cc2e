"""benchmarks/suite: slopes, lateness, the search, recovery, bounds; no process, no clock."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.suite.cases.highest_rate import Bracket, search
from benchmarks.suite.cases.long_run import over_time
from benchmarks.suite.cases.overload import recovered_s
from benchmarks.suite.claims import CLAIMS, Claim, judge, ratio
from benchmarks.suite.result import Run, SuiteResult
from benchmarks.suite.slope import Point, cpu_per_request_us
from benchmarks.suite.tools.perf_analyzer import report_figures
from benchmarks.suite.tools.profile_export import lateness_us, read_export
from harness.errors import UsageError


@given(st.floats(0, 10), st.floats(1, 100), st.integers(10, 10**6), st.integers(2, 10))
def test_start_up_is_not_in_the_slope(start_up_s, cost_us, few, times):
    points = [Point(start_up_s + cost_us * count / 1e6, count) for count in (few, few * times)]
    assert cpu_per_request_us(*points) == pytest.approx(cost_us, rel=1e-3, abs=0.1)


@pytest.mark.parametrize("long", [Point(2.0, 10), Point(2.0, 9), Point(2.0, 14), Point(0.9, 40)])
def test_no_slope_where_it_would_be_noise(long):
    assert cpu_per_request_us(Point(1.0, 10), long) is None


def export(tmp_path, offsets_ns):
    path = tmp_path / "export.json"
    requests = [
        {"timestamp": 10**18 + at, "response_timestamps": [10**18 + at + 5]} for at in offsets_ns
    ]
    path.write_text(json.dumps({"experiments": [{"requests": requests}]}))
    return read_export(path)


def test_lateness_is_relative_to_the_earliest_request(tmp_path):
    # 1000/s, in another order than sent: 40, 10, 10 and 10 us after a multiple of 1 ms.
    sent_ns = [3_010_000, 40_000, 1_010_000, 2_010_000]
    found = lateness_us(export(tmp_path, sent_ns), 1000)
    assert found["lateness_p50_us"] == pytest.approx(0)
    assert found["lateness_p99_us"] == pytest.approx(np.percentile([30, 0, 0, 0], 99))
    assert found["late_percent"] == 0


def test_what_goes_out_as_a_burst_is_late(tmp_path):
    found = lateness_us(export(tmp_path, [0, 4_000_000, 4_000_000, 4_000_000, 4_000_000]), 1000)
    assert found["lateness_p50_us"] == pytest.approx(1000)
    assert found["late_percent"] == pytest.approx(40)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        '{"experiments": []}',
        '{"experiments": [{"requests": []}]}',
        '{"experiments": [1]}',
    ],
)
def test_a_profile_export_of_another_form_is_told(tmp_path, content):
    path = tmp_path / "export.json"
    path.write_text(content)
    with pytest.raises(UsageError, match="profile export"):
        read_export(path)


def test_a_report_is_read_by_its_columns(tmp_path):
    path = tmp_path / "report.csv"
    path.write_text(
        "Request Rate,Inferences/Second,p50 latency,p99 latency\n10000,9996.9,254,2954\n\n"
    )
    assert report_figures(path) == {"rate": 9996.9, "latency_p50_us": 254, "latency_p99_us": 2954}
    path.write_text("Request Rate,Inferences/Second\n")
    with pytest.raises(UsageError, match="no row"):
        report_figures(path)


@pytest.mark.parametrize("limit", [30_000, 90_000, 150_000, 170_000, 400_000])
def test_the_search_brackets_the_limit(limit):
    found = search(lambda rate: rate <= limit, 0.05)
    assert found.held <= limit < found.broken <= found.held * 1.05


def test_the_search_ends_where_nothing_or_everything_holds():
    assert search(lambda rate: False, 0.05).held == 0
    assert search(lambda rate: True, 0.05) == Bracket(1_600_000, 0)


def test_one_bad_run_near_the_edge_does_not_break_a_rate():
    asked = []

    def holds(rate):
        asked.append(rate)
        return rate < 160_000 and not (rate > 100_000 and asked.count(rate) == 1)

    found = search(holds, 0.05)
    assert 0.94 * 160_000 < found.held < 160_000


@pytest.mark.parametrize(
    ("latencies", "expected"),
    [
        ([0.001] * 3, 3.0),
        ([0.5, 0.001, 0.001, 0.5, 0.001, 0.001, 0.001], 7.0),
        ([None, 0.001, None, 0.001, 0.001], None),
        ([], None),
    ],
)
def test_a_server_is_well_after_three_good_answers_in_a_row(latencies, expected):
    before = [(float(second), 0.001) for second in range(100)]
    after = [(101.0 + index, latency) for index, latency in enumerate(latencies)]
    assert recovered_s(before + after, 100.0, 0.002) == expected


def test_the_coordinators_cost_and_memory_over_time():
    samples = [
        (100.0 + second, 5.0 + 0.01 * second, 10**8, 5 * 10**7 + second) for second in range(20)
    ]
    found = over_time(samples, 100.0, 20.0, 20_000)
    assert found["coordinator_us"] == pytest.approx(0.5, rel=0.06)
    assert found["coordinator_growth_percent"] == 0
    assert 0 < found["worker_growth_percent"] < 0.001
    assert over_time(samples[:1], 100.0, 20.0, 20_000) == {}


def result(*runs):
    return SuiteResult(
        started_utc="2026-01-01T00:00:00Z",
        quick=True,
        runs_asked=1,
        host={},
        cpus={"server": 0, "client": 1},
        versions={},
        runs=[
            Run(case="a", setting="s", tool=tool, figures={"cpu_us": value}) for tool, value in runs
        ],
    )


@pytest.mark.parametrize(
    ("runs", "verdict"),
    [
        ([("harness", 4), ("harness", 100), ("harness", 3), ("peer", 10)], "yes"),
        ([("harness", 5), ("peer", 10)], "no"),
        ([("harness", 5)], "no figure"),
        ([("harness", 5), ("peer", 0)], "no figure"),
    ],
)
def test_a_bound_is_held_by_the_ratio_of_medians(runs, verdict):
    claim = Claim("text", "a", "s", "cpu_us", 0.4, peer="peer")
    (judged,) = judge(result(*runs), (claim,))
    assert judged.verdict == verdict


def test_bounds_from_below_and_the_only_setting():
    claim = Claim("text", "a", None, "cpu_us", 4, least=True)
    assert [judge(result(("harness", value)), (claim,))[0].verdict for value in (3, 4)] == [
        "no",
        "yes",
    ]
    assert {one.verdict for one in judge(result(), CLAIMS)} == {"no figure"}
    assert ratio(None, 1) is None
