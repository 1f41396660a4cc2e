"""events.jsonl: a line an event, servers by index and by name, and no secret."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from harness.config import NS_PER_S
from harness.errors import UsageError
from harness.results.events_file import load_events, write_events
from harness.results.rundata import RunData
from harness.results.stored import load_run
from tests.results.stored_cases import CASES
from tests.results.test_summary import secret_run
from tests.stored_runs import store
from tests.synthetic import Failure, synthetic_run


def lines(run: RunData) -> list[dict[str, Any]]:
    out = io.BytesIO()
    write_events(out, run)
    assert not out.closed
    return [json.loads(line) for line in out.getvalue().decode().splitlines()]


def test_in_order_and_as_they_were() -> None:
    run = synthetic_run()
    run.events += [{"t_ns": 5, "event": "worker_silent", "worker": 1}]
    assert lines(run) == run.events


def test_servers_have_their_url_beside_their_index() -> None:
    run = synthetic_run(
        urls=("gpu1:8001", "gpu2:8001"), failures=(Failure(NS_PER_S // 4, NS_PER_S // 2, 1),)
    )
    lost = {"t_ns": 7, "event": "connection_lost", "server": 1, "worker": 0}
    run.events.append(lost)
    found = lines(run)
    assert found[-1] == {**lost, "url": "gpu2:8001"}
    switch = found[1]
    assert switch["event"] == "switch"
    assert (switch["source"], switch["target"]) == (0, 1)
    assert (switch["from"], switch["to"]) == ("gpu1:8001", "gpu2:8001")
    assert switch["t_seen_ns"] == run.switches[0].t_seen_ns
    assert "url" not in switch


def test_no_secret_is_written() -> None:
    run = secret_run()
    run.servers[0]["url"] = "s3cr3t-token:8001"
    run.events.append({"t_ns": 6, "event": "command", "command": "curl -H 'Bearer s3cr3t-token'"})
    run.events.append({"t_ns": 7, "event": "eject", "server": 0})
    found = lines(run)
    assert "s3cr3t" not in json.dumps(found)
    assert found[-1]["url"] == "***:8001"


def test_a_name_is_fit_to_print() -> None:
    run = synthetic_run()
    run.servers[0]["url"] = "gpu1\x1b[31m\n:8001"
    run.events.append({"t_ns": 7, "event": "eject", "server": 0})
    assert lines(run)[-1]["url"] == "gpu1[31m :8001"


def events(directory: Path, *lines: str) -> list[dict[str, Any]]:
    text = "".join(f"{line}\n" for line in lines)
    (directory / "events.jsonl").write_bytes(text.encode("utf-8", "surrogatepass"))
    return load_events(directory, servers=2)


GOOD_EVENTS = [
    '{"t_ns": 0, "event": "start"}',
    '{"t_ns": -5, "event": "of a later version", "some": [1, "a", null], "more": 1.5}',
    '{"t_ns": 1, "event": "readmit", "server": 1, "url": "b:1"}',
    '{"t_ns": 1, "event": "command_ended", "command": "x", "exit_code": null, "error": "no"}',
    '{"t_ns": 1, "event": "command_ended", "command": "x", "exit_code": -9}',
    '{"t_ns": 1, "event": "eject", "server": 0, "rule": "r", "n": 1, "x": 1, "bound": 0.5,'
    ' "t_onset_ns": null, "in_use": [1]}',
    '{"t_ns": 1, "event": "switch", "source": 0, "target": 1, "from": "a:1", "to": "b:1",'
    ' "epoch": 1, "rule": "r", "n": 1, "x": 1, "bound": 1, "t_onset_ns": 0, "t_detect_ns": 1,'
    ' "t_decide_ns": 1, "t_seen_ns": [2, null], "in_flight": [0, 3]}',
]


def test_events_read(tmp_path: Path) -> None:
    assert events(tmp_path, *GOOD_EVENTS) == [json.loads(line) for line in GOOD_EVENTS]
    assert events(tmp_path) == []


BAD_EVENTS = [
    *("", "1", "[]", "null", "{}", '{"event": "x"}', '{"t_ns": 1}', '{"t_ns": 1, "event": 5}'),
    *(f'{{"t_ns": {one}, "event": "x"}}' for one in ("1.5", "true", "null", '"1"', 2**60, "NaN")),
    '{"t_ns": 1, "event": "x", "a": 1e999}',
    '{"t_ns": 1, "event": "x", "a": {"b": 1}}',
    '{"t_ns": 1, "event": "x", "a": [[1]]}',
    '{"t_ns": 1, "event": "x", "a": [' + ",".join("0" * 5000) + "]}",
    '{"t_ns": 1, "event": "x", ' + ", ".join(f'"{n}": 0' for n in range(100)) + "}",
    '{"t_ns": 1, "event": "x", "a": "\\ud800"}',
    '{"t_ns": 1, "event": "x", "a": "\x00"}',
    '{"t_ns": 1, "event": "x", "a": ' + "9" * 5000 + "}",
    '{"t_ns": 1, "event": "x", "a": "' + "x" * 2_000_000 + '"}',
    '{"t_ns": 1, "event": "x", "a": ' + "[" * 5000 + "}",
    '{"t_ns": 1, "event": "readmit"}',
    *(
        f'{{"t_ns": 1, "event": "readmit", "server": {one}}}'
        for one in (2, -1, "null", '"a"', "[0]")
    ),
    '{"t_ns": 1, "event": "command", "command": 5}',
    '{"t_ns": 1, "event": "command_ended", "command": "x"}',
    '{"t_ns": 1, "event": "command_ended", "command": "x", "exit_code": null}',
    '{"t_ns": 1, "event": "coordinator_late", "gap_ns": null}',
    '{"t_ns": 1, "event": "worker_died", "worker": -1}',
    GOOD_EVENTS[-1].replace('"t_seen_ns": [2, null]', '"t_seen_ns": 2'),
    GOOD_EVENTS[-1].replace('"t_seen_ns": [2, null]', '"t_seen_ns": ["a"]'),
    GOOD_EVENTS[-1].replace('"in_flight": [0, 3]', '"in_flight": [null]'),
    GOOD_EVENTS[-1].replace('"rule": "r"', '"rule": 1'),
    GOOD_EVENTS[-1].replace('"bound": 1', '"bound": -1'),
]


@pytest.mark.parametrize("line", BAD_EVENTS, ids=[line[:60] for line in BAD_EVENTS])
def test_events_out_of_their_ranges(tmp_path: Path, line: str) -> None:
    with pytest.raises(UsageError, match=r"events\.jsonl in .* is damaged") as caught:
        events(tmp_path, GOOD_EVENTS[0], line)
    assert "\n" not in str(caught.value)


def test_a_line_without_its_end(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text(GOOD_EVENTS[0])
    with pytest.raises(UsageError, match="line 1 is cut short"):
        load_events(tmp_path, 1)


def test_every_event_that_a_run_tells_is_read(tmp_path: Path) -> None:
    run = synthetic_run(**CASES["a switch"])
    evidence: dict[str, Any] = {"server": 0, "rule": "rate", "n": 5, "x": 3, "bound": 2.5}
    run.events += [
        {"t_ns": 1, "event": "flapping", **evidence},
        {"t_ns": 1, "event": "eject", **evidence, "t_onset_ns": 0, "in_use": [1]},
        {"t_ns": 2, "event": "connection_lost", "server": 1, "worker": 0},
        {"t_ns": 2, "event": "worker_hung", "worker": 1},
        {"t_ns": 3, "event": "command", "at_ns": 3, "command": "a\n\x1b[31mb"},
        {"t_ns": 4, "event": "coordinator_late", "gap_ns": 5},
        {"t_ns": 4, "event": "cut"},
    ]
    found = load_run(store(tmp_path / "out", run)).events
    assert found is not None
    assert [event["event"] for event in found] == [event["event"] for event in run.events]
