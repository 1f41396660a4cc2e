"""summary.json: its keys, its percentiles, its silence about secrets, and reading it back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from harness._histogram import Histogram
from harness.config import NS_PER_S, BenchConfig
from harness.control.keep_warm import KeptWarm
from harness.errors import UsageError
from harness.records import Outcome
from harness.results.books import check_books
from harness.results.findings import judge
from harness.results.rundata import RunData
from harness.results.summarize import build_summary, latencies
from harness.results.summary import Summary, load_summary
from tests.synthetic import Failure, synthetic_run

LATENCY_KEYS = {"mean", "p50", "p90", "p95", "p99", "p999", "max"}

KEYS: dict[str, set[str]] = {
    "": {
        *("schema", "harness_version", "run_id", "started_utc", "argv", "config", "host"),
        *("servers", "plan", "valid", "invalid_reasons", "findings", "totals", "rate"),
        *("response_ns", "response_ok_ns", "service_ns", "lateness_ns", "send_delay_ns"),
        *("per_server", "server_stats", "switches", "outages", "workers"),
    },
    "plan": {"dist", "rate", "seed", "duration_s", "slots", "cut_ns", "hash"},
    "totals": {
        *("scheduled", "sent", "dropped", "dropped_backpressure", "dropped_client", "unsent"),
        *("ok", "error", "timeout", "cancelled", "lost", "decided", "in_time", "violations"),
    },
    "rate": {"target", "offered", "sent", "ok", "in_slo"},
    **{
        f"{name}_ns": LATENCY_KEYS
        for name in ("response", "response_ok", "service", "lateness", "send_delay")
    },
}


def summarize(run: RunData) -> Summary:
    return build_summary(run, judge(run, check_books(run)))


def written(run: RunData) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    content: dict[str, Any] = json.loads(summarize(run).to_json(), parse_constant=refuse)
    return content


@pytest.mark.parametrize("part", KEYS)
def test_keys(part: str) -> None:
    content = written(synthetic_run())
    assert set(content[part] if part else content) >= KEYS[part]


def test_figures_of_a_run() -> None:
    run = synthetic_run(
        urls=("gpu1:8001", "gpu2:8001"),
        mix={Outcome.OK: 9, Outcome.ERROR: 1, Outcome.DROPPED: 1},
        client_drops=True,
    )
    content = written(run)
    rows = run.tally.rows
    ok = rows["outcome"] == Outcome.OK
    response_ns = np.sort((rows["t_done_ns"] - rows["t_sched_ns"])[ok])
    ranked = len(rows) - int(((rows["outcome"] == Outcome.DROPPED) & (rows["decision"] == 0)).sum())
    assert content["schema"] == 1
    assert content["plan"]["slots"] == len(rows)
    assert content["plan"]["hash"] == run.plan.hash
    expected = response_ns[-(-ranked * 50 // 100) - 1]
    assert content["response_ns"]["p50"] == pytest.approx(expected, rel=0.001)
    assert content["response_ns"]["p999"] is None
    assert content["response_ns"]["max"] is content["response_ns"]["mean"] is None
    assert content["response_ok_ns"]["max"] == response_ns[-1]
    assert content["response_ok_ns"]["mean"] == pytest.approx(response_ns.mean())
    assert content["rate"]["offered"] == len(rows)
    inside = ok & (rows["t_done_ns"] < NS_PER_S)
    assert content["rate"]["ok"] == int(inside.sum())
    assert content["rate"]["in_slo"] == int((inside & (rows["decision"] == 1)).sum())
    assert list(content["per_server"]) == ["gpu1:8001", "gpu2:8001"]
    for index, server in enumerate(content["per_server"].values()):
        assert server["totals"]["scheduled"] == int((rows["server"] == index).sum())
        assert set(server["response_ns"]) == LATENCY_KEYS
    stats = content["server_stats"]["gpu1:8001"]
    assert stats["executed"] == content["per_server"]["gpu1:8001"]["totals"]["ok"]
    assert stats["queue_mean_ns"] == 1_200_000
    assert content["switches"] == []
    (outage,) = content["outages"]
    assert outage["t_end_ns"] > outage["t_start_ns"] >= 0
    assert content["detector"] == {
        "rule": "default",
        "window_ns": 5 * NS_PER_S,
        "stall_tolerance_ns": 250_000_000,
        "blind_ns": 0,
    }
    assert [worker["pid"] for worker in content["workers"]] == [1000, 1001]
    assert content["client"]["busy"] == pytest.approx(0.31)
    assert "warmup" not in content


@pytest.mark.parametrize(
    ("values", "population", "expected"),
    [
        # ranks: p50 p90 p95 p99 p999, then max and mean
        (10, 10, [5, 9, 10, 10, 10, 10, 5.5]),
        (10, 11, [6, 10, None, None, None, None, None]),
        (10, 20, [10, None, None, None, None, None, None]),
        (10, 21, [None, None, None, None, None, None, None]),
        (0, 5, [None, None, None, None, None, None, None]),
        (0, 0, [None, None, None, None, None, None, None]),
        (1000, 1001, [501, 901, 951, 991, 1000, None, None]),
        (1000, None, [500, 900, 950, 990, 999, 1000, 500.5]),
    ],
)
def test_percentiles_that_fall_among_the_unanswered_are_null(
    values: int, population: int | None, expected: list[float | None]
) -> None:
    histogram = Histogram()
    for value in range(1, values + 1):
        histogram.record(value)
    found = latencies(histogram, population)
    shown = [found.p50, found.p90, found.p95, found.p99, found.p999, found.max, found.mean]
    assert shown == expected


def test_rates_up_to_the_cut() -> None:
    run = synthetic_run(dist="constant", rate=100, cut_ns=NS_PER_S // 2)
    found = summarize(run)
    assert found.plan.cut_ns == NS_PER_S // 2
    assert found.plan.slots == 100
    assert found.totals.scheduled == 51
    assert found.rate.offered == 102.0


def test_cut_before_the_first_slot() -> None:
    found = summarize(synthetic_run(cut_ns=0, rate=0.5, dist="poisson"))
    assert found.totals.scheduled == 0
    assert found.rate.offered == 0
    assert found.response_ns.p50 is None


def test_without_slo_or_statistics() -> None:
    run = synthetic_run(slo_ns=None)
    run.stats_after[0] = None
    found = summarize(run)
    assert found.slo is None
    assert found.server_stats["gpu1:8001"].executed is None
    assert found.server_stats["gpu1:8001"].reason == "no statistics were taken"


SECRET = "Bearer s3cr3t-token"


def secret_run() -> RunData:
    run = synthetic_run(config={"headers": (("authorization", SecretStr(SECRET)),)})
    run.argv = ["harness", "bench", "-H", f"authorization: {SECRET}"]
    run.events.append({"t_ns": 5, "event": "error", "detail": f"denied: {SECRET}"})
    run.servers[0]["note"] = "you sent s3cr3t-token"
    run.workers[0].connections.append({"last_error": SECRET})
    return run


def test_no_secret_is_written() -> None:
    content = summarize(secret_run()).to_json().decode()
    assert "s3cr3t" not in content
    assert '"authorization"' in content
    assert json.loads(content)["config"]["headers"] == [["authorization", "***"]]


def test_numbers_that_json_lacks_and_text_that_utf8_lacks() -> None:
    run = synthetic_run()
    run.host = {"load": float("nan"), "cpus": np.int64(2), "quota": np.float64("inf")}
    run.argv = ["x\udcff"]
    content = written(run)
    assert content["host"] == {"load": None, "cpus": 2, "quota": None}
    assert content["argv"] == ["x?"]


def test_the_configuration_can_be_read_back() -> None:
    run = synthetic_run()
    assert BenchConfig.model_validate(summarize(run).config) == run.config


def test_read_back(tmp_path: Path) -> None:
    summary = summarize(synthetic_run(mix={Outcome.OK: 5, Outcome.ERROR: 1}))
    file = tmp_path / "summary.json"
    file.write_bytes(summary.to_json())
    assert load_summary(file) == load_summary(tmp_path) == summary


def test_keys_of_a_later_version_are_ignored(tmp_path: Path) -> None:
    content = written(synthetic_run())
    content["later"] = content["totals"]["later"] = 1
    (tmp_path / "summary.json").write_text(json.dumps(content))
    assert load_summary(tmp_path).totals.scheduled == content["totals"]["scheduled"]


SWITCH_KEYS = {
    *("from", "to", "rule", "t_onset_ns", "t_detect_ns", "t_decide_ns", "t_seen_ns", "n", "x"),
    *("rate", "bound", "epoch", "in_flight", "last_slot_before", "first_slot_after"),
    *("command_ns", "outage", "phases"),
}


def switched_run() -> RunData:
    failure = Failure(NS_PER_S // 2, NS_PER_S * 8 // 10, 1)
    return synthetic_run(
        urls=("gpu1:8001", "gpu2:8001"), duration_ns=2 * NS_PER_S, failures=(failure,)
    )


def test_switch_and_outage_use_the_words_of_the_schema() -> None:
    content = written(switched_run())
    (switch,) = content["switches"]
    assert set(switch) == SWITCH_KEYS
    assert (switch["from"], switch["to"], switch["rate"]) == ("gpu1:8001", "gpu2:8001", 1.0)
    assert list(switch["phases"]) == ["before", "during", "after"]
    assert switch["outage"] == 0
    assert set(content["outages"][0]) >= {"t_start_ns", "t_end_ns", "failed", "recovery_ns"}


def test_secrets_in_a_servers_name_are_not_in_its_switches() -> None:
    run = switched_run()
    secret = SecretStr("hunter22")
    run.config = run.config.model_copy(update={"headers": (("x-key", secret),)})
    run.servers[1]["url"] = "hunter22:8001"
    content = written(run)
    assert "hunter22" not in json.dumps(content)
    assert content["switches"][0]["to"] == "***:8001"


def test_a_switch_that_names_no_outage_is_no_summary(tmp_path: Path) -> None:
    content = written(switched_run())
    (tmp_path / "summary.json").write_text(json.dumps(content))
    assert len(load_summary(tmp_path).switches) == 1
    for index in (1, -1):
        content["switches"][0]["outage"] = index
        (tmp_path / "summary.json").write_text(json.dumps(content))
        with pytest.raises(UsageError, match="is no results summary"):
            load_summary(tmp_path)


def test_what_was_sent_to_keep_servers_warm() -> None:
    run = switched_run()
    assert written(run)["per_server"]["gpu1:8001"]["kept_warm"] == {"sent": 0, "ok": 0}
    run.kept_warm = [KeptWarm(1, 1), KeptWarm(30, 29)]
    found = written(run)["per_server"]
    assert [server["kept_warm"] for server in found.values()] == [
        {"sent": 1, "ok": 1},
        {"sent": 30, "ok": 29},
    ]


@pytest.mark.parametrize(
    ("switching", "slo_ns", "window_ns"),
    [
        ({}, 50_000_000, 5 * NS_PER_S),
        ({"stall_tolerance_ns": NS_PER_S}, 50_000_000, 20 * NS_PER_S),
        ({"given_window_ns": 8 * NS_PER_S}, 50_000_000, 8 * NS_PER_S),
        ({"rule": "plain"}, 50_000_000, 5 * NS_PER_S),
        ({"rule": "plain", "given_window_ns": 8 * NS_PER_S}, 50_000_000, 8 * NS_PER_S),
        ({}, None, None),
    ],
)
def test_the_detectors_window(
    switching: dict[str, Any], slo_ns: int | None, window_ns: int | None
) -> None:
    run = synthetic_run(slo_ns=slo_ns, config={"switching": switching})
    run.blind_ns = 7
    found = summarize(run).detector
    assert found is not None
    assert (found.window_ns, found.blind_ns) == (window_ns, 7)
    assert found.rule == switching.get("rule", "default")


def test_a_file_from_before_there_was_a_detector(tmp_path: Path) -> None:
    content = written(synthetic_run())
    del content["detector"], content["per_server"]["gpu1:8001"]["kept_warm"]
    content["outages"] = []
    (tmp_path / "summary.json").write_text(json.dumps(content))
    assert load_summary(tmp_path).detector is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no results summary"),
        (b"{", "no results summary"),
        (b"[1]", "schema None"),
        (b'{"schema": 2}', "schema 2"),
        (b'{"schema": 1}', "Field required"),
        (b'{"schema": NaN}', "no results summary"),
        (b"\xff\xfe", "no results summary"),
        (b'{"schema": "\\u001b[31m"}', "schema [31m"),
    ],
)
def test_what_is_no_summary_is_told_in_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "summary.json").write_bytes(content)
    with pytest.raises(UsageError, match=words.replace("[", r"\[")) as caught:
        load_summary(tmp_path)
    assert "\n" not in str(caught.value)


def test_absent(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        load_summary(tmp_path)
