"""The command line: people's mistakes get one line and the right exit code."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness import __version__
from harness.embedded.model import parse_model
from harness.embedded.server import EmbeddedServer, ServeConfig
from tests.runs import COMMAND, bench


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    model = parse_model("dynamic", ["IN:FP32:-1"], ["OUT:FP32:-1"], 0)
    with EmbeddedServer(ServeConfig(model=model)) as one:
        yield one


def harness(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "COLUMNS": "80"},
    )


BAD = [
    ("--rate 0", 2, "--rate"),
    ("--rate -5", 2, "--rate"),
    ("--rate nan", 2, "--rate"),
    ("--rate 1e12", 2, "--rate"),
    ("--rate abc", 2, "--rate"),
    ("--rate 3e7 --duration 100ms", 2, "a worker"),
    ("--rate 0.5 --duration 1ms --dist poisson", 2, "no slot"),
    ("--concurrency 0", 2, "--concurrency 0"),
    ("--concurrency 16385", 2, "--concurrency 16385"),
    ("--concurrency x", 2, "--concurrency"),
    ("--concurrency 1:9:2", 2, "--concurrency"),
    ("--concurrency 4 --rate 100", 2, "has no --rate"),
    ("--concurrency 4 --dist poisson", 2, "has no --dist"),
    ("--concurrency 4 --max-inflight 9", 2, "has no --max-inflight"),
    ("--concurrency 4 --max-lag 5ms", 2, "has no --max-lag"),
    ("--concurrency 2 --workers 3", 2, "--concurrency"),
    ("--dist closed", 2, "--concurrency"),
    ("--slo 1000000h", 2, "1000000h"),
    ("--model= -u {url}", 2, "--model"),
    ("-m \udcff -u {url}", 2, "UTF-8"),
    ("--out=", 2, "--out"),
    ("--duration 0s", 2, "--duration"),
    ("--duration 5", 2, "unit"),
    ("--duration -1s", 2, "-1s"),
    ("--slo 0ms", 2, "0ms"),
    ("--slo 50ms --violation-limit 150%", 2, "150%"),
    ("--violation-limit 5%", 2, "--slo"),
    ("--dist uniform", 2, "uniform"),
    ("--cpus 4096", 2, "4096"),
    ("--cpus x", 2, "x"),
    ("--workers 0", 2, "--workers"),
    ("--cost 0", 2, "--cost 0"),
    ("--cost nan", 2, "--cost nan"),
    ("--cost 2e6", 2, "--cost 2e+06: must be at most 1e+06"),
    ("--metrics-url a:1", 2, "--metrics-url: 1 given for 0 -u"),
    ("-u a:1 -u b:1 -m x --metrics-url c:1", 2, "--metrics-url: 1 given for 2 -u"),
    ("-u a:1 -m x --metrics-url https://a:1", 2, "https://"),
    ("-u a:1 -m x --metrics-url a:b:c", 2, "metrics URL"),
    ("--timeout 1ms --slo 50ms", 2, "--timeout"),
    ("--max-lag 2s --timeout 1s", 2, "--max-lag"),
    ("--bogus", 2, "--bogus"),
    ("-u localhost:1 -m x", 3, "refused"),
    ("-u http://localhost:8001 -m x", 2, "scheme"),
    ("-u localhost -m x", 2, "localhost"),
    ("-u {url}", 2, "-m"),
    ("-m nosuch -u {url}", 3, "nosuch"),
    ("-m dynamic -u {url}", 2, "--shape"),
    ("-m dynamic -u {url} --shape IN:0", 2, "IN"),
    ("-m dynamic -u {url} --shape NOPE:3", 2, "NOPE"),
    ("-m dynamic -u {url} --shape IN:3 -b 2", 2, "-b 2"),
    ("-m dynamic -u {url} --shape IN:3 --out {there}", 2, "is there already"),
    ("-m dynamic -u {url} --shape IN:300000000", 2, "GiB"),
    ("-m dynamic -u {url} --shape IN:3 --rate 1e6 --duration 24h --records all", 3, "free"),
    ("-m dynamic -u {url} --shape IN:3 -H nocolon", 2, "colon"),
    ("-m dynamic -u {url} -u {url} --shape IN:3", 2, "twice"),
]


@pytest.mark.parametrize(("arguments", "code", "word"), BAD, ids=[row[0] for row in BAD])
def test_mistakes_get_one_line(
    tmp_path: Path, server: EmbeddedServer, arguments: str, code: int, word: str
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "summary.json").write_text("{}")
    words = arguments.format(url=server.url, there=there).split()
    done = harness("bench", *words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("harness: ")
    assert word in lines[0]
    assert (there / "summary.json").read_text() == "{}"
    assert sorted(os.listdir(tmp_path)) in (["there"], ["runs", "there"])


def test_help_names_every_command(tmp_path: Path) -> None:
    done = harness(cwd=tmp_path)
    assert done.returncode == 0
    for command in ("bench", "demo", "doctor", "serve"):
        assert command in done.stdout
    assert harness("--version", cwd=tmp_path).stdout.strip() == __version__
    done = harness("bench", "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_bare_bench_runs_on_embedded_servers(tmp_path: Path) -> None:
    done = harness(
        *("bench", "--dist", "poisson", "--duration", "1s", "--warmup", "0s", "--allow-invalid"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "embedded" in done.stderr
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert len(os.listdir(tmp_path / "runs")) == 1


def test_closed_stdout_is_quiet(tmp_path: Path, server: EmbeddedServer) -> None:
    line = " ".join(
        [
            *(f"'{word}'" for word in COMMAND),
            f"bench -m dynamic -u {server.url} --shape IN:3 --duration 1s --warmup 0s",
            "--allow-invalid 2>err | true",
        ]
    )
    subprocess.run(
        ["bash", "-c", line],
        check=True,
        cwd=tmp_path,
        timeout=30,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert "Traceback" not in (tmp_path / "err").read_text()
    assert "Broken" not in (tmp_path / "err").read_text()


@pytest.mark.parametrize(
    "redirection", ["2>&-", ">&-", ">/dev/full", "2>/dev/full", "2> >(true)", "> >(true)"]
)
def test_closed_or_full_streams_cost_no_results(
    tmp_path: Path, server: EmbeddedServer, redirection: str
) -> None:
    line = " ".join(
        [
            *(f"'{word}'" for word in COMMAND),
            f"bench -m dynamic -u {server.url} --shape IN:3 --duration 1500ms --warmup 0s",
            f"--percentile 99.99 --out out {redirection}",
        ]
    )
    done = subprocess.run(
        ["bash", "-c", line],
        check=False,
        cwd=tmp_path,
        timeout=30,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert done.returncode == 4
    assert (tmp_path / "out" / "summary.json").exists()


def test_a_secret_that_equals_a_word_of_ours_takes_nothing_away(
    tmp_path: Path, server: EmbeddedServer
) -> None:
    words = ["index", "finished", "slots", "state"]
    run = bench(
        tmp_path / "out",
        *("-m", "dynamic", "-u", server.url, "--shape", "IN:3", "--allow-invalid"),
        *(part for number, word in enumerate(words) for part in ("-H", f"x{number}: {word}")),
        *("--duration", "300ms", "--warmup", "0s"),
    )
    assert run.process.returncode == 0, run.stderr
    assert run.summary["workers"][0]["state"] == "finished"


def test_full_disk_is_refused_before_the_load(tmp_path: Path, server: EmbeddedServer) -> None:
    free = psutil.disk_usage(str(tmp_path)).free
    slots = free // 64 + 1_000_000
    run = bench(
        tmp_path / "out",
        *("-m", "dynamic", "-u", server.url, "--shape", "IN:3", "--records", "all"),
        *("--rate", "1000000", "--duration", f"{slots // 1_000_000 + 1}s"),
    )
    assert run.process.returncode == 3
    assert "free" in run.stderr
    assert not (tmp_path / "out").exists()
