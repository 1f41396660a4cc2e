"""Whole runs: every slot of the plan is sent, answered and accounted for."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import Bench, BenchConfig, Slo
from harness.config import Switching
from harness.embedded.journal import read_journal
from harness.embedded.model import parse_model
from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.plan import PlanSpec
from harness.records import Outcome, Reason
from harness.triton.server import TritonServer
from tests.grpc_fixture import closed_port
from tests.runs import balanced, bench

TRANSPORTS = ["native", "tritonclient"]
NS_PER_S = 10**9


def config(url: str, out: Path, **options: Any) -> BenchConfig:
    """A short Poisson run against one server."""
    defaults = {
        "model": "identity",
        "urls": (url,),
        "dist": "poisson",
        "rate": 500.0,
        "duration_ns": 2 * NS_PER_S,
        "warmup_ns": 0,
        "spin": "never",
        "out": str(out),
    }
    return BenchConfig(**(defaults | options))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_slot_reaches_the_server_once(tmp_path: Path, transport: str) -> None:
    journal = tmp_path / "journal"
    with EmbeddedServer(ServeConfig(journal=str(journal))) as server:
        run = Bench(
            config(server.url, tmp_path / "out", transport=transport, workers=2, warmup_ns=10**9)
        ).run()
        summary = run.summary
    balanced(summary.model_dump())
    spec = PlanSpec("poisson", 500.0, 1, 2 * NS_PER_S)
    facts = spec.facts()
    totals = summary.totals
    assert totals.scheduled == totals.sent == totals.ok == facts.slots == summary.plan.slots
    assert summary.plan.hash == facts.hash
    rows = np.load(run.path / "requests.npy")
    offsets_ns = np.concatenate([chunk.copy() for chunk in spec.chunks()])
    np.testing.assert_array_equal(rows["t_sched_ns"], offsets_ns)
    np.testing.assert_array_equal(rows["slot"] % 2, rows["worker"])
    assert np.all(rows["t_taken_ns"] >= rows["t_sched_ns"])
    assert np.all(rows["t_done_ns"] > rows["t_taken_ns"])
    ids = read_journal(journal)["id"]
    sent = sorted(one for one in ids if one.startswith(b"s"))
    assert sent == [f"s{slot:015x}".encode() for slot in range(facts.slots)]
    warmup = [one for one in ids if one.startswith(b"w")]
    assert len(warmup) == len(set(warmup)) == PlanSpec("poisson", 500.0, 1, NS_PER_S).facts().slots


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_error_answers_are_errors(tmp_path: Path, transport: str) -> None:
    script = "0s: error=RESOURCE_EXHAUSTED@30%"
    with EmbeddedServer(ServeConfig(script=script)) as server:
        run = Bench(
            config(
                server.url,
                tmp_path / "out",
                transport=transport,
                slo=Slo(threshold_ns=10**9, limit=0.05, text="1s"),
            )
        ).run()
    totals = run.summary.totals
    assert totals.ok + totals.error == totals.scheduled
    assert 0.2 < totals.error / totals.scheduled < 0.4
    assert totals.violations == totals.error
    rows = np.load(run.path / "requests.npy")
    errors = rows[rows["outcome"] == Outcome.ERROR]
    assert np.all(errors["status"] == 8)
    assert np.all(errors["reason"] == Reason.GRPC_STATUS)
    assert "SLO BROKEN" in run.text
    assert "RESOURCE_EXHAUSTED" in run.text


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_real_triton_executes_what_was_planned(
    tmp_path: Path, triton: TritonServer, transport: str
) -> None:
    run = Bench(
        config(triton.grpc_url, tmp_path / "out", transport=transport, workers=2, rate=300.0)
    ).run()
    totals = run.summary.totals
    assert totals.scheduled == totals.ok == run.summary.plan.slots
    assert run.summary.server_stats[triton.grpc_url].executed == totals.ok
    assert not [one for one in run.verdict.findings if one.code == "executed"]
    assert run.verdict.invalid_reasons == [] or "late" in str(run.verdict.invalid_reasons)


def test_transports_agree_on_real_triton(tmp_path: Path, triton: TritonServer) -> None:
    runs = [
        Bench(
            config(triton.grpc_url, tmp_path / kind, transport=kind, model="delayed", rate=100.0)
        ).run()
        for kind in TRANSPORTS
    ]
    first, second = (run.summary for run in runs)
    assert first.plan == second.plan
    assert first.totals.ok == second.totals.ok == first.plan.slots
    for summary in (first, second):
        assert summary.service_ns.p50 is not None
        assert summary.service_ns.p50 > 20_000_000


def test_dynamic_shapes_on_real_triton(tmp_path: Path, triton: TritonServer) -> None:
    options = {"model": "identity_dynamic", "duration_ns": NS_PER_S, "rate": 100.0}
    run = Bench(
        config(triton.grpc_url, tmp_path / "out", shapes={"INPUT0": (1000,)}, **options)
    ).run()
    assert run.summary.totals.ok == run.summary.plan.slots
    rows = np.load(run.path / "requests.npy")
    assert np.all(rows["response_bytes"] > 4000)


def test_paused_triton_is_accounted_for(
    tmp_path: Path, triton_installation: Any, model_repository: Any
) -> None:
    with TritonServer(model_repository("identity"), installation=triton_installation) as server:
        run = bench(
            tmp_path / "out",
            *("-m", "identity", "-u", server.grpc_url, "--dist", "poisson", "--rate", "200"),
            *("--duration", "4s", "--warmup", "0s", "--slo", "100ms", "--timeout", "1s"),
            *("--allow-invalid", "--spin", "never"),
            while_running=lambda one: (one.wait_for_slots(100), server.pause()),
        )
        server.resume()
    summary = run.summary
    balanced(summary)
    totals = summary["totals"]
    assert totals["timeout"] > 50
    assert totals["ok"] + totals["timeout"] + totals["dropped"] == totals["scheduled"]
    assert totals["ok"] >= 50
    assert summary["response_ns"]["p99"] is None
    assert ">1 s" in run.stdout


def test_large_requests_arrive_whole(tmp_path: Path) -> None:
    model = parse_model("big", ["IN:FP32:3,224,224"], ["OUT:FP32:3,224,224"], 0)
    with EmbeddedServer(ServeConfig(model=model)) as server:
        run = Bench(config(server.url, tmp_path / "out", model="big", rate=100.0)).run()
    assert run.summary.totals.ok == run.summary.plan.slots
    rows = np.load(run.path / "requests.npy")
    assert np.all(rows["response_bytes"] > 3 * 224 * 224 * 4)


def test_cap_is_kept_and_what_waits_too_long_is_dropped(tmp_path: Path) -> None:
    with EmbeddedServer(ServeConfig(latency="50ms", capacity=1)) as server:
        run = Bench(
            config(
                server.url,
                tmp_path / "out",
                max_inflight=4,
                slo=Slo(threshold_ns=10**9, limit=0.05, text="1s"),
                rate=200.0,
            )
        ).run()
    summary = run.summary
    totals = summary.totals
    assert totals.dropped_backpressure > 200
    assert totals.ok + totals.dropped_backpressure == totals.scheduled
    assert max(summary.workers[0].in_flight_max) == 4
    rows = np.load(run.path / "requests.npy")
    dropped = rows[rows["outcome"] == Outcome.DROPPED]
    assert np.all(dropped["reason"] == Reason.BACKPRESSURE)
    assert any(one.code == "backpressure" for one in run.verdict.findings)


@pytest.mark.parametrize("records", ["all", "none"])
def test_results_directory(tmp_path: Path, records: str) -> None:
    with EmbeddedServer() as server:
        run = Bench(config(server.url, tmp_path / "out", records=records)).run()
    names = {"summary.json", "windows.csv", "events.jsonl", "report.html"}
    assert set(os.listdir(run.path)) == names | ({"requests.npy"} if records == "all" else set())
    for name in os.listdir(run.path):
        assert (run.path / name).stat().st_mode & 0o777 == 0o600
    loaded = json.loads((run.path / "summary.json").read_text())
    balanced(loaded)
    assert loaded["totals"]["ok"] == loaded["plan"]["slots"]


def test_secrets_stay_out_of_everything(tmp_path: Path) -> None:
    secret = "hunter2hunter2"
    with EmbeddedServer() as server:
        run = bench(
            tmp_path / "out",
            *("-m", "identity", "-u", server.url, "-H", f"authorization: Bearer {secret}"),
            *("--rate", "100", "--duration", "1s", "--warmup", "0s", "--allow-invalid"),
        )
    assert run.summary["totals"]["ok"] == 100
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert secret.encode() not in written
    assert secret not in run.stdout + run.stderr


def test_a_run_starts_without_a_standby_where_any_will_do(tmp_path: Path) -> None:
    notes: list[str] = []
    with EmbeddedServer() as server, closed_port() as shut:
        given = config(
            server.url,
            tmp_path / "out",
            urls=(server.url, shut),
            switching=Switching(require="any"),
            duration_ns=NS_PER_S // 2,
        )
        run = Bench(given, on_note=notes.append).run()
    balanced(run.summary.model_dump())
    assert run.summary.totals.ok == run.summary.totals.sent > 0
    assert run.summary.servers[0]["missing"] is None
    assert "refused the connection" in run.summary.servers[1]["missing"]
    assert [note for note in notes if note.startswith("starting without it: ") and shut in note]


def test_the_standby_alone_is_kept_warm(tmp_path: Path) -> None:
    journals = [tmp_path / "a", tmp_path / "b"]
    with (
        EmbeddedServer(ServeConfig(journal=str(journals[0]))) as active,
        EmbeddedServer(ServeConfig(journal=str(journals[1]))) as standby,
    ):
        given = config(
            active.url,
            tmp_path / "out",
            urls=(active.url, standby.url),
            switching=Switching(keep_warm=20.0),
        )
        run = Bench(given).run()
    balanced(run.summary.model_dump())
    prefixes = [[one[:1] for one in read_journal(path)["id"]] for path in journals]
    preflight = [server["probes"] for server in run.summary.servers]
    assert prefixes[0].count(b"p") == preflight[0]
    assert prefixes[0].count(b"s") == run.summary.totals.sent
    assert 10 <= prefixes[1].count(b"p") - preflight[1] <= 45
    assert set(prefixes[1]) == {b"p"}
