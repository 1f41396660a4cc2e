"""The short form: what a run keeps about its machine."""

import json
import os
import time
from pathlib import Path

from harness import Bench, BenchConfig
from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.host import host_facts
from harness.machine.observed import observed_host

DOC = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")


def test_around_a_block() -> None:
    before, cpus = os.sched_getaffinity(0), os.sched_getaffinity(0)
    with observed_host(cpus) as facts:
        assert os.sched_getaffinity(0) == before
        assert facts["steal_share"] is None
        error = facts["wakeup_error_ns"]
        t_end_s = time.monotonic() + 0.05
        while time.monotonic() < t_end_s:
            pass
    assert set(host_facts()) < set(facts)
    assert 0 <= facts["steal_share"] <= 1
    assert 0 <= error["p50"] <= error["p99"]


def test_a_cpu_that_cannot_be_had_costs_nothing_but_the_figure() -> None:
    before = os.sched_getaffinity(0)
    with observed_host({1023}) as facts:
        pass
    assert facts["wakeup_error_ns"] is None
    assert facts["steal_share"] is None
    assert facts["clock_source"] == host_facts()["clock_source"]
    assert os.sched_getaffinity(0) == before


def test_every_run_keeps_it(tmp_path: Path) -> None:
    with EmbeddedServer(ServeConfig()) as server:
        config = BenchConfig(
            model="identity",
            urls=(server.url,),
            duration_ns=300_000_000,
            warmup_ns=0,
            out=str(tmp_path / "out"),
        )
        Bench(config).run()
    host = json.loads((tmp_path / "out" / "summary.json").read_text())["host"]
    assert {"clock_source", "governor", "cpu_quota", "cpu_plan"} <= set(host)
    assert all(f"`{key}`" in DOC for key in host)
    assert 0 <= host["steal_share"] <= 1
    assert 0 <= host["wakeup_error_ns"]["p50"] <= host["wakeup_error_ns"]["p99"]
