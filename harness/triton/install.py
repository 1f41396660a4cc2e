"""What installing into a folder needs: one process at a time, all or nothing, errors in a line."""

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.errors import NotStartedError

LOCK_TIMEOUT_S = 600.0
STEP_TIMEOUT_S = 900.0

Say = Callable[[str], None]
"""Takes a line of progress."""


def silent(line: str) -> None:
    """A Say that says nothing."""


@contextmanager
def locked(directory: Path, say: Say = silent) -> Iterator[None]:
    """Hold the lock of an installation directory, made if absent.

    Raises NotStartedError after 10 minutes, OSError if the directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    waiting = False
    with (directory / ".lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise NotStartedError(
                        f"waited {LOCK_TIMEOUT_S:.0f} s for another process that installs in "
                        f"{directory}; end it and try again"
                    ) from None
            if not waiting:
                say(f"waiting for another process that installs in {directory}")
                waiting = True
            time.sleep(0.1)
        yield


@contextmanager
def replacing(root: Path) -> Iterator[Path]:
    """A fresh folder beside ``root`` that takes its place if the block ends well.

    For use under ``locked``: what a killed builder left there is removed.
    """
    _remove_leftovers(root.parent)
    building = Path(tempfile.mkdtemp(prefix="building-", dir=root.parent))
    try:
        yield building
        if root.exists():
            root.rename(root.parent / f"building-old-{os.getpid()}")
        building.rename(root)
    finally:
        _remove_leftovers(root.parent)


def _remove_leftovers(directory: Path) -> None:
    for leftover in directory.glob("building-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def run(
    argv: Sequence[str | os.PathLike[str]],
    timeout_s: float = STEP_TIMEOUT_S,
    *,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program without input; one that is not there or does not end has a status too."""
    environment = dict(os.environ if env is None else env)
    for name in ("PYTHONHOME", "PYTHONPATH"):
        environment.pop(name, None)
    try:
        return subprocess.run(
            argv,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
            cwd=cwd,
            env=environment,
        )
    except OSError as error:
        return subprocess.CompletedProcess(argv, 127, "", str(error))
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 124, "", f"no end after {timeout_s:.0f} s")


def checked(
    argv: Sequence[str | os.PathLike[str]], purpose: str, *, cwd: Path | None = None
) -> str:
    """A program's standard output; NotStartedError with its last error line if it fails."""
    result = run(argv, cwd=cwd)
    if result.returncode == 0:
        return result.stdout
    lines = [line.strip() for line in (result.stdout + result.stderr).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR:", "E:"))]
    reason = (errors or lines or ["it gave no reason"])[-1].removeprefix("ERROR: ")
    raise NotStartedError(
        f"cannot {purpose}: {reason}; see that the package index is reached and 1 GB of disk free"
    )
