"""What ``bench`` and ``demo`` share: a run with progress, and where its text goes."""

import os
import sys
from collections.abc import Sequence
from typing import TextIO

from harness.bench import Bench, Result
from harness.config import BenchConfig
from harness.errors import NotStartedError
from harness.live.display import make_display
from harness.repeats import Repeat, Repeats


def run_bench(
    config: BenchConfig,
    argv: Sequence[str],
    repeat: int = 1,
    between: str | None = None,
    *,
    quiet: bool = False,
    as_json: bool = False,
) -> int:
    """Runs with progress on stderr and the closing text on stdout.

    ``as_json``: ``summary.json`` on stdout, of several runs a line each, and the closing text on
    stderr. ``quiet``: nothing but errors on stderr.
    The exit code: of the first that did not end in 0, or 0.
    """
    code = 0
    runs = Repeats(config, repeat, between).configs() if repeat > 1 else [Repeat(1, config)]
    for one in runs:
        result = run_with_progress(one.config, argv, quiet)
        text = ("\n" if one.number > 1 else "") + result.text
        if as_json:
            summary = result.summary
            print_out(summary.to_json().decode() if repeat == 1 else summary.to_line())
            if not quiet:
                print_to(sys.stderr, text)
        else:
            print_out(text)
        code = code or result.exit_code
        if result.summary.interrupted_by is not None:
            break
    return code


def print_out(text: str) -> None:
    """Print to stdout. It may be closed, full or unread: the results are written all the same."""
    print_to(sys.stdout, text)


def print_to(stream: TextIO | None, text: str) -> None:
    """As ``print_out``, to another stream."""
    if stream is None:
        return
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        # What is left in the buffer must not be complained of at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def run_with_progress(config: BenchConfig, argv: Sequence[str], quiet: bool = False) -> Result:
    """The run; the terminal is left as it was whatever happens."""
    with make_display(sys.stderr, quiet) as display:
        try:
            return Bench(config, on_progress=display, on_note=display.note, argv=argv).run()
        except (OSError, MemoryError) as error:
            raise NotStartedError(
                f"no resources for this run: {error or 'out of memory'}"
            ) from None
