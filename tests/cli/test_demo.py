"""``harness demo``: what it prints first gives the same run by hand."""

import os
import shlex
import subprocess
from pathlib import Path

from harness.cli.demo import FAILING_SCRIPT
from harness.embedded.server import parse_arguments
from tests.runs import COMMAND


def test_demo(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "demo"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "80"},
    )
    assert done.returncode == 0, done.stderr
    assert len(os.listdir(tmp_path / "runs")) == 1
    commands, closing = done.stdout.split("\n\n", 1)
    lines = commands.replace("\\\n", "").splitlines()
    assert all(len(line) <= 80 for line in commands.splitlines())
    first, second, load = (shlex.split(line) for line in lines)
    urls = []
    for words, script in ((first, FAILING_SCRIPT), (second, "")):
        assert words[:2] == ["harness", "serve"]
        assert words[-1] == "&"
        config, _ = parse_arguments(words[2:-1])
        assert config.script == script
        urls.append(f"127.0.0.1:{config.port}")
    assert load[:4] == ["harness", "bench", "-m", "identity"]
    assert [load[n + 1] for n, word in enumerate(load) if word == "-u"] == urls
    for url in urls:
        assert url in closing
