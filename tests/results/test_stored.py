"""Stored runs: every kind is read back, what is absent is said, what does not fit is one line."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.config import NS_PER_S
from harness.errors import UsageError
from harness.records import NO_SERVER, RECORD, Outcome
from harness.results.rundata import RunData
from harness.results.stored import StoredRun, load_run
from tests.results.stored_cases import CASES, refused, stored
from tests.results.test_findings import unbalanced
from tests.stored_runs import store
from tests.synthetic import synthetic_run


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
