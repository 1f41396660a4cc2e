"""A device over a run: what grew, what cannot have."""

from dataclasses import replace

import pytest

from harness.devices.device import DeviceReading, DeviceUse, servers_of

S = 1_000_000_000
BEFORE = DeviceReading(
    uuid="GPU-a",
    source="nvml",
    t_ns=5 * S,
    name="H100",
    energy_j=1000.0,
    throttle_reasons=("sw_power_cap",),
    throttled_ns={"power": 7 * S, "thermal": 0},
)


def used(**after):
    return DeviceUse(BEFORE, replace(BEFORE, t_ns=15 * S, **after))


@pytest.mark.parametrize(
    ("energy_j", "expected"),
    [(4000.5, 3000.5), (1000.0, None), (10.0, None), (None, None)],
)
def test_energy(energy_j, expected):
    assert used(energy_j=energy_j).energy_j == expected


def test_energy_without_a_start():
    assert DeviceUse(replace(BEFORE, energy_j=None), used(energy_j=4000.0).after).energy_j is None


@pytest.mark.parametrize(
    ("throttled_ns", "expected"),
    [
        ({"power": 9 * S, "thermal": 0}, {"power": 2.0}),
        ({"power": 17 * S, "thermal": S // 2}, {"power": 10.0, "thermal": 0.5}),
        ({"power": 18 * S}, {}),  # 11 s in 10
        ({"power": 0}, {}),
        ({"reliability": S}, {}),
        ({}, {}),
    ],
)
def test_throttled(throttled_ns, expected):
    assert used(throttled_ns=throttled_ns).throttled_s == expected


def test_reasons_of_either():
    both = used(throttle_reasons=("hw_slowdown", "sw_power_cap"))
    assert both.throttle_reasons == ("sw_power_cap", "hw_slowdown")


def test_not_heard_of_again():
    use = DeviceUse(BEFORE, None)
    assert use.last is BEFORE
    assert use.energy_j is use.span_s is None
    assert use.throttled_s == {}
    assert use.throttle_reasons == ("sw_power_cap",)
    assert used().span_s == 10.0


def test_servers_of():
    one, two = used(), DeviceUse(replace(BEFORE, uuid="GPU-b"), None)
    assert servers_of([[one, two], [], [two]]) == {"GPU-a": [0], "GPU-b": [0, 2]}
