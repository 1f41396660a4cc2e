"""``harness export``: options, exit codes, and stdout in every state."""

import csv
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from harness.cli import app, guarded
from harness.config import NS_PER_S
from tests.results.stored_cases import stored
from tests.runs import COMMAND

SLOTS = 4000


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored(
        tmp_path_factory.mktemp("export") / "out",
        dist="constant",
        rate=SLOTS / 2,
        duration_ns=2 * NS_PER_S,
    )


def export(*arguments: object, **given: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "export", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **given.pop("env", {})},
        **{"stdout": subprocess.PIPE, "stdin": subprocess.DEVNULL, **given},
    )


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """The command in this process: its exit code, and what it says on stderr."""

    def run(*arguments: object) -> tuple[int, str]:
        code = guarded(lambda: app(["export", *map(str, arguments)], standalone_mode=False))
        return code, capsys.readouterr().err

    return run


def one_line(done: subprocess.CompletedProcess[str], code: int, words: str) -> None:
    assert done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("harness: ")
    assert words in done.stderr


def test_stdout_is_csv(directory: Path) -> None:
    done = export(directory)
    assert (done.returncode, done.stderr) == (0, "")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [int(row["slot"]) for row in rows] == list(range(SLOTS))
    assert {row["outcome"] for row in rows} == {"ok"}


@pytest.mark.parametrize(
    ("arguments", "name", "start"),
    [
        ("", "one", b"slot,t_sched_ns,"),
        ("", "one.csv", b"slot,t_sched_ns,"),
        ("", "one.JSONL", b'{"slot": 0, '),
        ("", "one.parquet", b"PAR1"),
        ("--format jsonl", "one.csv", b'{"slot": 0, '),
        ("--format csv --what windows", "one.jsonl", b"t_start_ns,server,"),
    ],
)
def test_a_file_of_a_format(
    here: Callable[..., tuple[int, str]],
    directory: Path,
    tmp_path: Path,
    arguments: str,
    name: str,
    start: bytes,
) -> None:
    given = (directory, "--out", tmp_path / name, *arguments.split())
    assert here(*given) == (0, "")
    assert (tmp_path / name).read_bytes().startswith(start)
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    if name.endswith("parquet"):
        assert pyarrow.parquet.read_metadata(tmp_path / name).num_rows == SLOTS
    code, text = here(*given)
    assert code == 2
    assert "is there already; give another, or --force" in text
    assert here(*given, "--force") == (0, "")
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--format xls", "--format 'xls': it is one of csv, jsonl, parquet"),
        ("--what slots", "--what 'slots': it is one of requests, windows"),
        ("--format parquet", "--format parquet is not for stdout; add an --out FILE"),
        ("--bogus", "--bogus"),
    ],
)
def test_mistakes(
    here: Callable[..., tuple[int, str]], directory: Path, arguments: str, words: str
) -> None:
    code, text = here(directory, *arguments.split())
    assert code == 2
    assert words in text
    assert text.count("\n") == 1


def test_directories_that_hold_no_run(here: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_bytes(b"\x1b[2J{")
    for place, words in ((tmp_path, "is no results summary"), (tmp_path / "absent", "No such")):
        code, text = here(place)
        assert code == 2
        assert words in text
        assert "summary.json" in text
        assert "\x1b" not in text
        assert text.count("\n") == 1


def test_a_full_stdout_is_exit_5(directory: Path) -> None:
    with open("/dev/full", "wb") as full:
        for form in ("csv", "jsonl"):
            done = export(directory, "--format", form, stdout=full)
            one_line(done, 5, "cannot write to stdout: No space left on device")


def test_a_closed_pipe_is_quiet(directory: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = export(directory, stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_stdout_at_all(directory: Path) -> None:
    done = export(directory, stdout=None, preexec_fn=lambda: os.close(1))
    assert done.returncode in (2, 5), done.stderr
    assert len(done.stderr.splitlines()) == 1


def make_long(out: Path, slots: int) -> Path:
    """A stored run of so many slots, from one of few repeated."""
    stored(out, rate=1000.0, dist="constant")
    rows = np.load(out / "requests.npy")
    times = slots // len(rows)
    longer = np.tile(rows, times)
    later_ns = np.repeat(np.arange(times), len(rows)) * NS_PER_S
    for name in longer.dtype.names:
        if name.startswith("t_"):
            longer[name] += np.where(longer[name] >= 0, later_ns, 0)
    longer["slot"] = np.arange(slots)
    np.save(out / "requests.npy", longer)
    (out / "windows.csv").unlink()
    content = json.loads((out / "summary.json").read_bytes())
    content["plan"] |= {"duration_s": times, "slots": slots}
    for part in (content["totals"], content["per_server"]["gpu1:8001"]["totals"]):
        for key in ("scheduled", "sent", "ok", "decided", "in_time", "violations", "client_late"):
            part[key] *= times
        part["violations_by"]["slow"] *= times
    (out / "summary.json").write_text(json.dumps(content))
    return out


MEASURED = """
import resource, sys
from harness.cli import main
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, file=sys.stderr)
"""


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_memory_does_not_grow_with_the_run(tmp_path: Path, form: str) -> None:
    """What ten times the slots take more: less than their rows."""
    grown = {}
    for slots in (20_000, 200_000):
        run = make_long(tmp_path / str(slots), slots)
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, "export", run, "--out", tmp_path / f"{slots}.{form}"],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        grown[slots] = int(done.stderr) / 1024
    assert grown[200_000] < grown[20_000] + 12, grown  # MiB; the rows alone are 12
