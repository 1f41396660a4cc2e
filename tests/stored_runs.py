"""Results directories of runs that never happened."""

from pathlib import Path
from typing import Any

from harness.results.books import check_books
from harness.results.directory import prepare
from harness.results.findings import judge
from harness.results.rundata import RunData
from harness.results.summarize import build_summary
from tests.synthetic import synthetic_run


def store(out: Path, run: RunData) -> Path:
    """As a run would: prepare, fill the rows, write."""
    asked = run.config.model_copy(update={"out": str(out)})
    directory = prepare(asked, run.plan.slots)
    if run.tally.rows is not None:
        file = directory.open_requests(asked, None if run.spec.closed else run.plan.slots)
        assert file is not None
        assert file.reserve(len(run.tally.rows))
        file.rows[: len(run.tally.rows)] = run.tally.rows
    directory.write(run, build_summary(run, judge(run, check_books(run))))
    return out


def stored(out: Path, **changes: Any) -> Path:
    """A stored synthetic run."""
    return store(out, synthetic_run(**changes))
