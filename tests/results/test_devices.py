"""servers[].devices: what a run's devices are in results."""

import json
from typing import Any

from harness.devices.device import DeviceUse
from harness.results.books import check_books
from harness.results.devices import DeviceFacts, device_facts, with_devices
from harness.results.findings import judge
from harness.results.summarize import build_summary
from tests.results.used_devices import used
from tests.synthetic import synthetic_run


def test_the_state_is_that_after_the_load() -> None:
    facts = device_facts(used("GPU-a")).model_dump()
    assert facts == {
        "name": "NVIDIA H100 80GB HBM3",
        "uuid": "GPU-a",
        "memory_total_bytes": 85_520_809_984,
        "driver": "550.54.15",
        "sm_clock_mhz": 1755,
        "memory_clock_mhz": 2619,
        "sm_clock_limit_mhz": 1980,
        "power_cap_w": 700.0,
        "power_w": 312.4,
        "temperature_c": 61,
        "throttle_reasons": ["sw_power_cap"],
        "throttled_s": {"power": 3.0},
        "energy_j": 3000.0,
        "span_s": 10.0,
        "source": "nvml",
        "before": {
            "sm_clock_mhz": 345,
            "memory_clock_mhz": 2619,
            "power_w": 72.5,
            "temperature_c": 31,
        },
    }


def test_one_that_was_not_heard_of_again() -> None:
    facts = device_facts(DeviceUse(used("GPU-a").before, None))
    assert (facts.sm_clock_mhz, facts.energy_j, facts.span_s) == (345, None, None)
    assert facts.throttled_s == {}


def written(devices: list[list[DeviceUse]]) -> list[dict[str, Any]]:
    run = synthetic_run(urls=("a:1", "b:1"))
    run.devices = devices
    content = json.loads(build_summary(run, judge(run, check_books(run))).to_json())
    servers: list[dict[str, Any]] = content["servers"]
    return servers


def test_in_the_summary() -> None:
    first, second = written([[used("GPU-a"), used("GPU-b")], []])
    assert [DeviceFacts.model_validate(one).uuid for one in first["devices"]] == ["GPU-a", "GPU-b"]
    assert second["devices"] == []
    assert (first["url"], first["name"]) == ("a:1", "triton")


def test_where_nobody_looked() -> None:
    assert [server["devices"] for server in written([])] == [[], []]


def test_the_facts_given_stay_as_they_are() -> None:
    servers = [{"url": "a:1"}]
    with_devices(servers, [[used("GPU-a")]])
    assert servers == [{"url": "a:1"}]
