"""What ``bench`` and ``demo`` share: options to configuration, a run with progress, its text."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from harness.bench import Bench, Result
from harness.config import BenchConfig
from harness.errors import NotStartedError, UsageError
from harness.progress import ProgressLine

OPTION_OF = {
    "urls": "-u",
    "batch": "-b",
    "duration_ns": "--duration",
    "warmup_ns": "--warmup",
    "request_timeout_ns": "--timeout",
    "request_drain_timeout_ns": "--drain-timeout",
    "max_lag_ns": "--max-lag",
}


def usage(text: str) -> UsageError:
    """A usage error, for commands that import nothing of the library before they need it."""
    return UsageError(text)


def make_config(options: Mapping[str, Any]) -> BenchConfig:
    """The configuration of these options. Raises UsageError naming the option and its value."""
    try:
        return BenchConfig.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        option = OPTION_OF.get(name, "--" + name.replace("_", "-"))
        given = "" if not name else f" {options.get(name)}"
        text = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{option}{given}: {text}" if name else text) from None


def run_bench(options: Mapping[str, Any], argv: Sequence[str]) -> int:
    """One run with progress on stderr and the closing text on stdout; its exit code."""
    result = run_with_progress(make_config(options), argv)
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
