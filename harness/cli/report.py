"""``harness report``: its arguments, and nothing it does."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    directory: Annotated[
        Path, typer.Argument(help="Results directory of a run.", metavar="DIR", show_default=False)
    ],
) -> int:
    """Write the report of a run anew: DIR/report.html."""
    from harness.cli.run import print_out
    from harness.report.report import write_report
    from harness.results.stored import load_run
    from harness.untrusted import clean_text

    path = write_report(load_run(directory))
    print_out(f"{clean_text(str(path), 4096)}\n")
    return 0
