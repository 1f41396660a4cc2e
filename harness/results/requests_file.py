"""``requests.npy``: one RECORD per slot, written through memory while the run goes on."""

import contextlib
import errno
import io
import mmap
import os
import re
import resource
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from harness._tally import Tally
from harness.errors import NotStartedError, UsageError
from harness.records import RECORD, Outcome
from harness.results.reading import open_stored
from harness.units import format_bytes
from harness.untrusted import clean_text

NAME = "requests.npy"
PRIVATE_FILE = 0o600
CHUNK_ROWS = 1 << 16
MOST_PREPARED = 1 << 16
MADV_POPULATE_WRITE = 23

_SHAPE = re.compile(rb"'shape': \(([0-9]{1,18}),\)")

TOO_LITTLE_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class RequestsFile:
    """A file of ``slots`` rows under a temporary name in ``directory``.

    ``rows``: RECORD per slot, writable; all zero (Outcome.NONE) at first. The space of the first
    ``reserved`` is reserved, by default of all; rows after them must not be written before
    ``reserve`` has made room for them. Where it is given ``slots`` is a bound, and lowered to what
    this process may write to a file.
    Raises NotStartedError if the file cannot be made or the space is not there.
    """

    def __init__(self, directory: Path, slots: int, reserved: int | None = None) -> None:
        self.path = directory / f".{NAME}.{os.getpid()}.tmp"
        header = _header(slots)
        self._header_bytes = len(header)
        self.growing = reserved is not None
        if self.growing:
            slots = min(slots, _most_rows(len(header)))
            header = _header(slots)
        self.slots = slots
        self.reserved = slots if reserved is None else min(reserved, slots)
        size_bytes = self._end_bytes(slots)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._fd = os.open(self.path, flags, PRIVATE_FILE)
        except OSError as error:
            raise NotStartedError(
                f"cannot make {NAME} in '{clean_text(str(directory))}': {error.strerror};"
                " give another --out"
            ) from None
        try:
            os.ftruncate(self._fd, size_bytes)
            os.posix_fallocate(self._fd, 0, self._end_bytes(self.reserved))
            os.pwrite(self._fd, header, 0)
            self._memory = mmap.mmap(self._fd, size_bytes)
        except OSError as error:
            self.discard()
            raise _no_space(error, directory, size_bytes) from None
        self.rows: NDArray[np.void] = np.ndarray(
            (slots,), dtype=RECORD, buffer=self._memory, offset=len(header)
        )

    def reserve(self, slots: int) -> bool:
        """Make room for the first ``slots`` rows; False: there is none, or the file ends before."""
        if slots <= self.reserved:
            return True
        if slots > self.slots:
            return False
        try:
            end_bytes = self._end_bytes(self.reserved)
            os.posix_fallocate(self._fd, end_bytes, self._end_bytes(slots) - end_bytes)
        except OSError:
            return False
        self.reserved = slots
        return True

    def release(self) -> None:
        """Give back the memory of the rows written so far; they stay in the file."""
        release_rows(self.rows)

    def prepare(self, first: int, count: int) -> None:
        """Have the pages of rows that are written next in memory, which costs less at once."""
        begin_bytes = self._end_bytes(first) // mmap.PAGESIZE * mmap.PAGESIZE
        end_bytes = self._end_bytes(min(first + min(count, MOST_PREPARED), self.reserved))
        if end_bytes > begin_bytes:
            with contextlib.suppress(OSError):  # a kernel before 5.14 has none of it
                self._memory.madvise(MADV_POPULATE_WRITE, begin_bytes, end_bytes - begin_bytes)

    def finish(self, slots_until_cut: int) -> Path:
        """Cut off the rows after the cut and sync; return the temporary path.

        From then on rows at and after ``slots_until_cut`` must not be touched: they lie beyond the
        end of the file (SIGBUS). Raises OSError.
        """
        if not 0 <= slots_until_cut <= self.slots:
            raise ValueError(f"{slots_until_cut} of {self.slots} slots")
        header = _header(slots_until_cut)
        if len(header) != self._header_bytes:
            raise ValueError("the header's length depends on the number of rows")
        os.pwrite(self._fd, header, 0)
        os.ftruncate(self._fd, self._end_bytes(slots_until_cut))
        os.fsync(self._fd)
        return self.path

    def close_gaps(self, end: int) -> int:
        """Move the rows before ``end`` that hold a record together; how many there are."""
        kept = 0
        for first in range(0, end, CHUNK_ROWS):
            chunk = self.rows[first : min(first + CHUNK_ROWS, end)]
            there = chunk["outcome"] != Outcome.NONE
            found = int(np.count_nonzero(there))
            if kept < first or found < len(chunk):
                self.rows[kept : kept + found] = chunk[there]
            kept += found
            if first % (16 * CHUNK_ROWS) == 0:
                self.release()
        return kept

    def empty(self) -> None:
        """Give back the disk space; from then on no row must be touched (SIGBUS)."""
        os.ftruncate(self._fd, 0)

    def _end_bytes(self, slots: int) -> int:
        return self._header_bytes + slots * RECORD.itemsize

    def discard(self) -> None:
        """Remove the file if it still has its temporary name, and close it."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self.close()

    def close(self) -> None:
        """Close the descriptor; ``rows`` stay readable."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class RowKeeper:
    """Called while a run goes on: gives memory back, and where the file grows makes room.

    ``ahead``: rows to make room for beyond those written so far, fewer where the disk is nearly
    full. Once a record has found no room the tally gives up its rows, what they took on the disk is
    given back, and the run goes on without.
    """

    def __init__(self, tally: Tally, requests: RequestsFile | None, ahead: int) -> None:
        self.tally = tally
        self.requests = requests
        self.ahead = ahead
        self.slots_end = 0  # at the last call

    def __call__(self) -> None:
        requests, tally = self.requests, self.tally
        if requests is None or tally.rows is None:
            return
        if tally.unrecorded:
            tally.give_up_rows()
            requests.empty()
            return
        requests.release()
        if requests.growing:
            while not requests.reserve(min(tally.slots_end + self.ahead, requests.slots)):
                self.ahead //= 2
            tally.limit_rows(requests.reserved)
        # As many as came since the last time, and some.
        requests.prepare(tally.slots_end, (tally.slots_end - self.slots_end) * 5 // 4)
        self.slots_end = tally.slots_end


def release_rows(rows: NDArray[np.void]) -> None:
    """Give back the memory that rows mapped from a file take; other rows are left alone."""
    # A shared mapping's pages are the file's own: only this process's view of them is dropped.
    if isinstance(rows.base, mmap.mmap):
        rows.base.madvise(mmap.MADV_DONTNEED)


def load_requests(path: Path) -> NDArray[np.void]:
    """The rows of a ``requests.npy``, or of the one in a results directory, mapped read-only.

    Raises UsageError in one line if it is none, or cut short.
    """
    shown = clean_text(str(path))
    try:
        file = path / NAME if path.is_dir() else path
        with open_stored(file) as stored:
            count, offset = _rows_in(stored)
            memory = mmap.mmap(stored.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise UsageError(f"cannot read {NAME} of '{shown}': {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"'{shown}' is no {NAME}: {clean_text(str(error), 100)}") from None
    return np.ndarray((count,), dtype=RECORD, buffer=memory, offset=offset)


def _rows_in(stored: IO[bytes]) -> tuple[int, int]:
    """How many rows, and where they begin. Raises ValueError.

    The header is Python's text: it is compared with ours, and never evaluated.
    """
    size_bytes = stored.seek(0, os.SEEK_END)
    stored.seek(0)
    magic = np.lib.format.magic(1, 0)
    start = stored.read(len(magic) + 2)
    if len(start) < len(magic) + 2 or not start.startswith(magic):
        raise ValueError("it is no NumPy file of version 1")
    offset = len(start) + int.from_bytes(start[len(magic) :], "little")
    text = stored.read(offset - len(start))
    match = _SHAPE.search(text)
    if match is None or text.rstrip() != _header(int(match[1]))[len(start) :].rstrip():
        raise ValueError("its rows are not of this layout")
    count = int(match[1])
    if size_bytes != offset + count * RECORD.itemsize:
        raise ValueError(f"{size_bytes} bytes do not fit {count} rows")
    return count, offset


def _most_rows(header_bytes: int) -> int:
    limit_bytes, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit_bytes == resource.RLIM_INFINITY:
        return 2**63 - 1
    return max(0, limit_bytes - header_bytes) // RECORD.itemsize


def _header(slots: int) -> bytes:
    """Of version 1; NumPy pads it so that its length is the same for any number of rows."""
    out = io.BytesIO()
    fields: dict[str, Any] = {
        "descr": np.lib.format.dtype_to_descr(RECORD),
        "fortran_order": False,
        "shape": (slots,),
    }
    np.lib.format.write_array_header_1_0(out, fields)
    return out.getvalue()


def _no_space(error: OSError, directory: Path, size_bytes: int) -> NotStartedError:
    where = f"'{clean_text(str(directory))}'"
    if error.errno not in TOO_LITTLE_SPACE:
        return NotStartedError(
            f"cannot reserve {format_bytes(size_bytes)} for {NAME} in {where}: {error.strerror};"
            " give another --out or --records none"
        )
    disk = os.statvfs(directory)
    return NotStartedError(
        f"{NAME} needs {format_bytes(size_bytes)}, {format_bytes(disk.f_bavail * disk.f_frsize)}"
        f" are free in {where} ({error.strerror}); give another --out or --records none"
    )
