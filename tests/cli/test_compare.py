"""``harness compare`` as a command: exit codes, forms, mistakes in one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.config import NS_PER_MS, NS_PER_S
from tests.stored_runs import stored


def compare(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from harness.cli import main; main()", "compare"]
        + [str(one) for one in arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("sides")
    for side, median_ms in (("fast", 8), ("slow", 12)):
        for number in range(5):
            stored(
                folder / side / f"{number}",
                draw=number,
                rate=300,
                duration_ns=2 * NS_PER_S,
                median_ns=median_ms * NS_PER_MS,
                config={"labels": {"gpu": side}},
            )
    return folder / "fast", folder / "slow"


def test_worse_fails_where_it_is_asked_to(sides: tuple[Path, Path]) -> None:
    fast, slow = sides
    asked = ("--primary", "p50", "--fail-on", "worse")
    assert compare(fast, slow, *asked).returncode == 98
    assert compare(fast, slow, *asked[:2]).returncode == 0
    better = compare(slow, fast, *asked)
    assert better.returncode == 0
    assert "response p50: BETTER" in better.stdout
    assert compare(fast, slow, *asked, "--baseline", "gpu=slow").returncode == 0
    assert compare(fast, slow, *asked, "--tolerance", "90%").returncode == 0


def test_forms(sides: tuple[Path, Path]) -> None:
    text = compare(*sides)
    assert max(map(len, text.stdout.splitlines())) <= 80
    content = json.loads(compare(*sides, "--json").stdout)
    assert [group["name"] for group in content["groups"]] == ["gpu=fast", "gpu=slow"]
    assert "| response p99 |" in compare(*sides, "--markdown").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tolerance", "5"], "--tolerance: share '5' is not below 1"),
        (["--primary", "offered"], "--primary 'offered': the metrics are"),
        (["--fail-on", "better"], "--fail-on 'better': the only one is worse"),
        (["--baseline", "x"], "--baseline 'x': the groups are 'gpu=fast', 'gpu=slow'"),
        (["--json", "--markdown"], "give one of them"),
        (["/nowhere"], "cannot read summary.json of '/nowhere'"),
    ],
)
def test_mistakes(sides: tuple[Path, Path], arguments: list[str], words: str) -> None:
    done = compare(*sides, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
