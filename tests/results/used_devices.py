"""Devices as a run would have used them."""

from typing import Any

from harness.devices.device import DeviceReading, DeviceUse

S = 1_000_000_000


def used(uuid: str, joules: float | None = 3000.0, **after: Any) -> DeviceUse:
    """Over 10 s; ``after`` replaces what the later reading tells."""
    facts: dict[str, Any] = {
        "uuid": uuid,
        "source": "nvml",
        "name": "NVIDIA H100 80GB HBM3",
        "memory_total_bytes": 85_520_809_984,
        "driver": "550.54.15",
        "sm_clock_limit_mhz": 1980,
        "power_cap_w": 700.0,
    }
    before = DeviceReading(
        **facts,
        t_ns=5 * S,
        sm_clock_mhz=345,
        memory_clock_mhz=2619,
        power_w=72.5,
        temperature_c=31,
        throttled_ns={"power": S, "thermal": 0},
        energy_j=None if joules is None else 10.0,
    )
    last: dict[str, Any] = {
        "sm_clock_mhz": 1755,
        "memory_clock_mhz": 2619,
        "power_w": 312.4,
        "temperature_c": 61,
        "throttle_reasons": ("sw_power_cap",),
        "throttled_ns": {"power": 4 * S, "thermal": 0},
        "energy_j": None if joules is None else 10.0 + joules,
    }
    return DeviceUse(before, DeviceReading(**(facts | {"t_ns": 15 * S} | last | after)))
