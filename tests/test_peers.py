"""benchmarks/peers.py: the peers are had, and perf_analyzer measures the real server."""

import re
import subprocess

import pytest

from benchmarks import peers
from harness.embedded.server import EmbeddedServer
from harness.errors import NotStartedError


def run_perf_analyzer(model: str, url: str) -> int:
    """How many requests it completed."""
    perf_analyzer = peers.peer("perf_analyzer")
    assert perf_analyzer.version.startswith("2.41")
    options = "-i grpc --concurrency-range 1 --measurement-mode count_windows"
    options += " --measurement-request-count 100 -s 999 -r 3"
    result = subprocess.run(
        [*perf_analyzer.argv, "-m", model, "-u", url, *options.split()],
        env=perf_analyzer.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    count = re.search(r"Request count: (\d+)", result.stdout)
    assert count is not None
    return int(count[1])


def test_perf_analyzer_completes_a_run_against_triton(triton):
    assert run_perf_analyzer("identity_cached", triton.grpc_url) >= 100


def test_perf_analyzer_completes_a_run_against_the_embedded_server():
    with EmbeddedServer() as server:
        assert run_perf_analyzer("identity", server.url) >= 100


def test_h2load_runs():
    h2load = peers.peer("h2load")
    answer = subprocess.run(
        [*h2load.argv, "--version"],
        env=h2load.environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert answer.stdout.split()[:2] == ["h2load", f"nghttp2/{h2load.version}"]


def test_a_peer_that_cannot_be_had_is_named_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(peers.shutil, "which", lambda name: None)
    with pytest.raises(NotStartedError, match="h2load cannot be had here: only Debian's packages"):
        peers.peer("h2load", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_peer_whose_program_is_gone_is_provisioned_again(tmp_path, monkeypatch):
    program = tmp_path / "h2load"
    program.write_text("#!/bin/sh\necho h2load nghttp2/9.9\n")
    program.chmod(0o755)
    lines = []
    monkeypatch.setattr(peers.shutil, "which", lambda name: str(program))
    first = peers.peer("h2load", tmp_path / "peers", say=lines.append)
    assert peers.peer("h2load", tmp_path / "peers", say=lines.append) == first
    assert len(lines) == 1
    program.rename(tmp_path / "other")
    monkeypatch.setattr(peers.shutil, "which", lambda name: str(tmp_path / "other"))
    assert peers.peer("h2load", tmp_path / "peers", say=lines.append).version == "9.9"
    assert len(lines) == 2


def test_missing_libraries_are_named(tmp_path, monkeypatch):
    listing = "\tlibb64.so.0d => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x1)\n"
    monkeypatch.setattr(
        peers, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, listing, "")
    )
    assert peers._missing(tmp_path, ()) == ["libb64.so.0d"]
