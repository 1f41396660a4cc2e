"""Reports of runs of every kind: what they say, and what they say they lack."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import Bench, BenchConfig
from harness.cli.report import report as report_command
from harness.config import NS_PER_MS, NS_PER_S
from harness.embedded.server import EmbeddedServer
from harness.errors import UsageError
from harness.records import Outcome
from harness.report import plotly_bundle
from harness.report.distributions import distribution_charts, percent_text, percentile_ticks
from harness.report.report import NAME, report_page, write_report
from harness.report.time_charts import NO_ROWS, NO_WINDOWS, RunCharts
from harness.results.stored import load_run
from tests.report.many_rows import stored_many
from tests.runs import COMMAND
from tests.stored_runs import stored
from tests.synthetic import Failure

SWITCHED: dict[str, Any] = {
    "urls": ("gpu1:8001", "gpu2:8001"),
    "rate": 400.0,
    "duration_ns": 4 * NS_PER_S,
    "failures": (Failure(2 * NS_PER_S, 2_350_000_000, 1),),
    "config": {"request_timeout_ns": NS_PER_S},
}
SOME = {Outcome.OK: 20, Outcome.ERROR: 1, Outcome.TIMEOUT: 1, Outcome.DROPPED: 1}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no slo": {"slo_ns": None},
    "closed": {"concurrency": 4},
    "closed without slo": {"concurrency": 4, "slo_ns": None, "mix": SOME},
    "cut": {"cut_ns": 400 * NS_PER_MS},
    "cut at once": {"cut_ns": 0},
    "dead worker": {"dead_workers": frozenset({1})},
    "everything": {"mix": SOME, "client_drops": True, "slo_ns": 10 * NS_PER_MS},
    "nothing ok": {"mix": {Outcome.TIMEOUT: 1}},
    "no rows": {"rows": False},
    "many servers": {"urls": tuple(f"gpu{n}:8001" for n in range(12)), "rate": 600.0},
    "one slot": {"rate": 1.0, "dist": "constant"},
    "switched": SWITCHED,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_has_a_report(tmp_path: Path, kind: str) -> None:
    run = load_run(stored(tmp_path / "out", **KINDS[kind]))
    path = write_report(run)
    assert path == tmp_path / "out" / NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    own = text.replace(plotly_bundle.plotly_js(), "")
    assert "Undefined" not in own
    assert "None" not in own.split("<main>")[1].split("</main>")[0].replace(">None.<", "")
    assert len(own) < 1_000_000
    valid = "VALID" if run.summary.valid else "INVALID"
    assert f">{valid}</strong>" in own
    for finding in run.summary.findings:
        if finding.code not in ("slo_broken", "switched"):
            assert finding.text in own.replace("&gt;", ">").replace("&#39;", "'")


@pytest.mark.parametrize(
    ("lost", "missing"),
    [
        (("requests.npy",), {"latency", "lateness", "lateness-distribution"}),
        (("windows.csv",), {"violations", "in-flight"}),
        (("events.jsonl",), set()),
        (
            ("requests.npy", "windows.csv", "events.jsonl"),
            {"latency", "lateness", "lateness-distribution", "violations", "in-flight", "rates"},
        ),
    ],
)
def test_what_is_not_there_is_said(
    tmp_path: Path, lost: tuple[str, ...], missing: set[str]
) -> None:
    out = stored(tmp_path / "out", **SWITCHED)
    for name in lost:
        (out / name).unlink()
    run = load_run(out)
    drawing = RunCharts(run)
    charts = {**drawing.charts(), **distribution_charts(drawing)}
    assert {name for name, chart in charts.items() if chart.missing} == missing
    assert {charts[name].missing for name in missing} <= {NO_ROWS, NO_WINDOWS}
    assert all(chart.series for name, chart in charts.items() if name not in missing)
    text = report_page(run).decode()
    for name in lost:
        assert f"no {name}" in text
    # Without events the summary's switches are marked.
    assert [one.text for one in charts["violations"].moments] == ["A → B"]


def test_the_books_that_do_not_balance_leave_the_summary(tmp_path: Path) -> None:
    out = stored(tmp_path / "out")
    summary = json.loads((out / "summary.json").read_text())
    summary["invalid_reasons"] = [{"code": "books", "text": "off by one", "advice": "report it"}]
    summary["valid"] = False
    (out / "summary.json").write_text(json.dumps(summary))
    text = report_page(load_run(out)).decode()
    assert "off by one" in text
    assert "the books of this run do not balance" in text


def test_violations_slide_over_the_window(tmp_path: Path) -> None:
    run = load_run(stored(tmp_path / "out", **SWITCHED))
    chart = RunCharts(run).violations()
    first, second = chart.series
    assert [one.name[0] for one in chart.series] == ["A", "B"]
    assert [one.color for one in chart.series] == [0, 1]
    known = [(x, y) for x, y in zip(first.x, first.y, strict=True) if y is not None]
    assert max(x for x, _ in known if x is not None) == pytest.approx(2.35 + 0.25, abs=0.1)
    before = [y for x, y in known if x is not None and x < 1.9]
    assert set(before) == {0}
    assert run.windows is not None
    # At the decision: all of A's slots so far, of which those since the onset are violations.
    bucket = 46
    decided = run.windows.decided[0, : bucket + 1].sum()
    violations = run.windows.violations[0, : bucket + 1].sum()
    (there,) = [y for x, y in known if x is not None and abs(x - 0.05 * (bucket + 1)) < 1e-9]
    assert there == pytest.approx(100 * violations / decided, rel=1e-4)
    assert [level.y for level in chart.levels] == [5]
    assert [span.kind for span in chart.spans] == ["outage", "window"]
    assert chart.spans[1].x1 == pytest.approx(2.35)
    assert {y for y in second.y if y is not None} == {0}


def test_a_percentile_among_the_unanswered_is_marked(tmp_path: Path) -> None:
    chart = RunCharts(load_run(stored(tmp_path / "out", **SWITCHED))).latency()
    marks = [one for one in chart.series if one.style == "marks"]
    assert marks
    assert {y for one in marks for y in one.y} == {1000}
    assert all(2 <= x <= 2.5 for one in marks for x in one.x if x is not None)


def test_response_and_service_have_one_scale(tmp_path: Path) -> None:
    charts = distribution_charts(RunCharts(load_run(stored(tmp_path / "out", **SWITCHED))))
    response, service = charts["response"], charts["service"]
    assert (response.y.low, response.y.high) == (service.y.low, service.y.high)
    names = [one.name for one in response.series if one.style != "marks"]
    assert names == ["all", "A gpu1:8001", "B gpu2:8001"]
    assert [text for _, text in percentile_ticks(3.1)] == ["min", "p50", "p90", "p99", "p99.9"]
    texts = [percent_text(x) for x in (0.0, 0.30103, 1.0, 1.5, 2.0, 2.5, 3.0)]
    assert texts == ["p0", "p50", "p90", "p97", "p99", "p99.7", "p99.9"]


def test_the_command_writes_it_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = stored(tmp_path / "out")
    assert report_command(out) == 0
    assert capsys.readouterr().out == f"{out / NAME}\n"
    first = (out / NAME).read_bytes()
    assert report_command(out) == 0
    assert (out / NAME).read_bytes() == first


def test_the_command_refuses_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        report_command(tmp_path)
    out = stored(tmp_path / "out")
    (out / "requests.npy").write_bytes(b"x" * 100)
    with pytest.raises(UsageError, match=r"requests\.npy"):
        report_command(out)
    assert not (out / NAME).exists()


@pytest.fixture(scope="module")
def server() -> Any:
    with EmbeddedServer() as one:
        yield one


def short(url: str, out: Path, **given: Any) -> BenchConfig:
    return BenchConfig(
        model="identity",
        urls=(url,),
        duration_ns=NS_PER_S // 2,
        warmup_ns=0,
        spin="never",
        allow_invalid=True,
        out=str(out),
        **given,
    )


def test_a_run_writes_its_report(server: EmbeddedServer, tmp_path: Path) -> None:
    result = Bench(short(server.url, tmp_path / "out")).run()
    assert result.report == tmp_path / "out" / NAME
    assert result.text.splitlines()[-1] == f"report     {result.report}"
    assert result.report.stat().st_size > 1_000_000


def test_a_run_without(server: EmbeddedServer, tmp_path: Path) -> None:
    result = Bench(short(server.url, tmp_path / "out", report=False)).run()
    assert result.report is None
    assert not (tmp_path / "out" / NAME).exists()
    assert result.text.splitlines()[-1] == f"results    {tmp_path / 'out'}"


def test_a_report_that_fails_costs_nothing_but_itself(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise ZeroDivisionError("made up\nin two lines")

    monkeypatch.setattr("harness.bench.write_report", fail)
    notes: list[str] = []
    result = Bench(short(server.url, tmp_path / "out"), on_note=notes.append).run()
    assert [one for one in notes if "report" in one] == ["no report: made up in two lines"]
    assert result.exit_code == 0
    assert result.report is None
    assert (tmp_path / "out" / "summary.json").exists()


def test_the_option(server: EmbeddedServer, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *COMMAND,
            "bench",
            "-m",
            "identity",
            "-u",
            server.url,
            "--duration",
            "300ms",
            "--warmup",
            "0s",
            "--out",
            str(tmp_path / "out"),
            "--no-report",
            "--allow-invalid",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "out" / NAME).exists()


MEASURE = """
import resource, sys, time
from pathlib import Path
import harness.bench
from harness.report.report import write_report
from harness.results.stored import load_run
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
path = write_report(load_run(Path(sys.argv[1])))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(time.perf_counter() - start, path.stat().st_size, (after - before) / 1024)
"""


def test_a_million_requests(tmp_path: Path) -> None:
    out = stored_many(tmp_path / "out", 1_000_000, urls=("gpu1:8001", "gpu2:8001"))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(out)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    seconds, size_bytes, memory_mib = map(float, done.stdout.split())
    assert seconds <= 10
    assert size_bytes <= 8_000_000
    assert memory_mib <= 300
