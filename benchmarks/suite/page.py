"""The table's place in docs/performance.md."""

from pathlib import Path

from benchmarks.suite.limits import ROOT
from benchmarks.suite.result import SuiteResult
from benchmarks.suite.table import CASES, markdown
from harness.errors import UsageError

PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- performance: begin -->", "<!-- performance: end -->"


def write_page(result: SuiteResult, path: Path = PAGE) -> None:
    """Put the table between the markers. Raises UsageError: no such page, no markers in it, or
    a result without all cases.
    """
    missing = [case.CASE for case in CASES if case.CASE not in {run.case for run in result.runs}]
    if missing:
        raise UsageError(f"the page is of a whole run; this one lacks {','.join(missing)}")
    before, after = split_page(path)
    path.write_text(f"{before}{BEGIN}\n\n{markdown(result)}\n\n{END}{after}")


def split_page(path: Path) -> tuple[str, str]:
    """The page before and after the markers. Raises UsageError."""
    try:
        content = path.read_text()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UsageError(f"{path} lacks the lines {BEGIN} and {END}; add them")
    return before, after
