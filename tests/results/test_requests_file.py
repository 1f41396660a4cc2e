"""requests.npy: space reserved, memory given back, cut to length, read back with checks."""

import os
import resource
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from harness.errors import NotStartedError, UsageError
from harness.records import RECORD, Outcome
from harness.results.requests_file import RequestsFile, load_requests
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
