"""A disk of 64 kB, and one that fills up: one line, the exit code, earlier files as they were."""

import contextlib
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.config import NS_PER_S
from harness.embedded.server import EmbeddedServer, ServeConfig
from tests.results.stored_cases import stored
from tests.runs import COMMAND, Run, bench

SMALL_BYTES = 64 * 1024
RUN = ("-m", "identity", "--warmup", "0s", "--spin", "never", "--rate", "100", "--allow-invalid")


@contextlib.contextmanager
def disk(path: Path, size_bytes: int) -> Iterator[bool]:
    """A file system of that size at ``path``; False if none may be mounted here."""
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", path],
        capture_output=True,
        timeout=30,
        check=False,
    )
    try:
        yield mounted.returncode == 0
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", path], timeout=30, check=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Path, list[str]]]:
    """A place with 64 kB of room, and what a command has to be started by to see it so."""
    with disk(tmp_path / "small", SMALL_BYTES) as mounted:
        yield tmp_path / "small", [] if mounted else ["prlimit", f"--fsize={SMALL_BYTES}"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is larger than the disk."""
    place = tmp_path_factory.mktemp("full") / "out"
    return stored(place, dist="constant", rate=2000.0, duration_ns=2 * NS_PER_S)


def harness(*arguments: object, by: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*(by or []), *COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def one_line(text: str, words: str) -> None:
    assert len(text.splitlines()) == 1, text
    assert words in text


def contents(directory: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in directory.iterdir()}


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_an_export(small: tuple[Path, list[str]], directory: Path, form: str) -> None:
    place, by = small
    (place / f"there.{form}").write_text("mine")
    for arguments in ((place / f"new.{form}",), (place / f"there.{form}", "--force")):
        done = harness("export", directory, "--out", *arguments, by=by)
        assert done.returncode == 5, done.stderr
        one_line(done.stderr, "cannot write")
        assert contents(place) == {f"there.{form}": b"mine"}


def test_no_run_begins_on_too_small_a_disk(small: tuple[Path, list[str]]) -> None:
    place, by = small
    with EmbeddedServer(ServeConfig()) as server:
        arguments = (*RUN, "-u", server.url, "--duration", "20s", "--out", place / "out")
        done = harness("bench", *arguments, by=by)
    assert done.returncode == 3, done.stderr
    one_line(done.stderr, "harness: ")
    assert contents(place) == {}


def test_a_run_whose_disk_fills_up(tmp_path: Path) -> None:
    place = tmp_path / "disk"

    def fill(run: Run) -> None:
        run.wait_for_slots(10)
        if mounted:
            free_bytes = shutil.disk_usage(place).free
            with contextlib.suppress(OSError), (place / "filler").open("wb") as filler:
                for _ in range(free_bytes // 4096 + 1):
                    filler.write(bytes(4096))
        else:
            resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (1000, 1000))

    with disk(place, 24 << 20) as mounted, EmbeddedServer(ServeConfig()) as server:
        first = bench(place / "out", *RUN, "-u", server.url, "--duration", "500ms")
        assert first.process.returncode == 0, first.stderr
        before = contents(place / "out")
        arguments = (*RUN, "-u", server.url, "--duration", "2s", "--force")
        run = bench(place / "out", *arguments, while_running=fill)
        assert run.process.returncode == 5, run.stderr
        assert "Traceback" not in run.stderr
        one_line(run.stderr.splitlines()[-1], "harness: cannot write")
        assert contents(place / "out") == before


def test_a_report(small: tuple[Path, list[str]], tmp_path: Path) -> None:
    place, by = small
    run = stored(tmp_path / "run", rows=False, config={"records": "none"})
    shutil.copytree(run, place / "run")
    (place / "run" / "report.html").write_text("mine")
    before = contents(place / "run")
    done = harness("report", place / "run", by=by)
    assert done.returncode == 5, done.stderr
    one_line(done.stderr, "cannot write")
    assert contents(place / "run") == before


@pytest.mark.parametrize("where", ["new.html", "there.html", "/dev/full"])
def test_a_page_of_a_comparison(small: tuple[Path, list[str]], tmp_path: Path, where: str) -> None:
    place, by = small
    (place / "there.html").write_text("mine")
    runs = [stored(tmp_path / f"run{seed}", draw=seed) for seed in (1, 2)]
    done = harness("compare", *runs, "--html", place / where, by=by)
    assert done.returncode == 5, done.stderr
    one_line(done.stderr, "cannot write")
    assert contents(place) == {"there.html": b"mine"}
