"""One GPU at one moment, and over a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

NS_PER_S = 1_000_000_000

Source = Literal["nvml", "metrics"]
"""The driver's own library on this machine, or a server's metrics page."""


@dataclass(frozen=True)
class DeviceReading:
    """A GPU as it was at ``t_ns`` (CLOCK_MONOTONIC). None: not told.

    ``sm_clock_limit_mhz`` is the application clock where somebody set one, else the highest clock.
    ``throttle_reasons`` hold at that moment; ``throttled_ns`` and ``energy_j`` are counters that
    began at some time of their own, the first by the policy that held the clocks down.
    """

    uuid: str
    source: Source
    t_ns: int
    name: str
    memory_total_bytes: int | None = None
    driver: str | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    sm_clock_limit_mhz: int | None = None
    power_cap_w: float | None = None
    power_w: float | None = None
    temperature_c: int | None = None
    throttle_reasons: tuple[str, ...] = ()
    throttled_ns: Mapping[str, int] = field(default_factory=dict)
    energy_j: float | None = None


Readings = dict[str, DeviceReading]
"""By UUID."""


@dataclass(frozen=True)
class DeviceUse:
    """A GPU over a run. ``after`` is None where it was not heard of again."""

    before: DeviceReading
    after: DeviceReading | None

    @property
    def last(self) -> DeviceReading:
        """The later reading."""
        return self.after or self.before

    @property
    def span_s(self) -> float | None:
        """Time between the readings."""
        return None if self.after is None else (self.after.t_ns - self.before.t_ns) / NS_PER_S

    @property
    def energy_j(self) -> float | None:
        """What the whole device used between the readings; None where its counter does not say.

        A counter that stood still or went back was not counting: no GPU runs on nothing.
        """
        if self.after is None or self.after.energy_j is None or self.before.energy_j is None:
            return None
        used_j = self.after.energy_j - self.before.energy_j
        return used_j if used_j > 0 else None

    @property
    def throttle_reasons(self) -> tuple[str, ...]:
        """Those of either reading."""
        return tuple(dict.fromkeys((*self.before.throttle_reasons, *self.last.throttle_reasons)))

    @property
    def throttled_s(self) -> dict[str, float]:
        """How long each policy held the clocks down between the readings; what it did not, is left
        out, and a counter that says more than the time there was."""
        if self.after is None or self.span_s is None:
            return {}
        grown = {
            name: (count - self.before.throttled_ns[name]) / NS_PER_S
            for name, count in self.after.throttled_ns.items()
            if name in self.before.throttled_ns
        }
        return {name: held_s for name, held_s in grown.items() if 0 < held_s <= self.span_s}


def servers_of(uses: Sequence[Sequence[DeviceUse]]) -> dict[str, list[int]]:
    """The servers that each device, by UUID, was found behind; ``uses`` is by server."""
    servers: dict[str, list[int]] = {}
    for index, devices in enumerate(uses):
        for use in devices:
            servers.setdefault(use.before.uuid, []).append(index)
    return servers
