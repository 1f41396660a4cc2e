"""The results directory: refused if present, private, all or nothing, no secrets."""

import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.config import BenchConfig
from harness.errors import NotStartedError, ResultsError, UsageError
from harness.records import RECORD
from harness.results import directory as results
from harness.results.books import check_books
from harness.results.directory import OURS, default_name, prepare
from harness.results.findings import judge
from harness.results.requests_file import load_requests
from harness.results.rundata import RunData
from harness.results.summarize import build_summary
from harness.results.summary import load_summary
from tests.results.test_summary import secret_run
from tests.synthetic import synthetic_run

FILES = {"summary.json", "requests.npy", "windows.csv", "events.jsonl"}


def config(out: Path | str | None, **given: Any) -> BenchConfig:
    return BenchConfig(model="identity", out=None if out is None else str(out), **given)


def write(out: Path, run: RunData, **given: Any) -> None:
    """As a run would: prepare, fill the rows, write."""
    asked = config(out, **given)
    directory = prepare(asked, run.plan.slots)
    file = directory.open_requests(asked, run.plan.slots)
    if file is not None:
        file.rows[:] = run.tally.rows
    directory.write(run, build_summary(run, judge(run, check_books(run))))


def contents(directory: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in directory.iterdir()}


def test_everything_is_written_and_private(tmp_path: Path) -> None:
    run = synthetic_run()
    out = tmp_path / "deep" / "out"
    write(out, run)
    assert set(contents(out)) == FILES
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert {stat.S_IMODE(entry.stat().st_mode) for entry in out.iterdir()} == {0o600}
    assert np.array_equal(load_requests(out), run.tally.rows)
    assert load_summary(out).run_id == run.run_id
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    assert events == run.events


def test_rows_end_at_the_cut(tmp_path: Path) -> None:
    run = synthetic_run(cut_ns=400_000_000)
    write(tmp_path / "out", run)
    rows = load_requests(tmp_path / "out")
    assert len(rows) == run.slots_until_cut < run.plan.slots
    assert rows["slot"].tolist() == list(range(len(rows)))


@pytest.mark.parametrize("present", ["empty", "file", "link"])
def test_present_is_refused(tmp_path: Path, present: str) -> None:
    out = tmp_path / "out"
    if present == "empty":
        out.mkdir()
    elif present == "file":
        out.write_text("mine")
    else:
        out.symlink_to(tmp_path / "absent")
    with pytest.raises(UsageError, match="is there already") as caught:
        prepare(config(out), 10)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_force_replaces_ours_only(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, synthetic_run())
    (out / "notes.txt").write_text("mine")
    (out / "report.html").write_text("of the earlier run")
    target = tmp_path / "elsewhere"
    target.write_text("mine too")
    (out / "windows.csv").unlink()
    (out / "windows.csv").symlink_to(target)
    later = synthetic_run(seed=2, rows=False)
    write(out, later, force=True, records="none")
    assert set(contents(out)) == {"summary.json", "windows.csv", "events.jsonl", "notes.txt"}
    assert (out / "notes.txt").read_text() == "mine"
    assert target.read_text() == "mine too"
    assert load_summary(out).plan.seed == 2


def test_force_on_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UsageError, match="Not a directory"):
        prepare(config(tmp_path / "out", force=True), 10)
    assert (tmp_path / "out").read_text() == "mine"


