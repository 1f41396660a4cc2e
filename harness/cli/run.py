"""What ``bench`` and ``demo`` share: a run with progress, its text."""

import os
import sys
from collections.abc import Sequence

from harness.bench import Bench, Result
from harness.config import BenchConfig
from harness.errors import NotStartedError
from harness.progress import ProgressLine


def run_bench(config: BenchConfig, argv: Sequence[str]) -> int:
    """One run with progress on stderr and the closing text on stdout; its exit code."""
    result = run_with_progress(config, argv)
    print_out(result.text)
    return result.exit_code


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
