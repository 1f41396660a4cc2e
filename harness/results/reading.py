"""Files and JSON that may come from anybody: bounded, finite, and never waited on."""

import errno
import math
import os
import stat
from pathlib import Path
from typing import IO, Any

import pydantic_core

MAX_VALUES = 1 << 21
"""In one JSON text, however small each is: memory follows their number more than the bytes."""

MAX_KEYS = 4096
MOST_FIGURE = 10**300
"""A whole number over this has no float."""


def open_stored(path: Path) -> IO[bytes]:
    """A regular file, or a link to one, to read.

    Raises OSError; of a pipe, a device or a directory too, and without waiting on it.
    """
    # Before it is opened: what opening does to a device is not ours to know.
    _refuse_special(os.stat(path))
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _refuse_special(os.fstat(fd))
        return os.fdopen(fd, "rb")
    except BaseException:
        os.close(fd)
        raise


def _refuse_special(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")


def is_there(path: Path) -> bool:
    """Whether there is anything of that name; what cannot be looked at is."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def read_json(data: bytes) -> Any:
    """Strict JSON whose numbers are all finite.

    Raises ValueError for anything else, and for more values than any of our files has.
    """
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > MAX_VALUES:
        raise ValueError(f"over {MAX_VALUES} values")
    content = pydantic_core.from_json(data, allow_inf_nan=False)
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if len(value) > MAX_KEYS:
                raise ValueError(f"an object of {len(value)} keys")
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError("a number that is not finite")
        elif isinstance(value, int) and abs(value) > MOST_FIGURE:
            raise ValueError("a number beyond 1e300")
    return content
