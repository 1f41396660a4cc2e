"""``harness ab`` as a command: both servers measured, compared, and shown."""

import json
import subprocess
from pathlib import Path

import pytest

from harness.embedded.server import EmbeddedServer, ServeConfig
from tests.runs import COMMAND


def ab(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "ab", "-m", "identity", "--no-report", "--out", str(out), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_page_beside_the_text(tmp_path: Path) -> None:
    page = tmp_path / "ab.html"
    with EmbeddedServer(ServeConfig()) as first, EmbeddedServer(ServeConfig()) as second:
        done = ab(
            tmp_path / "out",
            *("-u", first.url, "-u", second.url, "--rate", "200", "--duration", "2s"),
            *("--warmup", "0s", "--allow-invalid", "--quiet", "--json", "--html", str(page)),
        )
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    text = page.read_text()
    for group in content["groups"]:
        assert group["name"] in text
    assert "Paired: slot by slot" in text
    assert f"over {content['paired']['slots']} slots" in text
    assert page.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--json", "--markdown"], "give one of them"),
        (["--tolerance", "5"], "--tolerance: share '5' is not below 1"),
        (["-u", "c:1"], "compares two servers; 3 -u given"),
    ],
)
def test_mistakes_end_it_before_anything_is_sent(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = ab(tmp_path / "out", "-u", "127.0.0.1:1", "-u", "127.0.0.1:2", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
