"""windows.csv: a line per bucket and server, up to the cut, that adds up to the totals."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.config import NS_PER_MS, NS_PER_S
from harness.errors import UsageError
from harness.records import Outcome
from harness.results.rundata import RunData
from harness.results.stored import load_run
from harness.results.totals import totals
from harness.results.windows_file import COLUMNS, bucket_count, load_windows, write_windows
from tests.results.stored_cases import refused
from tests.stored_runs import store
from tests.synthetic import synthetic_run

SERVERS = ("gpu1:8001", "gpu2:8001")


def lines(run: RunData) -> list[dict[str, str]]:
    out = io.BytesIO()
    write_windows(out, run)
    assert not out.closed
    return list(csv.DictReader(io.StringIO(out.getvalue().decode())))


def test_adds_up_to_the_totals() -> None:
    run = synthetic_run(
        urls=SERVERS,
        mix={Outcome.OK: 8, Outcome.ERROR: 1, Outcome.DROPPED: 1},
        duration_ns=NS_PER_S + 1,
        dead_workers=frozenset({0}),
    )
    found = lines(run)
    assert tuple(found[0]) == COLUMNS
    for index, url in enumerate(SERVERS):
        own = [line for line in found if line["server"] == url]
        assert [int(line["t_start_ns"]) for line in own] == [n * 50_000_000 for n in range(21)]
        expected = totals(run.tally, index)
        sums = {name: sum(int(line[name]) for line in own) for name in COLUMNS[2:6]}
        assert sums == {
            "decided": expected.decided,
            "violations": expected.violations,
            "ok": expected.ok,
            "errors": expected.error + expected.timeout,
        }
        assert {line["in_flight"] for line in own} == {"4"}


def test_up_to_the_cut() -> None:
    for cut_ns, last in ((0, 0), (49_999_999, 0), (50_000_000, 50_000_000)):
        found = lines(synthetic_run(cut_ns=cut_ns, dist="constant"))
        assert int(found[-1]["t_start_ns"]) == last


def test_slots_of_no_server_have_lines_where_there_are_any() -> None:
    run = synthetic_run(rows=False)
    assert {line["server"] for line in lines(run)} == {"gpu1:8001"}
    run.tally.buckets[1, 3, 4] = 2
    assert [line for line in lines(run) if not line["server"]] == [
        dict(zip(COLUMNS, ["150000000", "", "0", "0", "0", "0", "", "2"], strict=True))
    ]


def test_no_sample_is_an_empty_field() -> None:
    run = synthetic_run()
    run.in_flight_samples[0, 1] = -1
    found = lines(run)
    assert [found[0]["in_flight"], found[1]["in_flight"]] == ["4", ""]
    run.in_flight_samples = run.in_flight_samples[:, :1]
    assert lines(run)[2]["in_flight"] == ""


def test_a_name_cannot_break_a_line() -> None:
    run = synthetic_run()
    run.servers[0]["url"] = 'a,b"\nc\x1b:1'
    assert {line["server"] for line in lines(run)} == {'a,b" c:1'}


def test_any_run_has_its_buckets() -> None:
    for duration_ns, cut_ns, buckets in (
        (NS_PER_S, None, 20),
        (NS_PER_S + 1, None, 21),
        (NS_PER_S, 0, 1),
        (NS_PER_S, -1, 0),
        (NS_PER_S, 50 * NS_PER_MS - 1, 1),
        (NS_PER_S, 50 * NS_PER_MS, 2),
        (NS_PER_S, 2 * NS_PER_S, 20),
    ):
        assert bucket_count(duration_ns, cut_ns) == buckets


def windows(
    directory: Path, *lines: str, servers: tuple[str, ...] = ("a",), buckets: int = 2
) -> Any:
    text = "\n".join([",".join(COLUMNS), *lines]) + "\n"
    (directory / "windows.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    return load_windows(directory, servers, buckets)


FIRST, SECOND = "0,a,3,1,2,1,,0", "50000000,a,0,0,0,0,7,0"


def test_windows_read(tmp_path: Path) -> None:
    found = windows(tmp_path, FIRST, SECOND, "0,,5,5,0,0,,1")
    assert found.decided.tolist() == [[3, 0], [5, 0]]
    assert found.in_flight.tolist() == [[-1, 7], [-1, -1]]
    assert found.client_late.tolist() == [[0, 0], [1, 0]]


def test_no_bucket_before_a_cut_at_the_start(tmp_path: Path) -> None:
    found = windows(tmp_path, buckets=0)
    assert found.decided.tolist() == [[0], [0]]


@pytest.mark.parametrize("name", ["=1+1", "-x:1", '"@a"', "a,b", "x" * 300])
def test_servers_of_any_name(tmp_path: Path, name: str) -> None:
    run = synthetic_run(urls=(name, "b:1"))
    found = load_run(store(tmp_path / "out", run))
    assert found.windows is not None
    assert np.array_equal(found.windows.decided, run.tally.buckets[:, :, 0])


@pytest.mark.parametrize(
    "lines",
    [
        [FIRST],
        [FIRST, FIRST],
        [FIRST, SECOND, SECOND],
        [FIRST, "100000000,a,0,0,0,0,,0"],
        [FIRST, "50000001,a,0,0,0,0,,0"],
        [FIRST, "50000000,b,0,0,0,0,,0"],
        [FIRST, "50000000,a,0,0,0,0,0"],
        [FIRST, "50000000,a,0,0,0,0,,0,0"],
        [FIRST, "-1,a,0,0,0,0,,0"],
        [FIRST, "50000000,a,-1,0,0,0,,0"],
        [FIRST, "50000000,a,0,0,0,0,-1,0"],
        [FIRST, "50000000,a,1e3,0,0,0,,0"],
        [FIRST, "50000000,a,nan,0,0,0,,0"],
        [FIRST, "50000000,a,,0,0,0,,0"],
        [FIRST, "50000000,a,\uff11,0,0,0,,0"],
        [FIRST, f"50000000,a,{2**60},0,0,0,,0"],
        [FIRST, f"50000000,a,{'9' * 3000},0,0,0,,0"],
        [FIRST, f"{'9' * 18},a,0,0,0,0,,0"],
        [FIRST, '50000000,"a,0,0,0,0,,0'],
        [FIRST, '50000000,"a"b,0,0,0,0,,0'],
        [FIRST, "50000000,a\x00,0,0,0,0,,0"],
        [FIRST, "50000000,a\ud800,0,0,0,0,,0"],
        [FIRST, "50000000," + "x" * 10_000 + ",0,0,0,0,,0"],
        [FIRST, '50000000,"' + ("x" * 3000 + "\n") * 100 + '",0,0,0,0,,0'],
        [FIRST, "", SECOND],
        [FIRST, "\r", SECOND],
    ],
)
def test_windows_out_of_their_ranges(tmp_path: Path, lines: list[str]) -> None:
    with pytest.raises(UsageError, match=r"windows\.csv in .* is damaged") as caught:
        windows(tmp_path, *lines)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("servers", "buckets"), [(1, 2**60), (10**6, 10**6), (10**6, 1)])
def test_windows_are_no_larger_than_their_file(tmp_path: Path, servers: int, buckets: int) -> None:
    with pytest.raises(UsageError, match="too few lines"):
        windows(tmp_path, FIRST, SECOND, servers=("a",) * servers, buckets=buckets)


def test_other_columns(tmp_path: Path) -> None:
    for text in ("", "\n", "a,b\n", "t_start_ns\n", ",".join(COLUMNS)):
        (tmp_path / "windows.csv").write_text(text)
        with pytest.raises(UsageError, match="is damaged"):
            load_windows(tmp_path, ("a",), 0)


def test_more_violations_than_decided(directory: Path) -> None:
    path = directory / "windows.csv"
    cells = [line.split(",") for line in path.read_text().splitlines()]
    row = next(n for n, line in enumerate(cells[1:], 1) if line[3] != "0")
    # To another line, so that the sums stay.
    other = row + 1
    cells[other][2] = str(int(cells[row][2]) + int(cells[other][2]))
    cells[row][2] = "0"
    path.write_text("\n".join(",".join(line) for line in cells) + "\n")
    assert "more violations" in refused(directory, "windows.csv")
