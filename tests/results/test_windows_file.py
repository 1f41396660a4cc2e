"""windows.csv: a line per bucket and server, up to the cut, that adds up to the totals."""

import csv
import io

from harness.config import NS_PER_S
from harness.records import Outcome
from harness.results.rundata import RunData
from harness.results.totals import totals
from harness.results.windows_file import COLUMNS, write_windows
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
