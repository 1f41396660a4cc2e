"""The results directory of a run: made before any load, filled at its end, all or nothing."""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from harness.config import BenchConfig
from harness.errors import ResultsError, UsageError
from harness.load.limits import check_disk, disk_needed_bytes, keeps_records, most_rows
from harness.results import events_file, requests_file, windows_file
from harness.results import summary as summary_file
from harness.results.events_file import write_events
from harness.results.requests_file import PRIVATE_FILE, RequestsFile
from harness.results.rundata import RunData
from harness.results.summary import Summary
from harness.results.windows_file import write_windows
from harness.untrusted import clean_text

OURS = (requests_file.NAME, windows_file.NAME, events_file.NAME, summary_file.NAME, "report.html")
"""Every file a results directory may hold of ours; nothing else is ever touched."""

PRIVATE_DIRECTORY = 0o700
MAX_MODEL_CHARS = 80
MAX_SAME_SECOND = 1000


def check_space(config: BenchConfig, slots: int) -> None:
    """Raises NotStartedError if the disk is too small for the results of ``slots`` slots."""
    place = Path(config.out or "runs").absolute()
    while not os.path.isdir(place) and place != place.parent:
        place = place.parent
    needed = disk_needed_bytes(slots, config.duration_ns, max(2, len(config.urls)), config.records)
    free = shutil.disk_usage(place).free
    check_disk(needed, free, clean_text(str(place)), records=keeps_records(slots, config.records))


def prepare(config: BenchConfig, slots: int) -> "ResultsDir":
    """Make the directory, before any load.

    Raises UsageError if it is there already (without ``force``) or cannot be made, NotStartedError
    if the disk is too small for ``slots`` slots.
    """
    check_space(config, slots)
    return _make(config)


def make_folder(config: BenchConfig) -> Path:
    """An empty folder for the directories of several runs; with ``force`` it may be there already.

    Raises UsageError.
    """
    return _make(config).path


class ResultsDir:
    """``made``: by us and for this run, so ours to remove."""

    def __init__(self, path: Path, made: bool) -> None:
        self.path = path
        self._made = made
        self._requests: RequestsFile | None = None

    def open_requests(self, config: BenchConfig, slots: int | None) -> RequestsFile | None:
        """The file the rows go to, or None if none are kept; ``slots`` None: it has to grow.

        Raises NotStartedError.
        """
        if keeps_records(slots or 0, config.records):
            if slots is None:
                self._requests = RequestsFile(self.path, most_rows(config.records), reserved=0)
            else:
                self._requests = RequestsFile(self.path, slots)
        return self._requests

    def write(self, run: RunData, summary: Summary) -> None:
        """Write every file under a temporary name, then put all in place, ``summary.json`` last.

        Raises ResultsError; files that were there before are then as they were.
        """
        writers: dict[str, Callable[[IO[bytes]], None]] = {
            windows_file.NAME: lambda out: write_windows(out, run),
            events_file.NAME: lambda out: write_events(out, run),
            summary_file.NAME: lambda out: _write_all(out, summary.to_json()),
        }
        staged: dict[str, Path] = {}
        name = requests_file.NAME
        try:
            if self._requests is not None and run.tally.rows is not None:
                kept = run.slots_until_cut
                if run.spec.closed:
                    kept = self._requests.close_gaps(run.tally.slots_end)
                staged[name] = self._requests.finish(kept)
            for name, writer in writers.items():
                staged[name] = self._temporary(name)
                write_private(staged[name], writer)
            for name, temporary in staged.items():
                os.replace(temporary, self.path / name)
            for name in set(OURS) - set(staged):
                (self.path / name).unlink(missing_ok=True)
            _sync_directory(self.path)
        except BaseException as error:
            for temporary in staged.values():
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise ResultsError(
                    f"cannot write {name} in '{clean_text(str(self.path))}': {error.strerror};"
                    " make room or give another --out, and run again"
                ) from None
            raise
        finally:
            if self._requests is not None:
                self._requests.discard()

    def discard(self) -> None:
        """Undo ``prepare`` where no run came of it: an empty directory of ours is removed."""
        if self._requests is not None:
            self._requests.discard()
        if self._made:
            with contextlib.suppress(OSError):
                self.path.rmdir()

    def remove_leftovers(self) -> None:
        """Remove temporary files that a killed run left here; those of a live one stay."""
        pattern = re.compile(rf"\.({'|'.join(map(re.escape, OURS))})\.([0-9]{{1,10}})\.tmp")
        for entry in self.path.iterdir():
            match = pattern.fullmatch(entry.name)
            # In a container every run may have the same pid, so our own proves nothing.
            if match and (int(match[2]) == os.getpid() or not Path("/proc", match[2]).exists()):
                entry.unlink(missing_ok=True)

    def _temporary(self, name: str) -> Path:
        return self.path / f".{name}.{os.getpid()}.tmp"


def default_name(model: str, now: datetime) -> str:
    """``<utc time>-<model>`` with every character that has a meaning in a path replaced."""
    return f"{now:%Y%m%dT%H%M%SZ}-{re.sub(r'[^A-Za-z0-9._-]', '_', model)[:MAX_MODEL_CHARS]}"


def _make(config: BenchConfig) -> ResultsDir:
    if config.out is None:
        return _make_default(config.model)
    path = Path(config.out)
    with _usage(path):
        if config.force and os.path.lexists(path):
            directory = ResultsDir(path, made=False)
            directory.remove_leftovers()
            return directory
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=PRIVATE_DIRECTORY)
    return ResultsDir(path, made=True)


def _make_default(model: str) -> ResultsDir:
    """Runs of one second are told apart by a number."""
    first = Path("runs") / default_name(model, datetime.now(UTC))
    with _usage(first):
        first.parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, MAX_SAME_SECOND):
            path = first if number == 1 else first.with_name(f"{first.name}_{number}")
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=PRIVATE_DIRECTORY)
                return ResultsDir(path, made=True)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(first))


@contextlib.contextmanager
def _usage(path: Path) -> Iterator[None]:
    """Turns what goes wrong with a directory that was asked for into one line."""
    shown = clean_text(str(path))
    try:
        yield
    except (OSError, ValueError) as error:
        if isinstance(error, FileExistsError) and error.filename == str(path):
            raise UsageError(
                f"output directory '{shown}' is there already; give another --out, or --force to"
                " replace the results in it"
            ) from None
        reason = error.strerror if isinstance(error, OSError) else clean_text(str(error))
        raise UsageError(
            f"cannot make output directory '{shown}': {reason}; give another --out"
        ) from None


def write_private(path: Path, writer: Callable[[IO[bytes]], None]) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, PRIVATE_FILE), "wb") as out:
        writer(out)
        out.flush()
        os.fsync(out.fileno())


def _write_all(out: IO[bytes], content: bytes) -> None:
    out.write(content)


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
