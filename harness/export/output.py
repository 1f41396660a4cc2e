"""A file for a person: whole or not at all, and nothing overwritten unasked."""

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO

from harness.errors import ResultsError, UsageError
from harness.results.requests_file import PRIVATE_FILE
from harness.untrusted import clean_text


def write_output(path: Path, force: bool, write: Callable[[IO[bytes]], object]) -> None:
    """Call ``write`` with a file that takes the place of ``path`` when all is in it, mode 0600.

    A pipe or device is written to as it is. Raises UsageError if a file is there already (without
    ``force``) or it is a directory, ResultsError if it cannot be written: what was there is then
    as it was.
    """
    shown = clean_text(str(path))
    try:
        mode = _mode(path)
        if mode is not None and stat.S_ISDIR(mode):
            raise UsageError(f"--out '{shown}' is a directory; give a file")
        if mode is not None and not stat.S_ISREG(mode):
            with path.open("wb") as out:
                write(out)
            return
        if mode is not None and not force:
            raise UsageError(
                f"--out '{shown}' is there already; give another, or --force to replace it"
            )
        _replace(Path(os.path.realpath(path)), write)
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = error.strerror or clean_text(str(error), 100)
        raise ResultsError(
            f"cannot write '{shown}': {reason}; make room or give another --out"
        ) from None


def write_stdout(fd: int, data: bytes) -> None:
    """All of it, past Python's buffer: what finds no room is then not tried again at exit.

    Raises BrokenPipeError, ResultsError.
    """
    left = memoryview(data)
    try:
        while left:
            left = left[os.write(fd, left) :]
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ResultsError(f"cannot write to stdout: {error.strerror}; give an --out") from None


def _mode(path: Path) -> int | None:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def _replace(target: Path, write: Callable[[IO[bytes]], object]) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    # A killed process of this number left it.
    temporary.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(temporary, flags, PRIVATE_FILE), "wb") as out:
            write(out)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
