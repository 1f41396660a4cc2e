"""requests.npy: space reserved, memory given back, cut to length, read back with checks."""

import errno
import mmap
import os
import resource
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness._tally import Tally
from harness.errors import NotStartedError, UsageError
from harness.records import BUCKET_NS, RECORD, Outcome
from harness.results import requests_file
from harness.results.requests_file import RequestsFile, RowKeeper, load_requests
from tests.synthetic import Spec, make_records, synthetic_run

SLOTS = 100_000


def test_private_reserved_and_zero(tmp_path: Path) -> None:
    file = RequestsFile(tmp_path, SLOTS)
    found = file.path.stat()
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_blocks * 512 >= SLOTS * RECORD.itemsize
    assert file.path.name.startswith(".")
    assert file.rows.shape == (SLOTS,)
    assert not file.rows["outcome"].any()
    file.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [0, 1, 9, 99, 1000])
def test_cut_to_length(tmp_path: Path, kept: int) -> None:
    file = RequestsFile(tmp_path, 1000)
    file.rows["slot"] = np.arange(1000)
    file.rows["outcome"] = Outcome.OK
    path = file.finish(kept)
    file.close()
    rows = load_requests(path)
    assert rows.dtype == RECORD
    assert rows["slot"].tolist() == list(range(kept))
    assert not rows.flags.writeable
    assert np.array_equal(np.load(path, allow_pickle=False), rows)


def test_no_slots_at_all(tmp_path: Path) -> None:
    file = RequestsFile(tmp_path, 0)
    assert file.rows.shape == (0,)
    assert len(load_requests(file.finish(0))) == 0
    file.close()


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_release_keeps_the_data_and_gives_back_memory(tmp_path: Path) -> None:
    file = RequestsFile(tmp_path, SLOTS)
    file.rows["slot"] = np.arange(SLOTS)
    before = resident_bytes()
    file.release()
    assert before - resident_bytes() > 0.8 * SLOTS * RECORD.itemsize
    assert np.array_equal(file.rows["slot"], np.arange(SLOTS))
    file.release()
    file.rows["slot"][5] = 7
    rows = load_requests(file.finish(SLOTS))
    assert rows["slot"][5] == 7
    assert rows["slot"][-1] == SLOTS - 1
    file.discard()


def test_too_little_space_is_one_line_with_figures(tmp_path: Path) -> None:
    with pytest.raises(NotStartedError) as caught:
        RequestsFile(tmp_path, 2**45)
    text = str(caught.value)
    assert "\n" not in text
    assert "TiB" in text
    assert "--records none" in text
    assert list(tmp_path.iterdir()) == []


