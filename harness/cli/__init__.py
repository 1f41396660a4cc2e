"""The command line: commands that parse and call, nothing else."""

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from harness import __version__
from harness.cli import ab, bench, compare, demo, doctor, export, report, serve
from harness.errors import HarnessError

app = typer.Typer(
    name="harness",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def harness(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Open-loop load generator for NVIDIA Triton, with SLO accounting of every request."""
    if version:
        print(__version__)
    elif context.invoked_subcommand is None:
        print(context.get_help())


app.command("ab")(ab.ab)
app.command("bench")(bench.bench)
app.command("compare")(compare.compare)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.command("export")(export.export)
app.command("report")(report.report)
app.command("serve", context_settings=serve.PASS_ALL, add_help_option=False)(serve.serve)


def main() -> None:
    """Run the command; every expected failure is one line on stderr and an exit code."""
    sys.exit(guarded(lambda: app(standalone_mode=False)))


def guarded(run: Callable[[], object]) -> int:
    """The exit code of ``run``."""
    try:
        code = run()
        if sys.stdout is not None:
            sys.stdout.flush()
    except HarnessError as error:
        return say(str(error), error.exit_code)
    except typer.TyperException as error:
        return say(error.format_message(), 2)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        # The reader of our output has gone, which is its right; flushing at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code if isinstance(code, int) else 0


def say(text: str, code: int) -> int:
    """One line on stderr."""
    with contextlib.suppress(OSError):
        print(f"harness: {' '.join(text.split())}", file=sys.stderr)
    return code
