"""benchmarks/suite: a real run of one small case against the embedded server, end to end."""

from dataclasses import replace
from types import ModuleType

import pytest

from benchmarks.suite import runner
from benchmarks.suite.cpus import split_cpus
from benchmarks.suite.limits import Limits
from benchmarks.suite.load import Load
from benchmarks.suite.plans import QUICK
from benchmarks.suite.result import Run, load_result
from benchmarks.suite.servers import ServedEmbedded
from benchmarks.suite.suite import OutOfTime
from benchmarks.suite.table import text
from benchmarks.suite.tools.harness import Harness
from benchmarks.suite.tools.tritonclient import TritonClient
from harness.errors import NotStartedError

TINY = replace(QUICK, whole_s=60.0, control_s=0.05)


def case(run) -> ModuleType:
    module = ModuleType("case")
    module.CASE, module.TITLE, module.run = "a", "a small case", run
    return module


def closed_loop(suite):
    with ServedEmbedded(suite.cpus.server) as served:
        load = Load("", served.model, 0.4, concurrency=8)
        for tool in (Harness(), TritonClient()):
            outcome, requests = suite.counted(tool, load, served)
            figures = {**outcome.figures, "counted": float(requests or 0)}
            suite.add(
                Run(case="a", setting="s", tool=tool.name, figures=figures, trouble=outcome.trouble)
            )


def test_a_case_runs_is_stored_and_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "CASES", (case(closed_loop),))
    monkeypatch.setattr(runner, "find_peers", lambda result, say: {})
    said = []
    out = tmp_path / "result.json"
    result = runner.run_suite(TINY, (), out, said.append)
    assert load_result(out) == result
    assert result.finished
    assert [one.when for one in result.controls] == ["before", "after"]
    assert [run.trouble for run in result.runs] == ["", ""]
    for run in result.runs:
        assert run.figures["rate"] > 100
        assert run.figures["counted"] > 40
    assert any("requests/s" in line for line in said)
    assert "harness" in text(result)


@pytest.mark.parametrize("problem", [OutOfTime("9 s are needed"), NotStartedError("no Triton")])
def test_what_cannot_be_run_is_left_out_by_name(tmp_path, monkeypatch, problem):
    def fails(suite):
        raise problem

    monkeypatch.setattr(runner, "CASES", (case(fails),))
    monkeypatch.setattr(runner, "find_peers", lambda result, say: {})
    result = runner.run_suite(TINY, (), tmp_path / "result.json", lambda line: None)
    assert result.left_out[-1] == f"case a after 0 runs: {problem}"


def test_an_interrupted_run_keeps_what_was_stored(tmp_path, monkeypatch):
    def interrupted(suite):
        suite.add(Run(case="a", setting="s", tool="harness", figures={"rate": 1.0}))
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "CASES", (case(interrupted),))
    monkeypatch.setattr(runner, "find_peers", lambda result, say: {})
    out = tmp_path / "result.json"
    with pytest.raises(KeyboardInterrupt):
        runner.run_suite(TINY, (), out, lambda line: None)
    stored = load_result(out)
    assert not stored.finished
    assert [run.figures for run in stored.runs] == [{"rate": 1.0}]


def test_a_plan_that_does_not_fit_is_not_begun(tmp_path, monkeypatch):
    def too_long(suite):
        suite.run(Harness(), Load("127.0.0.1:1", "identity", 600.0, rate=10), limits=Limits(1.0))

    monkeypatch.setattr(runner, "CASES", (case(too_long),))
    monkeypatch.setattr(runner, "find_peers", lambda result, say: {})
    result = runner.run_suite(TINY, (), tmp_path / "result.json", lambda line: None)
    assert "602 s are needed" in result.left_out[-1]


def test_an_open_loop_run_has_lateness_and_its_end(tmp_path):
    cpus = split_cpus()
    with ServedEmbedded(cpus.server) as served:
        load = Load(served.url, served.model, 0.5, rate=1000)
        outcome = Harness(warmup_s=0).run(load, Limits(20.0), cpus, tmp_path)
    assert outcome.trouble == ""
    assert outcome.requests == 500
    assert {"lateness_p50_us", "lateness_p99_us", "late_percent"} <= outcome.figures.keys()
    assert outcome.load_end_ns > outcome.ended.started_ns
    assert 0 < outcome.figures["first_slot_s"] < 20


def test_a_server_that_is_not_there_is_a_trouble_in_a_line(tmp_path):
    outcome = Harness().run(
        Load("127.0.0.1:1", "identity", 0.5, rate=10), Limits(20.0), split_cpus(), tmp_path
    )
    assert outcome.trouble.startswith("exit 3: harness: ")
    assert outcome.figures == {}
