"""events.jsonl: a line an event, servers by index and by name, and no secret."""

import io
import json
from typing import Any

from harness.config import NS_PER_S
from harness.results.events_file import write_events
from harness.results.rundata import RunData
from tests.results.test_summary import secret_run
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
