"""benchmarks/suite: the stored result, the tables made of it, and their place in the page."""

import pytest

from benchmarks import __main__ as command
from benchmarks.suite.claims import CLAIMS
from benchmarks.suite.page import BEGIN, END, PAGE, split_page, write_page
from benchmarks.suite.result import Control, Run, SuiteResult, load_result
from benchmarks.suite.table import CASES, markdown, text
from harness.errors import ResultsError, UsageError


@pytest.fixture
def result():
    closed = {"case": "a", "setting": "Triton, cached"}
    return SuiteResult(
        started_utc="2026-01-01T00:00:00Z",
        quick=False,
        runs_asked=3,
        took_s=90.0,
        finished=True,
        host={"cpu_model": "a | b", "cpus_allowed": [0, 1], "kernel": "6", "clock_source": "tsc"},
        cpus={"server": 0, "client": 1},
        versions={"harness": "0.1.0"},
        missing={"h2load": "it cannot be had here, and this is a long reason why " * 3},
        left_out=["case e after 0 runs: 600 s are needed, 12 s are left"],
        controls=[
            Control(case="a", when=when, seconds=1, over_100us=3, over_1ms=1, max_us=1500.0)
            for when in ("before", "after")
        ],
        runs=[
            *(
                Run(**closed, tool="harness", figures={"cpu_us": value, "rate": 1_234_567 * value})
                for value in (7.0, 9.0, 8.0)
            ),
            Run(**closed, tool="perf_analyzer", figures={"cpu_us": 20.0, "rate": 99_999.0}),
            Run(**closed, tool="perf_analyzer", trouble="killed: 4.1 GB resident after 2.0 s"),
        ],
    )


def test_a_stored_result_is_read_back_as_it_was(tmp_path, result):
    path = tmp_path / "folder" / "result.json"
    result.write(path)
    assert load_result(path) == result
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["result.json"]


@pytest.mark.parametrize("content", [None, "", "[]", '{"schema": 2}', '{"schema": 1}'])
def test_what_is_no_result_is_told_in_a_line(tmp_path, content):
    path = tmp_path / "result.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=r"result\.json") as caught:
        load_result(path)
    assert "\n" not in str(caught.value)


def test_a_place_that_cannot_be_written_is_told(tmp_path, result):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="cannot write"):
        result.write(tmp_path / "file" / "result.json")


def test_the_text_fits_a_terminal_and_says_everything(result):
    lines = text(result).splitlines()
    assert max(map(len, lines)) <= 80
    joined = " ".join(" ".join(lines).split())
    for part in (
        "CPU a request, us harness 8 7 .. 9",
        "perf_analyzer 20 0.4",
        "! Triton, cached, perf_analyzer: 1 of 2 runs: killed: 4.1 GB resident",
        "left out: case e after 0 runs",
        "missing: h2load",
        "before: 3 over 100 us, 1 over 1 ms, longest 1500 us in 1 s",
        "CPU a request, closed loop, harness / perf_analyzer <= 0.4 0.4 yes",
    ):
        assert part in joined, part
    assert all(any(claim.text in line for line in lines) for claim in CLAIMS)


def test_markdown_has_the_same_and_no_broken_cell(result):
    lines = markdown(result).splitlines()
    assert "| Triton, cached | CPU a request, us | harness | 8 | 7 .. 9 | 3 |  |" in lines
    assert "| Triton, cached | CPU a request, us | perf_analyzer | 20 |  | 1 | 0.4 |" in lines
    assert any(r"a \| b" in line for line in lines)
    rows = [line for line in lines if line.startswith("| Triton, cached")]
    assert {line.count("|") for line in rows} == {8}


def test_the_table_is_written_between_the_markers(tmp_path, result):
    page = tmp_path / "page.md"
    page.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    with pytest.raises(UsageError, match="this one lacks b,"):
        write_page(result, page)
    known = {run.case for run in result.runs}
    for case in CASES:
        if case.CASE not in known:
            result.runs.append(Run(case=case.CASE, setting="s", tool="harness", figures={}))
    write_page(result, page)
    write_page(result, page)
    assert page.read_text() == f"above\n{BEGIN}\n\n{markdown(result)}\n\n{END}\nbelow\n"
    page.write_text("no markers")
    with pytest.raises(UsageError, match="lacks the lines"):
        write_page(result, page)


def test_the_page_has_a_place_for_it():
    split_page(PAGE)


@pytest.mark.parametrize(
    ("argv", "said"),
    [(["--only", "a,z"], "--only z"), (["--runs", "0"], "--runs 0"), (["--runs", "x"], "--runs")],
)
def test_a_wrong_option_is_named(capsys, argv, said):
    with pytest.raises(SystemExit) as caught:
        command.main(argv)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_a_result_to_write_that_is_none(tmp_path, capsys):
    assert command.main(["--write", str(tmp_path / "none.json")]) == 2
    assert capsys.readouterr().err.startswith("error: cannot read")
