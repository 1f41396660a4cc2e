"""Energy of a run: each device once, and nothing said where one of them is silent."""

from dataclasses import replace
from typing import Any

import pytest

from harness.devices.device import DeviceUse
from harness.records import Outcome
from harness.results.energy import EnergyPart, energy_part
from harness.results.rundata import RunData
from harness.results.totals import totals
from tests.results.used_devices import used
from tests.synthetic import synthetic_run

URLS = ("a:1", "b:1")


def run_with(devices: list[list[DeviceUse]], **changes: Any) -> RunData:
    run = synthetic_run(urls=URLS, **changes)
    run.devices = devices
    return run


def energy_of(run: RunData) -> EnergyPart:
    found = energy_part(run, URLS)
    assert found is not None
    return found


def test_each_servers_own() -> None:
    run = run_with([[used("A", 3000.0), used("B", 500.0)], [used("C", 100.0)]])
    found = energy_of(run)
    in_time = totals(run.tally).in_time
    assert in_time == totals(run.tally, 0).in_time + totals(run.tally, 1).in_time
    assert (found.joules, found.devices, found.span_s) == (3600.0, 3, 10.0)
    assert found.inferences == in_time
    assert found.joules_per_in_slo == pytest.approx(3600 / in_time)
    assert "whole devices" in found.covers
    first, second = found.per_server.values()
    assert list(found.per_server) == list(URLS)
    assert (first.joules, second.joules, first.shared) == (3500.0, 100.0, False)
    assert first.joules_per_in_slo == pytest.approx(3500 / totals(run.tally, 0).in_time)


def test_one_device_behind_both_counts_once_and_is_nobodys() -> None:
    found = energy_of(run_with([[used("A")], [used("A")]]))
    assert (found.joules, found.devices) == (3000.0, 1)
    assert found.joules_per_in_slo is not None
    for server in found.per_server.values():
        assert (server.joules, server.joules_per_in_slo, server.shared) == (3000.0, None, True)


@pytest.mark.parametrize(
    "devices",
    [[[used("A")], []], [[used("A")], [used("B", None)]], [[used("A"), used("B", None)], []]],
)
def test_unknown_in_all_where_one_is_silent(devices: list[list[DeviceUse]]) -> None:
    found = energy_of(run_with(devices))
    assert found.joules is found.joules_per_in_slo is None
    assert found.devices == 1
    assert found.per_server["a:1"].joules == (3000.0 if len(devices[0]) == 1 else None)
    assert found.per_server["b:1"].joules is None


def test_a_server_that_was_missing_needs_no_device() -> None:
    run = run_with([[used("A")], []])
    run.servers[1]["missing"] = "server b:1 refused the connection"
    assert energy_of(run).joules == 3000.0


@pytest.mark.parametrize(
    "devices",
    [[], [[], []], [[used("A", None)], []], [[DeviceUse(used("A").before, None)], []]],
)
def test_none(devices: list[list[DeviceUse]]) -> None:
    assert energy_part(run_with(devices), URLS) is None


@pytest.mark.parametrize(("slo_ns", "field"), [(5_000_000, "in_time"), (None, "ok")])
def test_inferences(slo_ns: int | None, field: str) -> None:
    run = run_with(
        [[used("A")], [used("B")]],
        slo_ns=slo_ns,
        config={"batch": 4},
        mix={Outcome.OK: 3, Outcome.ERROR: 1},
    )
    count = getattr(totals(run.tally), field)
    assert 0 < count < totals(run.tally).scheduled
    assert energy_of(run).inferences == 4 * count


def test_no_inference() -> None:
    found = energy_of(run_with([[used("A")], [used("B")]], mix={Outcome.ERROR: 1}))
    assert found.joules == 6000.0
    assert found.joules_per_in_slo is None


def test_the_longest_span() -> None:
    use = used("A")
    assert use.after is not None
    longer = DeviceUse(use.before, replace(use.after, t_ns=use.after.t_ns + 10**9))
    assert energy_of(run_with([[longer], [used("B")]])).span_s == 11.0
