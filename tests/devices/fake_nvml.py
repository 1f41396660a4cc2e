"""The functions of ``pynvml`` that are called, in its units, with a device that can be set."""

from types import SimpleNamespace
from typing import Any

HANDLE = "handle"


class NVMLError(Exception):
    """As pynvml's."""


class FakeDevice:
    """In the driver's units: MHz, mW, mJ, bytes, ns, degrees C."""

    def __init__(self, uuid: str) -> None:
        self.uuid: str | bytes = uuid
        self.name: str | bytes = "NVIDIA H100 80GB HBM3"
        self.memory_bytes = 85_520_809_984
        self.clocks = {1: 1755, 2: 2619}
        self.highest_clock = 1980
        self.application_clock = 1980
        self.default_clock = 1980
        self.power_mw = 312_345
        self.limit_mw = 700_000
        self.temperature = 61
        self.reasons = 0x1
        self.violations_ns = {0: 5_000_000_000, 1: 0, 2: 0, 3: 0, 4: 99, 5: 0}
        self.energy_mj = 123_456_789


class FakeNvml:
    """``unsupported``: functions that raise NVMLError; ``absent``: that this version lacks."""

    NVMLError = NVMLError

    def __init__(self, *devices: FakeDevice) -> None:
        self.devices = list(devices)
        self.unsupported: set[str] = set()
        self.absent: set[str] = set()

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("nvml"):
            if name in self.absent:
                raise AttributeError(name)
            if name in self.unsupported:
                return self._refuse
        return super().__getattribute__(name)

    def _refuse(self, *_: Any) -> None:
        raise NVMLError("Not Supported")

    def _device(self, handle: tuple[str, int]) -> FakeDevice:
        assert handle[0] == HANDLE
        return self.devices[handle[1]]

    def nvmlSystemGetDriverVersion(self) -> str | bytes:
        return b"550.54.15"

    def nvmlDeviceGetCount(self) -> int:
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> tuple[str, int]:
        return (HANDLE, index)

    def nvmlDeviceGetUUID(self, handle: Any) -> str | bytes:
        return self._device(handle).uuid

    def nvmlDeviceGetName(self, handle: Any) -> str | bytes:
        return self._device(handle).name

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any:
        return SimpleNamespace(total=self._device(handle).memory_bytes, used=1, free=2)

    def nvmlDeviceGetClockInfo(self, handle: Any, clock: int) -> int:
        return self._device(handle).clocks[clock]

    def nvmlDeviceGetMaxClockInfo(self, handle: Any, clock: int) -> int:
        assert clock == 1
        return self._device(handle).highest_clock

    def nvmlDeviceGetApplicationsClock(self, handle: Any, clock: int) -> int:
        assert clock == 1
        return self._device(handle).application_clock

    def nvmlDeviceGetDefaultApplicationsClock(self, handle: Any, clock: int) -> int:
        assert clock == 1
        return self._device(handle).default_clock

    def nvmlDeviceGetPowerUsage(self, handle: Any) -> int:
        return self._device(handle).power_mw

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: Any) -> int:
        return self._device(handle).limit_mw

    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int) -> int:
        assert sensor == 0
        return self._device(handle).temperature

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: Any) -> int:
        return self._device(handle).reasons

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: Any) -> int:
        return self._device(handle).reasons

    def nvmlDeviceGetViolationStatus(self, handle: Any, policy: int) -> Any:
        return SimpleNamespace(
            referenceTime=1, violationTime=self._device(handle).violations_ns[policy]
        )

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any) -> int:
        return self._device(handle).energy_mj