def test_force_removes_what_a_killed_run_left(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait(timeout=60)
    names = {f".requests.npy.{dead.pid}.tmp": False, f".requests.npy.{os.getpid()}.tmp": False}
    names |= {f".requests.npy.{os.getppid()}.tmp": True, f".other.{dead.pid}.tmp": True}
    for name in names:
        (tmp_path / name).write_text("x")
    prepare(config(tmp_path, force=True), 10)
    assert {entry.name for entry in tmp_path.iterdir()} == {n for n, left in names.items() if left}


def test_default_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    name = default_name("identity", moment)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Clock":
            return cls.fromtimestamp(moment.timestamp(), tz)

    monkeypatch.setattr(results, "datetime", Clock)
    assert [str(prepare(config(None), 10).path) for _ in range(3)] == [
        f"runs/{name}",
        f"runs/{name}_2",
        f"runs/{name}_3",
    ]


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("densenet_onnx", "densenet_onnx"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("a b\n\x1b[31m\u202e", "a_b___31m_"),
        ("/", "_"),
        ("m" * 300, "m" * 80),
        ("..", ".."),
        ("", ""),
    ],
)
def test_a_models_name_is_never_a_path(model: str, name: str) -> None:
    found = default_name(model, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert found == f"20260102T030405Z-{name}"
    assert Path(found).name == found


def test_discard_leaves_nothing(tmp_path: Path) -> None:
    directory = prepare(config(tmp_path / "out"), 10)
    directory.open_requests(config(tmp_path / "out"), 10)
    directory.discard()
    assert list(tmp_path.iterdir()) == []


def test_discard_keeps_what_was_there(tmp_path: Path) -> None:
    prepare(config(tmp_path, force=True), 10).discard()
    assert tmp_path.is_dir()


def test_records_none(tmp_path: Path) -> None:
    directory = prepare(config(tmp_path / "out"), 10)
    assert directory.open_requests(config(None, records="none"), 10) is None
    assert directory.open_requests(config(None), 30_000_000) is None


def test_disk_too_small_is_told_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(NotStartedError, match="are free in") as caught:
        prepare(config(tmp_path / "out", records="all"), 2**45)
    assert caught.value.exit_code == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", ["file/out", "x" * 300, "nul\0"])
def test_a_directory_that_cannot_be_made(tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="cannot make output directory") as caught:
        prepare(config(f"{tmp_path}/{out}"), 10)
    assert "\n" not in str(caught.value)


def test_no_secret_in_any_file(tmp_path: Path) -> None:
    write(tmp_path / "out", secret_run())
    for name, content in contents(tmp_path / "out").items():
        assert b"s3cr3t" not in content, name
    assert b"denied: ***" in (tmp_path / "out" / "events.jsonl").read_bytes()


LIMITED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from tests.synthetic import synthetic_run
from tests.results.test_directory import write
from harness.errors import HarnessError
run = synthetic_run(seed=2)
run.events = [{{"t_ns": 0, "event": "x" * {event_bytes}}}]
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    write(Path(sys.argv[1]), run, force=True)
except HarnessError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def write_under_a_limit(
    out: Path, limit: int, event_bytes: int
) -> subprocess.CompletedProcess[str]:
    """In a child, so that the limit on file sizes (as a full disk would) hits no one else."""
    code = LIMITED.format(
        tests=str(Path(__file__).parents[2]), limit=limit, event_bytes=event_bytes
    )
    return subprocess.run(
        [sys.executable, "-c", code, str(out)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("earlier", [True, False])
def test_a_failing_write_is_exit_5_and_leaves_earlier_files(tmp_path: Path, earlier: bool) -> None:
    out = tmp_path / "out"
    if earlier:
        write(out, synthetic_run())
        (out / "report.html").write_text("of the earlier run")
    before = contents(out) if earlier else {}
    done = write_under_a_limit(out, limit=65_536, event_bytes=100_000)
    assert done.returncode == ResultsError.exit_code == 5, done.stderr
    assert done.stdout.count("\n") == 1
    assert "cannot write events.jsonl" in done.stdout
    assert "File too large" in done.stdout
    assert done.stderr == ""
    assert contents(out) == before


def test_the_same_write_under_a_wider_limit_succeeds(tmp_path: Path) -> None:
    done = write_under_a_limit(tmp_path / "out", limit=1_000_000, event_bytes=100_000)
    assert done.returncode == 0, done.stderr
    assert set(contents(tmp_path / "out")) == FILES


def test_a_failing_rename_leaves_no_temporary_file(tmp_path: Path) -> None:
    run = synthetic_run()
    out = tmp_path / "out"
    out.mkdir()
    (out / "requests.npy").mkdir()  # a file cannot replace it
    with pytest.raises(ResultsError, match=r"cannot write requests\.npy"):
        write(out, run, force=True)
    assert [entry.name for entry in out.iterdir()] == ["requests.npy"]


def test_the_files_are_ours() -> None:
    assert set(OURS) == FILES | {"report.html"}
    assert RECORD.itemsize == 64
