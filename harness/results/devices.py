"""The GPUs behind a server, as ``servers[].devices`` tells them."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from harness.devices.device import DeviceReading, DeviceUse, Source
from harness.results.bounds import MOST, Count
from harness.results.parts import Part

Mhz = Annotated[int, Field(ge=0, le=1_000_000)]
Watts = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Celsius = Annotated[int, Field(ge=-273, le=1000)]
Joules = Annotated[float, Field(ge=0, le=1e18, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=MOST / 1e9, allow_inf_nan=False)]


class DeviceState(Part):
    """What changes under load, at one moment; None: not told."""

    sm_clock_mhz: Mhz | None
    memory_clock_mhz: Mhz | None
    power_w: Watts | None
    temperature_c: Celsius | None


class DeviceFacts(DeviceState):
    """One GPU; its state is that after the load, ``before`` the one just before it.

    ``energy_j`` is what it used in ``span_s``, None where it does not tell.
    """

    name: str
    uuid: str
    memory_total_bytes: Count | None
    driver: str | None
    sm_clock_limit_mhz: Mhz | None
    power_cap_w: Watts | None
    throttle_reasons: list[str]  # seen before the load or after it
    throttled_s: dict[str, Seconds]  # over the run, by what held the clocks down
    energy_j: Joules | None
    span_s: Seconds | None
    source: Source
    before: DeviceState


def device_facts(use: DeviceUse) -> DeviceFacts:
    """For results."""
    last = use.last
    return DeviceFacts(
        **_state(last),
        name=last.name,
        uuid=last.uuid,
        memory_total_bytes=last.memory_total_bytes,
        driver=last.driver,
        sm_clock_limit_mhz=last.sm_clock_limit_mhz,
        power_cap_w=last.power_cap_w,
        throttle_reasons=list(use.throttle_reasons),
        throttled_s=use.throttled_s,
        energy_j=use.energy_j,
        span_s=use.span_s,
        source=last.source,
        before=DeviceState(**_state(use.before)),
    )


def with_devices(
    servers: Sequence[dict[str, Any]], devices: Sequence[Sequence[DeviceUse]]
) -> list[dict[str, Any]]:
    """The servers' facts with ``devices`` in each, none where none are known."""
    return [
        {
            **server,
            "devices": [
                device_facts(use).model_dump() for use in (devices[index] if devices else ())
            ],
        }
        for index, server in enumerate(servers)
    ]


def _state(reading: DeviceReading) -> dict[str, Any]:
    return {name: getattr(reading, name) for name in DeviceState.model_fields}
