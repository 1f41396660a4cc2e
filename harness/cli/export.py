"""``harness export``: its options, and nothing it does."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import usage

FORMATS = ("csv", "jsonl", "parquet")
TABLES = ("requests", "windows")


def export(
    directory: Annotated[Path, typer.Argument(help="Results directory.", metavar="DIR")],
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="csv, jsonl or parquet; that of --out's name, else csv.",
            metavar="NAME",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; stdout.", metavar="FILE")
    ] = None,
    what: Annotated[
        str, typer.Option("--what", help="requests, or windows of 50 ms.", metavar="NAME")
    ] = "requests",
    force: Annotated[bool, typer.Option("--force", help="Replace --out.")] = False,
) -> None:
    """Write a run's requests as a table, with units in the names of its columns."""
    from harness.export.formats import check_parquet, write_csv, write_jsonl, write_parquet
    from harness.export.output import write_output, write_stdout
    from harness.export.requests import requests_table
    from harness.export.windows import windows_table
    from harness.results.stored import load_run
    from harness.untrusted import clean_text

    if form is None:
        suffix = "" if out is None else out.suffix.removeprefix(".").lower()
        form = suffix if suffix in FORMATS else "csv"
    if form not in FORMATS:
        raise usage(f"--format '{clean_text(form, 20)}': it is one of {', '.join(FORMATS)}")
    if what not in TABLES:
        raise usage(f"--what '{clean_text(what, 20)}': it is one of {', '.join(TABLES)}")
    if form == "parquet":
        check_parquet()
        if out is None:
            raise usage("--format parquet is not for stdout; add an --out FILE")
    run = load_run(directory)
    table = requests_table(run) if what == "requests" else windows_table(run)
    write = write_csv if form == "csv" else write_jsonl
    # Whoever reads a pipe may have had enough.
    with contextlib.suppress(BrokenPipeError):
        if out is None:
            if sys.stdout is None:
                raise usage("there is no stdout; add an --out FILE")
            fd = sys.stdout.fileno()
            write(table, lambda data: write_stdout(fd, data))
        elif form == "parquet":
            write_output(out, force, lambda file: write_parquet(table, file))
        else:
            write_output(out, force, lambda file: write(table, file.write))
