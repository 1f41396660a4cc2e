"""This machine's GPUs, as the driver's management library tells them."""

import importlib
import time
from typing import Any

from harness.devices.device import DeviceReading, Readings
from harness.untrusted import clean_text

MAX_DEVICES = 64
MAX_NAME_CHARS = 80

# nvml.h's numbers, which every version of the library keeps.
CLOCK_SM, CLOCK_MEMORY = 1, 2
TEMPERATURE_GPU = 0
THROTTLE_REASONS = (
    (0x2, "applications_clocks_setting"),
    (0x4, "sw_power_cap"),
    (0x8, "hw_slowdown"),
    (0x10, "sync_boost"),
    (0x20, "sw_thermal_slowdown"),
    (0x40, "hw_thermal_slowdown"),
    (0x80, "hw_power_brake_slowdown"),
    (0x100, "display_clock_setting"),
)
"""Being idle (0x1) holds nothing down."""
POLICIES = ((0, "power"), (1, "thermal"), (2, "sync_boost"), (3, "board_limit"), (5, "reliability"))

MAX_MHZ = 100_000
MAX_W = 100_000
MAX_CELSIUS = 1000
NOT_AVAILABLE = 2**64 - 1


class Nvml:
    """Reads every GPU of this machine.

    ``library``: the module ``pynvml`` after ``nvmlInit()``, or what has its functions.
    """

    def __init__(self, library: Any) -> None:
        self._library = library

    def read(self) -> Readings:
        """By UUID; what a device does not tell is None."""
        driver = _text(self._ask("nvmlSystemGetDriverVersion"))
        readings = {}
        for index in range(min(self._ask("nvmlDeviceGetCount") or 0, MAX_DEVICES)):
            handle = self._ask("nvmlDeviceGetHandleByIndex", index)
            uuid = None if handle is None else _text(self._ask("nvmlDeviceGetUUID", handle))
            if uuid:
                readings[uuid] = self._read(handle, uuid, driver)
        return readings

    def _read(self, handle: Any, uuid: str, driver: str | None) -> DeviceReading:
        memory = self._ask("nvmlDeviceGetMemoryInfo", handle)
        energy_mj = self._ask("nvmlDeviceGetTotalEnergyConsumption", handle)
        t_ns = time.monotonic_ns()
        return DeviceReading(
            uuid=uuid,
            source="nvml",
            t_ns=t_ns,
            name=_text(self._ask("nvmlDeviceGetName", handle)) or "GPU",
            memory_total_bytes=None if memory is None else int(memory.total),
            driver=driver,
            sm_clock_mhz=self._mhz("nvmlDeviceGetClockInfo", handle, CLOCK_SM),
            memory_clock_mhz=self._mhz("nvmlDeviceGetClockInfo", handle, CLOCK_MEMORY),
            sm_clock_limit_mhz=self._clock_limit_mhz(handle),
            power_cap_w=self._watts("nvmlDeviceGetEnforcedPowerLimit", handle),
            power_w=self._watts("nvmlDeviceGetPowerUsage", handle),
            temperature_c=self._celsius(handle),
            throttle_reasons=self._throttle_reasons(handle),
            throttled_ns=self._throttled_ns(handle),
            energy_j=None if energy_mj in (None, NOT_AVAILABLE) else energy_mj / 1000,
        )

    def _clock_limit_mhz(self, handle: Any) -> int | None:
        set_mhz = self._mhz("nvmlDeviceGetApplicationsClock", handle, CLOCK_SM)
        default_mhz = self._mhz("nvmlDeviceGetDefaultApplicationsClock", handle, CLOCK_SM)
        # At its default an application clock bounds nothing: the device boosts over it.
        if set_mhz is not None and default_mhz is not None and set_mhz != default_mhz:
            return set_mhz
        return self._mhz("nvmlDeviceGetMaxClockInfo", handle, CLOCK_SM)

    def _throttle_reasons(self, handle: Any) -> tuple[str, ...]:
        bits = self._ask("nvmlDeviceGetCurrentClocksEventReasons", handle)
        if bits is None:  # its name before driver 535
            bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
        return tuple(name for bit, name in THROTTLE_REASONS if (bits or 0) & bit)

    def _throttled_ns(self, handle: Any) -> dict[str, int]:
        found = {
            name: self._ask("nvmlDeviceGetViolationStatus", handle, policy)
            for policy, name in POLICIES
        }
        return {name: int(one.violationTime) for name, one in found.items() if one is not None}

    def _mhz(self, function: str, *arguments: Any) -> int | None:
        clock = self._ask(function, *arguments)
        return clock if clock is not None and 0 < clock <= MAX_MHZ else None

    def _watts(self, function: str, handle: Any) -> float | None:
        milliwatts = self._ask(function, handle)
        known = milliwatts is not None and 0 < milliwatts <= MAX_W * 1000
        return milliwatts / 1000 if known else None

    def _celsius(self, handle: Any) -> int | None:
        degrees = self._ask("nvmlDeviceGetTemperature", handle, TEMPERATURE_GPU)
        return degrees if degrees is not None and -273 <= degrees <= MAX_CELSIUS else None

    def _ask(self, function: str, *arguments: Any) -> Any:
        """None if this library, driver or device does not tell."""
        try:
            return getattr(self._library, function)(*arguments)
        except (self._library.NVMLError, AttributeError):
            return None


def open_nvml() -> Nvml | None:
    """None where the package ``nvidia-ml-py`` or the driver is not there."""
    try:
        library = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        library.nvmlInit()
    except library.NVMLError:
        return None
    return Nvml(library)


def _text(told: str | bytes | None) -> str | None:
    if told is None:
        return None
    text = told.decode(errors="replace") if isinstance(told, bytes) else told
    return clean_text(text, MAX_NAME_CHARS) or None
