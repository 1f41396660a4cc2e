"""Stored runs: every kind is read back, what is absent is said, what does not fit is one line."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.config import NS_PER_MS, NS_PER_S
from harness.errors import UsageError
from harness.records import NO_SERVER, RECORD, Outcome
from harness.results.events_file import load_events
from harness.results.rundata import RunData
from harness.results.stored import StoredRun, load_run
from harness.results.windows_file import COLUMNS, bucket_count, load_windows
from tests.results.stored_cases import CASES, TWO, stored
from tests.results.test_findings import unbalanced
from tests.stored_runs import store
from tests.synthetic import synthetic_run


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return stored(tmp_path / "out", "every outcome")


def refused(directory: Path, name: str) -> str:
    """The line that loading all of it ends in; it names the file and says what to do."""
    with pytest.raises(UsageError) as caught:
        load_run(directory).rows  # noqa: B018
    text = str(caught.value)
    assert "\n" not in text
    assert name in text
    assert len(text) < 400
    if name != "summary.json":
        assert "remove it to go on without" in text
    return text


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_run(tmp_path: Path, case: str) -> None:
    run = load_run(stored(tmp_path / "out", case))
    totals = run.summary.totals
    assert run.windows is not None
    assert int(run.windows.decided.sum()) == totals.decided
    assert run.events is not None
    assert run.urls == [server["url"] for server in run.summary.servers]
    if case == "no records":
        assert run.rows is None
        assert run.missing == ("no requests.npy: no single requests",)
        return
    assert run.missing == ()
    assert run.rows is not None
    assert len(run.rows) == totals.scheduled
    assert not run.rows.flags.writeable


def test_windows_are_those_that_were_counted(tmp_path: Path) -> None:
    run = synthetic_run(**{**CASES["every outcome"], "dead_workers": frozenset({1})})
    run.in_flight_samples[0, 3] = -1
    windows = load_run(store(tmp_path / "out", run)).windows
    assert windows is not None
    for place, name in enumerate(("decided", "violations", "ok", "errors", "client_late")):
        assert np.array_equal(getattr(windows, name), run.tally.buckets[:, :, place])
    assert windows.buckets == run.tally.bucket_count
    assert windows.in_flight[0, 2:5].tolist() == [4, -1, 4]
    assert (windows.in_flight[-1] == -1).all()


def test_unbalanced_books_leave_the_summary(tmp_path: Path) -> None:
    run = synthetic_run()
    unbalanced(run)
    out = store(tmp_path / "out", run)
    found = load_run(out)
    assert found.summary.invalid_reasons[0].code == "books"
    assert found.windows is found.events is found.rows is None
    assert "do not balance" in found.missing[0]


@pytest.mark.parametrize("name", ["windows.csv", "events.jsonl", "requests.npy"])
@pytest.mark.parametrize("how", ["removed", "a link to nowhere"])
def test_absent_files_are_a_mark(directory: Path, name: str, how: str) -> None:
    (directory / name).unlink()
    if how != "removed":
        (directory / name).symlink_to("nowhere")
    run = load_run(directory)
    assert [text.split(":")[0] for text in run.missing] == [f"no {name}"]
    part = {"windows.csv": run.windows, "events.jsonl": run.events, "requests.npy": run.rows}
    assert [one for one, found in part.items() if found is None] == [name]


def test_a_file_elsewhere_may_be_linked(directory: Path, tmp_path: Path) -> None:
    (directory / "requests.npy").rename(tmp_path / "big.npy")
    (directory / "requests.npy").symlink_to(tmp_path / "big.npy")
    assert load_run(directory).rows is not None


def put_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def put_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def put_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def put_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def put_hole(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def zeros(path: Path) -> None:
    path.write_bytes(bytes(len(path.read_bytes())))


DAMAGES: list[Callable[[Path], None]] = [
    *(put_fifo, put_directory, put_device, put_loop, put_hole, cut, empty, zeros),
]


@pytest.mark.parametrize("name", ["summary.json", "windows.csv", "events.jsonl", "requests.npy"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_file_of_ours(
    directory: Path, name: str, damage: Callable[[Path], None]
) -> None:
    if (name, damage) == ("events.jsonl", empty):
        empty(directory / name)
        assert load_run(directory).events == []  # a run may have none
        return
    damage(directory / name)
    refused(directory, name)


def test_files_of_another_run(directory: Path, tmp_path: Path) -> None:
    other = stored(tmp_path / "other", "every outcome", draw=8)
    for name in ("windows.csv", "requests.npy"):
        before = (directory / name).read_bytes()
        shutil.copy(other / name, directory / name)
        assert "not of this run" in refused(directory, name)
        (directory / name).write_bytes(before)
    load_run(directory)


@pytest.mark.parametrize("path", ["absent", "x" * 300, "out/summary.json", "out/under/it"])
def test_what_is_no_directory(directory: Path, path: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_run(directory.parent / path)
    assert "\n" not in str(caught.value)


# summary.json


def change(directory: Path, *steps: Any, value: Any = None) -> None:
    """Set one place of summary.json; without a value: leave it out."""
    path = directory / "summary.json"
    content = json.loads(path.read_bytes())
    inner = content
    for step in steps[:-1]:
        inner = inner[step]
    if value is None:
        del inner[steps[-1]]
    else:
        inner[steps[-1]] = value
    path.write_text(json.dumps(content))


BAD_SUMMARY: list[tuple[tuple[Any, ...], Any]] = [
    (("plan", "slots"), 2**63),
    (("plan", "slots"), -1),
    (("plan", "duration_s"), 1e9),
    (("plan", "duration_s"), 0),
    (("plan", "duration_s"), "1"),
    (("plan", "duration_s"), float("nan")),
    (("plan", "cut_ns"), 2**60),
    (("plan", "seed"), "x"),
    (("plan",), None),
    (("plan",), []),
    (("totals", "ok"), 10**9),
    (("totals", "ok"), 1.5),
    (("totals", "violations_by", "slow"), 10**6),
    (("totals", "client_late"), 10**6),
    (("per_server", TWO[0], "totals", "sent"), 10**6),
    (("per_server", TWO[0]), None),
    (("per_server", "elsewhere:1"), {}),
    (("server_stats", TWO[1]), None),
    (("servers",), []),
    (("servers", 0, "url"), "elsewhere:1"),
    (("servers", 0, "url"), 5),
    (("servers",), [{}] * 10**6),
    (("servers",), [1] * 10**6),
    (("workers",), [{}] * 10**5),
    (("workers", 0, "in_flight_max"), ["x"] * 10**6),
    (("response_ns", "p50"), 2**60),
    (("response_ns", "p50"), float("inf")),
    (("host", "cpus"), float("inf")),
    (("rate", "ok"), 1e300),
    (("slo", "limit"), 2),
    (("limits", "timeout_ns"), 2**60),
    (("config",), "x"),
    (("config", "seed"), 10**310),
    (("outages", 0, "t_end_ns"), -1),
    (("schema",), 2),
    (("schema",), [[1] * 1000]),
    (("valid",), "perhaps"),
    (("findings",), [[]]),
    (("argv",), {"a": 1}),
]


@pytest.mark.parametrize(
    ("steps", "value"), BAD_SUMMARY, ids=[f"{s}={str(v)[:20]}" for s, v in BAD_SUMMARY]
)
def test_a_summary_out_of_its_ranges(directory: Path, steps: tuple[Any, ...], value: Any) -> None:
    change(directory, *steps, value=value)
    refused(directory, "summary.json")


def test_a_plan_of_2_to_60_slots_takes_no_memory(directory: Path) -> None:
    change(directory, "plan", "slots", value=2**60)
    assert load_run(directory).rows is not None


@pytest.mark.parametrize("given", [{"duration_s": 3e7}, {"duration_s": 0.5}, {"cut_ns": 1}])
def test_a_run_longer_or_shorter_than_its_windows(directory: Path, given: dict[str, Any]) -> None:
    for key, value in given.items():
        change(directory, "plan", key, value=value)
    refused(directory, "windows.csv")
    (directory / "windows.csv").unlink()
    if given != {"duration_s": 3e7}:
        refused(directory, "requests.npy")


def switched(tmp_path: Path) -> Path:
    return stored(tmp_path / "out", "a switch")


@pytest.mark.parametrize(
    ("steps", "value"),
    [
        (("from",), "elsewhere:1"),
        (("in_flight",), {"elsewhere:1": 1}),
        (("phases", "after", "servers"), {"elsewhere:1": {"decided": 1}}),
        (("t_seen_ns",), [[]]),
        (("t_seen_ns",), [2**60]),
        (("outage",), 99),
        (("rate",), 1.5),
    ],
)
def test_switches_out_of_their_ranges(tmp_path: Path, steps: tuple[Any, ...], value: Any) -> None:
    directory = switched(tmp_path)
    change(directory, "switches", 0, *steps, value=value)
    refused(directory, "summary.json")


# windows.csv


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


# events.jsonl


def events(directory: Path, *lines: str) -> list[dict[str, Any]]:
    text = "".join(f"{line}\n" for line in lines)
    (directory / "events.jsonl").write_bytes(text.encode("utf-8", "surrogatepass"))
    return load_events(directory, servers=2)


GOOD_EVENTS = [
    '{"t_ns": 0, "event": "start"}',
    '{"t_ns": -5, "event": "of a later version", "some": [1, "a", null], "more": 1.5}',
    '{"t_ns": 1, "event": "readmit", "server": 1, "url": "b:1"}',
    '{"t_ns": 1, "event": "command_ended", "command": "x", "exit_code": null, "error": "no"}',
    '{"t_ns": 1, "event": "command_ended", "command": "x", "exit_code": -9}',
    '{"t_ns": 1, "event": "eject", "server": 0, "rule": "r", "n": 1, "x": 1, "bound": 0.5,'
    ' "t_onset_ns": null, "in_use": [1]}',
    '{"t_ns": 1, "event": "switch", "source": 0, "target": 1, "from": "a:1", "to": "b:1",'
    ' "epoch": 1, "rule": "r", "n": 1, "x": 1, "bound": 1, "t_onset_ns": 0, "t_detect_ns": 1,'
    ' "t_decide_ns": 1, "t_seen_ns": [2, null], "in_flight": [0, 3]}',
]


def test_events_read(tmp_path: Path) -> None:
    assert events(tmp_path, *GOOD_EVENTS) == [json.loads(line) for line in GOOD_EVENTS]
    assert events(tmp_path) == []


BAD_EVENTS = [
    *("", "1", "[]", "null", "{}", '{"event": "x"}', '{"t_ns": 1}', '{"t_ns": 1, "event": 5}'),
    *(f'{{"t_ns": {one}, "event": "x"}}' for one in ("1.5", "true", "null", '"1"', 2**60, "NaN")),
    '{"t_ns": 1, "event": "x", "a": 1e999}',
    '{"t_ns": 1, "event": "x", "a": {"b": 1}}',
    '{"t_ns": 1, "event": "x", "a": [[1]]}',
    '{"t_ns": 1, "event": "x", "a": [' + ",".join("0" * 5000) + "]}",
    '{"t_ns": 1, "event": "x", ' + ", ".join(f'"{n}": 0' for n in range(100)) + "}",
    '{"t_ns": 1, "event": "x", "a": "\\ud800"}',
    '{"t_ns": 1, "event": "x", "a": "\x00"}',
    '{"t_ns": 1, "event": "x", "a": ' + "9" * 5000 + "}",
    '{"t_ns": 1, "event": "x", "a": "' + "x" * 2_000_000 + '"}',
    '{"t_ns": 1, "event": "x", "a": ' + "[" * 5000 + "}",
    '{"t_ns": 1, "event": "readmit"}',
    *(
        f'{{"t_ns": 1, "event": "readmit", "server": {one}}}'
        for one in (2, -1, "null", '"a"', "[0]")
    ),
    '{"t_ns": 1, "event": "command", "command": 5}',
    '{"t_ns": 1, "event": "command_ended", "command": "x"}',
    '{"t_ns": 1, "event": "command_ended", "command": "x", "exit_code": null}',
    '{"t_ns": 1, "event": "coordinator_late", "gap_ns": null}',
    '{"t_ns": 1, "event": "worker_died", "worker": -1}',
    GOOD_EVENTS[-1].replace('"t_seen_ns": [2, null]', '"t_seen_ns": 2'),
    GOOD_EVENTS[-1].replace('"t_seen_ns": [2, null]', '"t_seen_ns": ["a"]'),
    GOOD_EVENTS[-1].replace('"in_flight": [0, 3]', '"in_flight": [null]'),
    GOOD_EVENTS[-1].replace('"rule": "r"', '"rule": 1'),
    GOOD_EVENTS[-1].replace('"bound": 1', '"bound": -1'),
]


@pytest.mark.parametrize("line", BAD_EVENTS, ids=[line[:60] for line in BAD_EVENTS])
def test_events_out_of_their_ranges(tmp_path: Path, line: str) -> None:
    with pytest.raises(UsageError, match=r"events\.jsonl in .* is damaged") as caught:
        events(tmp_path, GOOD_EVENTS[0], line)
    assert "\n" not in str(caught.value)


def test_a_line_without_its_end(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text(GOOD_EVENTS[0])
    with pytest.raises(UsageError, match="line 1 is cut short"):
        load_events(tmp_path, 1)


def test_every_event_that_a_run_tells_is_read(tmp_path: Path) -> None:
    run = synthetic_run(**CASES["a switch"])
    evidence: dict[str, Any] = {"server": 0, "rule": "rate", "n": 5, "x": 3, "bound": 2.5}
    run.events += [
        {"t_ns": 1, "event": "flapping", **evidence},
        {"t_ns": 1, "event": "eject", **evidence, "t_onset_ns": 0, "in_use": [1]},
        {"t_ns": 2, "event": "connection_lost", "server": 1, "worker": 0},
        {"t_ns": 2, "event": "worker_hung", "worker": 1},
        {"t_ns": 3, "event": "command", "at_ns": 3, "command": "a\n\x1b[31mb"},
        {"t_ns": 4, "event": "coordinator_late", "gap_ns": 5},
        {"t_ns": 4, "event": "cut"},
    ]
    found = load_run(store(tmp_path / "out", run)).events
    assert found is not None
    assert [event["event"] for event in found] == [event["event"] for event in run.events]


# requests.npy


ROW_DAMAGES: list[tuple[str, Any]] = [
    *(("slot", one) for one in (-1, 0, 2**62 + 1, 2**63 - 1, -(2**63))),
    *(("t_sched_ns", one) for one in (-1, NS_PER_S, 2**60, 2**63 - 1)),
    *(("t_taken_ns", one) for one in (-2, 2**60)),
    *(("t_sent_ns", one) for one in (-2, 2**60)),
    *(("t_first_ns", one) for one in (-(2**63), 2**60)),
    *(("t_done_ns", one) for one in (-1, 0, 2**60, 2**63 - 1)),
    *(("worker", one) for one in (2, 65_535)),
    *(("server", one) for one in (1, 2, 254)),
    *(("outcome", one) for one in (0, 2, 8, 255)),
    *(("decision", one) for one in (0, 4, 255)),
    *(("reason", one) for one in (10, 255)),
]


@pytest.mark.parametrize(("field", "value"), ROW_DAMAGES)
def test_rows_out_of_their_ranges(tmp_path: Path, field: str, value: int) -> None:
    directory = stored(tmp_path / "out")
    rows = np.load(directory / "requests.npy")
    assert rows["outcome"][100] == Outcome.OK
    rows[field][100] = value
    np.save(directory / "requests.npy", rows)
    text = refused(directory, "requests.npy")
    assert "row 100" in text or "not of this run" in text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("server", NO_SERVER),
        ("status", 200),
        ("flags", 255),
        ("epoch", 2**32 - 1),
        ("t_sent_ns", -1),
    ],
)
def test_rows_within_their_ranges(tmp_path: Path, field: str, value: int) -> None:
    directory = stored(tmp_path / "out")
    rows = np.load(directory / "requests.npy")
    rows[field][100] = value
    np.save(directory / "requests.npy", rows)
    found = load_run(directory).rows
    assert found is not None
    assert found[field][100] == value


@settings(deadline=None)
@given(data=st.data())
def test_rows_are_read_as_they_were(data: st.DataObject, tmp_path_factory: Any) -> None:
    """Any order of chunks: the check looks at each row once and at its neighbours."""
    run: RunData = synthetic_run(rate=40.0, seed=data.draw(st.integers(0, 50)))
    directory = store(tmp_path_factory.mktemp("rows") / "out", run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.results.stored.CHUNK_ROWS", data.draw(st.integers(1, 50)))
        found = load_run(directory).rows
        assert found is not None
        assert np.array_equal(found, run.tally.rows)
        rows = found.copy()
        place = data.draw(st.integers(1, len(rows) - 1))
        rows[[place - 1, place]] = rows[[place, place - 1]]
        np.save(directory / "requests.npy", rows)
        with pytest.raises(UsageError, match=f"row {place} |row {place - 1} "):
            load_run(directory).rows  # noqa: B018


def test_a_header_of_2_to_60_rows(directory: Path) -> None:
    path = directory / "requests.npy"
    count = len(np.load(path))
    for other in (2**60, 10**18, 2**63, count + 1, 0):
        content = path.read_bytes().replace(b"(%d,)" % count, b"(%d,)" % other)
        (directory / "other.npy").write_bytes(content)
        shutil.copytree(directory, directory.parent / f"{other}")
        (directory.parent / f"{other}" / "other.npy").rename(
            directory.parent / f"{other}" / "requests.npy"
        )
        refused(directory.parent / f"{other}", "requests.npy")


def test_a_header_is_not_evaluated(tmp_path: Path) -> None:
    directory = stored(tmp_path / "out")
    path = directory / "requests.npy"
    content = path.read_bytes()
    for old, new in ((b"False", b"1if 1"), (b"'descr'", b"'des'+''"), (b"<i8", b">i8")):
        path.write_bytes(content.replace(old, new, 1))
        refused(directory, "requests.npy")


def test_a_row_is_64_bytes() -> None:
    assert RECORD.itemsize == 64


def test_nothing_is_loaded_twice(directory: Path) -> None:
    run: StoredRun = load_run(directory)
    assert run.rows is run.rows
