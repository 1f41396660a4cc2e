"""What was found about switching, from the events a run leaves."""

from typing import Any

import pytest

from harness.config import NS_PER_S
from harness.results.rundata import RunData
from harness.results.switch_findings import switch_findings
from tests.synthetic import Failure, synthetic_run

URLS = ("gpu1:8001", "gpu2:8001")
S = NS_PER_S
HARD_DOWN = {"rule": "hard-down", "n": 9, "x": 9, "bound": 5.0}
RATE = {"rule": "rate", "n": 498, "x": 31, "bound": 29.5}


def event(kind: str, t_s: float, **facts: Any) -> dict[str, Any]:
    return {"t_ns": int(t_s * S), "event": kind, **facts}


def found(run: RunData) -> list[tuple[str, str]]:
    return [(one.code, one.text) for one in switch_findings(run)]


def test_none_in_a_run_without_trouble() -> None:
    assert found(synthetic_run(urls=URLS)) == []


@pytest.mark.parametrize(
    ("failures", "text"),
    [
        ((Failure(S, 2 * S, 1),), "switched once, to gpu2:8001 at 2.000 s"),
        (
            (Failure(S, 2 * S, 1), Failure(3 * S, 4 * S, 0)),
            "switched 2 times, the last time to gpu1:8001 at 4.000 s",
        ),
    ],
)
def test_switched(failures: tuple[Failure, ...], text: str) -> None:
    assert found(synthetic_run(urls=URLS, failures=failures)) == [("switched", text)]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (
            [event("flapping", 3.5, server=1, **HARD_DOWN)],
            [
                (
                    "flapping",
                    "flapping: gpu2:8001 failed at 3.500 s, but the load had moved too often and"
                    " stayed",
                )
            ],
        ),
        (
            [event("all_bad", 3.5, server=0, **RATE), event("all_bad", 9, server=0, **RATE)],
            [
                (
                    "all_bad",
                    "all bad: gpu1:8001 failed at 3.500 s, and no other server was fit to take"
                    " its load, 2 times in all",
                )
            ],
        ),
        (
            [event("all_bad", 3.5, server=0, **RATE), event("stopped", 3.6)],
            [
                (
                    "all_bad",
                    "all bad: gpu1:8001 failed at 3.500 s, and no other server was fit to take"
                    " its load; stopped at 3.600 s (--on-all-bad stop)",
                )
            ],
        ),
        (
            [event("stopped", 3.6)],
            [
                (
                    "all_bad",
                    "all bad: no server was fit to take the load; stopped at 3.600 s"
                    " (--on-all-bad stop)",
                )
            ],
        ),
        (
            [
                event("failing", 2, server=1, **RATE),
                event("failing", 1, server=0, **HARD_DOWN),
                event("failing", 5, server=1, **HARD_DOWN),
            ],
            [
                (
                    "failing",
                    "gpu1:8001 failed at 1.000 s (hard-down, 9 of 9 violated); the load was not"
                    " moved",
                ),
                (
                    "failing",
                    "gpu2:8001 failed at 2.000 s (rate, 31 of 498 violated); the load was not"
                    " moved, 2 times in all",
                ),
            ],
        ),
        (
            [event("eject", 2, server=1, in_use=[0], **RATE), event("readmit", 32, server=1)],
            [("ejected", "gpu2:8001 was left out at 2.000 s (rate, 31 of 498 violated)")],
        ),
        ([event("connection_lost", 7, server=1, worker=0)], []),
    ],
)
def test_events(events: list[dict[str, Any]], expected: list[tuple[str, str]]) -> None:
    run = synthetic_run(urls=URLS)
    run.events += events
    assert found(run) == expected


@pytest.mark.parametrize(
    ("events", "missing", "moments"),
    [
        ([("eject", 2, 1), ("all_bad", 4, 0)], [], "4.000 s, so all were used"),
        ([("eject", 2, 1), ("readmit", 3, 1), ("all_bad", 4, 0)], [], None),
        ([("all_bad", 4, 0)], [], None),  # the other was not connected
        ([("all_bad", 4, 0)], [1], "4.000 s, so all were used"),
        (
            [("eject", 2, 1), ("all_bad", 4, 0), ("readmit", 9, 0), ("all_bad", 11, 0)],
            [],
            "4.000 s, so all were used, 2 times in all",
        ),
    ],
)
def test_all_left_out(
    events: list[tuple[str, int, int]], missing: list[int], moments: str | None
) -> None:
    switching = {"policy": "round-robin", "eject": True}
    run = synthetic_run(urls=URLS, config={"switching": switching})
    for server in missing:
        run.servers[server]["missing"] = "not ready"
    run.events += [event(kind, t_s, server=server, **RATE) for kind, t_s, server in events]
    texts = [text for code, text in found(run) if code == "all_out"]
    assert texts == ([] if moments is None else [f"all servers were left out at {moments}"])


def test_under_failover_all_bad_is_never_all_left_out() -> None:
    run = synthetic_run(urls=("gpu1:8001",))
    run.events.append(event("all_bad", 4, server=0, **RATE))
    assert [code for code, _ in found(run)] == ["all_bad"]


def test_a_server_missing_at_the_start() -> None:
    run = synthetic_run(urls=URLS)
    run.servers[1]["missing"] = "connection\nrefused\x1b[31m"
    assert found(run) == [("missing", "gpu2:8001 was missing at the start: connection refused[31m")]


def test_a_blind_detector() -> None:
    run = synthetic_run(duration_ns=3 * S)
    run.blind_ns = 1_950_000_000
    assert found(run) == [
        (
            "blind",
            "the detector was blind for 1.950 s of 3.000 s: the client was late, which says"
            " nothing of a server",
        )
    ]


def test_names_from_outside_are_cleaned() -> None:
    run = synthetic_run(urls=URLS)
    run.servers[0]["url"] = "gpu1\x1b[2J\u202e:8001"
    run.events.append(event("all_bad", 1, server=0, **RATE))
    assert found(run)[0][1].startswith("all bad: gpu1[2J:8001 failed")