def test_a_file_size_limit_is_told_before_the_run(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
from harness.errors import NotStartedError
from harness.results.requests_file import RequestsFile
try:
    RequestsFile(Path(sys.argv[1]), 10_000)
except NotStartedError as error:
    print(error)
    sys.exit(error.exit_code)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert done.stdout.count("\n") == 1
    assert "requests.npy needs 625 KiB" in done.stdout
    assert list(tmp_path.iterdir()) == []


def growing(directory: Path, slots: int = SLOTS) -> RequestsFile:
    return RequestsFile(directory, slots, reserved=0)


def stored_bytes(file: RequestsFile) -> int:
    return file.path.stat().st_blocks * 512


def test_a_growing_file_takes_the_room_it_is_told_to(tmp_path: Path) -> None:
    file = growing(tmp_path)
    assert stored_bytes(file) < 0.01 * SLOTS * RECORD.itemsize
    assert file.reserve(SLOTS // 2)
    assert file.reserve(10)
    assert file.reserved == SLOTS // 2
    assert 0.4 < stored_bytes(file) / (SLOTS * RECORD.itemsize) < 0.6
    assert file.reserve(SLOTS)
    assert not file.reserve(SLOTS + 1)
    assert file.reserved == SLOTS
    file.empty()
    assert stored_bytes(file) == 0
    file.discard()


@pytest.mark.parametrize("chunk", [1, 3, 16, 1 << 16])
@given(there=st.lists(st.booleans(), max_size=60), beyond=st.integers(0, 5))
def test_gaps_are_closed_in_order(chunk: int, there: list[bool], beyond: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests_file, "CHUNK_ROWS", chunk)
        file = growing(Path(folder), len(there) + beyond)
        assert file.reserve(len(there))
        file.rows["slot"][: len(there)] = np.arange(len(there))
        file.rows["outcome"][: len(there)] = np.where(there, Outcome.OK, Outcome.NONE)
        kept = file.close_gaps(len(there))
        rows = load_requests(file.finish(kept))
        assert rows["slot"].tolist() == np.flatnonzero(there).tolist()
        assert (rows["outcome"] == Outcome.OK).all()
        file.close()


class Disk:
    """Room for so many bytes of a file; beyond, ``posix_fallocate`` fails."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.allocate = os.posix_fallocate

    def __call__(self, fd: int, offset: int, length: int) -> None:
        if offset + length > self.size_bytes:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.allocate(fd, offset, length)


class Kept:
    """A tally whose rows lie in a growing file, kept by a RowKeeper."""

    def __init__(self, directory: Path, slots: int = SLOTS, ahead: int = 64) -> None:
        self.file = growing(directory, slots)
        self.tally = Tally(1, 2**60, BUCKET_NS, self.file.rows)
        self.keep = RowKeeper(self.tally, self.file, ahead)
        self.keep()
        self.end = 0

    def add(self, count: int) -> None:
        rows = np.zeros(count, dtype=RECORD)
        rows["slot"] = np.arange(self.end, self.end + count)
        rows["outcome"] = Outcome.UNSENT
        self.end += count
        self.tally.add_rows(rows)
        self.keep()


def test_the_keeper_makes_room_as_records_come(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    assert kept.file.reserved == 64
    for _ in range(20):
        kept.add(50)
    assert kept.file.reserved == 1000 + 64
    assert kept.tally.unrecorded == 0
    assert len(load_requests(kept.file.finish(kept.file.close_gaps(1000)))) == 1000
    kept.file.discard()


def test_the_keeper_uses_the_room_there_is_and_then_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = growing(tmp_path, 0)
    disk = Disk(header.path.stat().st_size + 200 * RECORD.itemsize)
    header.discard()
    monkeypatch.setattr(os, "posix_fallocate", disk)
    kept = Kept(tmp_path)
    for _ in range(200):
        kept.add(1)
    assert kept.tally.rows is not None
    assert kept.file.reserved == 200
    assert np.all(kept.file.rows["outcome"][:200] == Outcome.UNSENT)
    kept.add(1)
    assert kept.tally.rows is None
    assert stored_bytes(kept.file) == 0
    kept.add(100)
    assert kept.tally.counts.sum() == 301
    assert kept.tally.unrecorded == 1
    kept.file.discard()
    assert list(tmp_path.iterdir()) == []


def test_the_keeper_gives_up_at_the_end_of_the_file(tmp_path: Path) -> None:
    kept = Kept(tmp_path, slots=100)
    kept.add(50)
    kept.add(50)
    assert kept.tally.rows is not None
    kept.add(1)
    assert kept.tally.rows is None
    kept.file.discard()


def test_a_keeper_of_a_file_that_does_not_grow_keeps_its_rows(tmp_path: Path) -> None:
    file = RequestsFile(tmp_path, 4)
    tally = Tally(1, 4, BUCKET_NS, file.rows)
    RowKeeper(tally, file, 1)()
    RowKeeper(tally, None, 1)()
    assert tally.rows is file.rows
    file.discard()


def test_a_growing_file_ends_where_a_process_may_not_write(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
from harness.results.requests_file import RequestsFile
file = RequestsFile(Path(sys.argv[1]), 10_000, reserved=0)
print(file.slots, file.reserve(file.slots), len(file.rows))
file.discard()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    header_bytes = growing(tmp_path, 1).path.stat().st_size - RECORD.itemsize
    slots = (65536 - header_bytes) // RECORD.itemsize
    assert done.stdout.split() == [str(slots), "True", str(slots)], done.stderr


def test_a_missing_directory_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(NotStartedError, match="No such file"):
        RequestsFile(tmp_path / "absent", 1)


def good_file(directory: Path) -> Path:
    rows = make_records(Spec(), synthetic_run().config, np.arange(20) * 1000)
    path = directory / "requests.npy"
    np.save(path, rows)
    return path


def test_reads_a_directory_too(tmp_path: Path) -> None:
    path = good_file(tmp_path)
    assert len(load_requests(path)) == len(load_requests(tmp_path)) == 20


def spoil(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "cut short":
        path.write_bytes(content[:-10])
    elif how == "too long":
        path.write_bytes(content + b"x")
    elif how == "text":
        path.write_bytes(b"not numpy\n")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "other layout":
        np.save(path, np.zeros(20, dtype=np.int64))
    elif how == "two dimensions":
        np.save(path, np.zeros((2, 2), dtype=RECORD))
    elif how == "pickle":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif how == "archive":
        with path.open("wb") as out:
            np.savez(out, rows=np.zeros(3, dtype=RECORD))
    elif how == "huge":
        path.write_bytes(content.replace(b"(20,)", b"(%d,)" % 2**62))
    elif how == "bad header":
        path.write_bytes(content.replace(b"'descr'", b"'des\x00r'"))
    elif how == "pipe":
        path.unlink()
        os.mkfifo(path)
    else:
        path.unlink()


@pytest.mark.parametrize(
    "how",
    [
        *("cut short", "too long", "text", "empty", "other layout", "two dimensions", "pickle"),
        *("archive", "huge", "bad header", "pipe", "absent"),
    ],
)
def test_what_is_no_requests_file_is_told_in_one_line(tmp_path: Path, how: str) -> None:
    path = good_file(tmp_path)
    spoil(path, how)
    with pytest.raises(UsageError) as caught:
        load_requests(path)
    assert "\n" not in str(caught.value)


def test_a_temporary_directory_in_memory(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        file = RequestsFile(Path(directory), 10)
        file.rows["slot"] = 3
        file.release()
        assert file.rows["slot"].tolist() == [3] * 10
        file.discard()


def test_prepared_rows_cost_no_page_fault_more(tmp_path: Path) -> None:
    """A page of rows that were not prepared costs one at least."""
    rows_a_page = mmap.PAGESIZE // RECORD.itemsize
    pages = 200

    def faults(first: int) -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        file.rows["slot"][first : first + pages * rows_a_page : rows_a_page] = 1
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    file = RequestsFile(tmp_path, 3 * pages * rows_a_page)
    try:
        assert faults(2 * pages * rows_a_page) >= pages - 2  # its ends may share one
        file.prepare(0, pages * rows_a_page)
        assert faults(0) < pages // 2
    finally:
        file.discard()
