"""A file for a person: whole or not at all, private, nothing overwritten unasked."""

import os
import stat
import threading
from pathlib import Path
from typing import IO

import pytest

from harness.errors import ResultsError, UsageError
from harness.export.output import write_output


def hello(out: IO[bytes]) -> None:
    out.write(b"hello")


def test_private_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write_output(path, False, hello)
    assert path.read_bytes() == b"hello"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["out.csv"]


def test_what_is_there_is_replaced_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        write_output(path, False, hello)
    assert path.read_text() == "mine"
    write_output(path, True, hello)
    assert path.read_text() == "hello"


def test_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    (tmp_path / "link").symlink_to("there")
    with pytest.raises(UsageError, match="is there already"):
        write_output(tmp_path / "link", False, hello)
    write_output(tmp_path / "link", True, hello)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there").read_text() == "hello"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "out.csv"
    path.write_text("mine")

    def fail(out: IO[bytes]) -> None:
        out.write(b"x" * 100_000)
        raise error

    expected = ResultsError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        write_output(path, True, fail)
    if isinstance(error, OSError):
        assert "No space left on device; make room" in str(caught.value)
    assert os.listdir(tmp_path) == ["out.csv"]
    assert path.read_text() == "mine"


@pytest.mark.parametrize("place", ["absent/out", "file/out", "x" * 300])
def test_where_no_file_can_be(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResultsError) as caught:
        write_output(tmp_path / place, False, hello)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["file"]


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a directory"):
        write_output(tmp_path, True, hello)


def test_a_device_stays_one() -> None:
    write_output(Path("/dev/null"), True, hello)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(ResultsError, match="No space left on device"):
        write_output(Path("/dev/full"), False, hello)
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_output(tmp_path / "pipe", False, hello)
    reader.join(10)
    assert read == [b"hello"]
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
