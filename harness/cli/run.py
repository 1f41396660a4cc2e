"""What ``bench`` and ``demo`` share: a run with progress, its text."""

import os
import sys
from collections.abc import Sequence

from harness.bench import Bench, Result
from harness.config import BenchConfig
from harness.errors import NotStartedError
from harness.progress import ProgressLine
from harness.repeats import Repeats


def run_bench(
    config: BenchConfig, argv: Sequence[str], repeat: int = 1, between: str | None = None
) -> int:
    """Runs with progress on stderr and the closing text on stdout.

    The exit code: of the first that did not end in 0, or 0.
    """
    if repeat == 1:
        result = run_with_progress(config, argv)
        print_out(result.text)
        return result.exit_code
    code = 0
    repeats = Repeats(config, repeat, between)
    for one in repeats.configs():
        if one.number > 1:
            print_out("\n")
        result = run_with_progress(one.config, argv)
        print_out(result.text)
        code = code or result.exit_code
        if result.summary.interrupted_by is not None:
            break
    return code


def print_out(text: str) -> None:
    """Print to stdout. It may be closed, full or unread: the results are written all the same."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        # What is left in the buffer must not be complained of at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run_with_progress(config: BenchConfig, argv: Sequence[str]) -> Result:
    """The run; a terminal's progress line is closed whatever happens."""
    line = ProgressLine(sys.stderr)
    try:
        return Bench(config, on_progress=line, on_note=line.note, argv=argv).run()
    except (OSError, MemoryError) as error:
        raise NotStartedError(f"no resources for this run: {error or 'out of memory'}") from None
    finally:
        line.close()
