"""A summary that was altered: refused in one line, whatever is wrong with it."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.results.stored import load_run
from tests.results.stored_cases import TWO, refused, stored


def change(directory: Path, *steps: Any, value: Any = None) -> None:
    """Set one place of summary.json; without a value: leave it out."""
    path = directory / "summary.json"
    content = json.loads(path.read_bytes())
    inner = content
    for step in steps[:-1]:
        inner = inner[step]
    if value is None:
        del inner[steps[-1]]
    else:
        inner[steps[-1]] = value
    path.write_text(json.dumps(content))


BAD_SUMMARY: list[tuple[tuple[Any, ...], Any]] = [
    (("plan", "slots"), 2**63),
    (("plan", "slots"), -1),
    (("plan", "duration_s"), 1e9),
    (("plan", "duration_s"), 0),
    (("plan", "duration_s"), "1"),
    (("plan", "duration_s"), float("nan")),
    (("plan", "cut_ns"), 2**60),
    (("plan", "seed"), "x"),
    (("plan",), None),
    (("plan",), []),
    (("totals", "ok"), 10**9),
    (("totals", "ok"), 1.5),
    (("totals", "violations_by", "slow"), 10**6),
    (("totals", "client_late"), 10**6),
    (("per_server", TWO[0], "totals", "sent"), 10**6),
    (("per_server", TWO[0]), None),
    (("per_server", "elsewhere:1"), {}),
    (("server_stats", TWO[1]), None),
    (("servers",), []),
    (("servers", 0, "url"), "elsewhere:1"),
    (("servers", 0, "url"), 5),
    (("servers",), [{}] * 10**6),
    (("servers",), [1] * 10**6),
    (("workers",), [{}] * 10**5),
    (("workers", 0, "in_flight_max"), ["x"] * 10**6),
    (("response_ns", "p50"), 2**60),
    (("response_ns", "p50"), float("inf")),
    (("host", "cpus"), float("inf")),
    (("rate", "ok"), 1e300),
    (("slo", "limit"), 2),
    (("limits", "timeout_ns"), 2**60),
    (("config",), "x"),
    (("config", "seed"), 10**310),
    (("outages", 0, "t_end_ns"), -1),
    (("schema",), 2),
    (("schema",), [[1] * 1000]),
    (("valid",), "perhaps"),
    (("findings",), [[]]),
    (("argv",), {"a": 1}),
]


@pytest.mark.parametrize(
    ("steps", "value"), BAD_SUMMARY, ids=[f"{s}={str(v)[:20]}" for s, v in BAD_SUMMARY]
)
def test_a_summary_out_of_its_ranges(directory: Path, steps: tuple[Any, ...], value: Any) -> None:
    change(directory, *steps, value=value)
    refused(directory, "summary.json")


def test_a_plan_of_2_to_60_slots_takes_no_memory(directory: Path) -> None:
    change(directory, "plan", "slots", value=2**60)
    assert load_run(directory).rows is not None


@pytest.mark.parametrize("given", [{"duration_s": 3e7}, {"duration_s": 0.5}, {"cut_ns": 1}])
def test_a_run_longer_or_shorter_than_its_windows(directory: Path, given: dict[str, Any]) -> None:
    for key, value in given.items():
        change(directory, "plan", key, value=value)
    refused(directory, "windows.csv")
    (directory / "windows.csv").unlink()
    if given != {"duration_s": 3e7}:
        refused(directory, "requests.npy")


def switched(tmp_path: Path) -> Path:
    return stored(tmp_path / "out", "a switch")


@pytest.mark.parametrize(
    ("steps", "value"),
    [
        (("from",), "elsewhere:1"),
        (("in_flight",), {"elsewhere:1": 1}),
        (("phases", "after", "servers"), {"elsewhere:1": {"decided": 1}}),
        (("t_seen_ns",), [[]]),
        (("t_seen_ns",), [2**60]),
        (("outage",), 99),
        (("rate",), 1.5),
    ],
)
def test_switches_out_of_their_ranges(tmp_path: Path, steps: tuple[Any, ...], value: Any) -> None:
    directory = switched(tmp_path)
    change(directory, "switches", 0, *steps, value=value)
    refused(directory, "summary.json")
