"""NVML: units, what a device or driver does not tell, and the real library."""

import sys
import time

import pynvml
import pytest

from harness.devices import nvml
from harness.devices.nvml import MAX_DEVICES, Nvml, open_nvml
from tests.devices.fake_nvml import FakeDevice, FakeNvml


def read_one(library):
    (reading,) = Nvml(library).read().values()
    return reading


def test_figures_and_their_units():
    before_ns = time.monotonic_ns()
    found = Nvml(FakeNvml(FakeDevice("GPU-a"), FakeDevice("GPU-b"))).read()
    assert list(found) == ["GPU-a", "GPU-b"]
    one = found["GPU-b"]
    assert before_ns <= one.t_ns <= time.monotonic_ns()
    assert (one.uuid, one.source, one.driver) == ("GPU-b", "nvml", "550.54.15")
    assert one.name == "NVIDIA H100 80GB HBM3"
    assert one.memory_total_bytes == 85_520_809_984
    assert (one.sm_clock_mhz, one.memory_clock_mhz, one.sm_clock_limit_mhz) == (1755, 2619, 1980)
    assert (one.power_w, one.power_cap_w) == (312.345, 700.0)
    assert one.temperature_c == 61
    assert one.energy_j == 123_456.789
    assert one.throttled_ns == {
        "power": 5_000_000_000, "thermal": 0, "sync_boost": 0, "board_limit": 0, "reliability": 0
    }  # fmt: skip


@pytest.mark.parametrize(
    ("bits", "reasons"),
    [
        (0x0, ()),
        (0x1, ()),  # idle
        (0x4, ("sw_power_cap",)),
        (0x2 | 0x40, ("applications_clocks_setting", "hw_thermal_slowdown")),
        (0x80 | 0x20 | 0x8, ("hw_slowdown", "sw_thermal_slowdown", "hw_power_brake_slowdown")),
        (0x110, ("sync_boost", "display_clock_setting")),
        (1 << 40, ()),
    ],
)
def test_throttle_reasons(bits, reasons):
    device = FakeDevice("GPU-a")
    device.reasons = bits
    assert read_one(FakeNvml(device)).throttle_reasons == reasons


def test_throttle_reasons_under_their_old_name():
    library = FakeNvml(FakeDevice("GPU-a"))
    library.devices[0].reasons = 0x4
    library.absent.add("nvmlDeviceGetCurrentClocksEventReasons")
    assert read_one(library).throttle_reasons == ("sw_power_cap",)


@pytest.mark.parametrize(("set_mhz", "limit_mhz"), [(1980, 1980), (1200, 1200), (0, 1980)])
def test_an_application_clock_bounds_if_it_was_set(set_mhz, limit_mhz):
    device = FakeDevice("GPU-a")
    device.application_clock = set_mhz
    assert read_one(FakeNvml(device)).sm_clock_limit_mhz == limit_mhz


OF_FUNCTION = {
    "nvmlSystemGetDriverVersion": {"driver": None},
    "nvmlDeviceGetName": {"name": "GPU"},
    "nvmlDeviceGetMemoryInfo": {"memory_total_bytes": None},
    "nvmlDeviceGetClockInfo": {"sm_clock_mhz": None, "memory_clock_mhz": None},
    "nvmlDeviceGetApplicationsClock": {"sm_clock_limit_mhz": 1980},
    "nvmlDeviceGetMaxClockInfo": {"sm_clock_limit_mhz": None},
    "nvmlDeviceGetPowerUsage": {"power_w": None},
    "nvmlDeviceGetEnforcedPowerLimit": {"power_cap_w": None},
    "nvmlDeviceGetTemperature": {"temperature_c": None},
    "nvmlDeviceGetViolationStatus": {"throttled_ns": {}},
    "nvmlDeviceGetTotalEnergyConsumption": {"energy_j": None},
}


@pytest.mark.parametrize("how", ["unsupported", "absent"])
@pytest.mark.parametrize("function", OF_FUNCTION)
def test_what_is_not_told_is_none_and_the_rest_is_there(function, how):
    library = FakeNvml(FakeDevice("GPU-a"))
    whole = vars(read_one(library))
    getattr(library, how).add(function)
    assert vars(read_one(library)) == whole | OF_FUNCTION[function] | {
        "t_ns": pytest.approx(whole["t_ns"], abs=10**10)
    }


@pytest.mark.parametrize(
    "function",
    ["nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetUUID"],
)
def test_without_these_there_is_no_device(function):
    library = FakeNvml(FakeDevice("GPU-a"))
    library.unsupported.add(function)
    assert Nvml(library).read() == {}


def test_odd_values():
    device = FakeDevice("")
    device.uuid, device.name = b"GPU-\x1b[1m\xff", b"Tesla\x00 T4"
    device.power_mw = 2**32 - 1
    device.energy_mj = 2**64 - 1
    device.temperature = 2**31
    device.clocks = {1: 0, 2: 2**32 - 1}
    (one,) = Nvml(FakeNvml(device)).read().values()
    assert (one.uuid, one.name) == ("GPU-[1m\ufffd", "Tesla T4")
    assert one.power_w is one.energy_j is one.sm_clock_mhz is one.memory_clock_mhz is None
    assert one.temperature_c is None


def test_no_more_than_can_be_shown():
    devices = [FakeDevice(f"GPU-{n}") for n in range(MAX_DEVICES + 6)]
    assert len(Nvml(FakeNvml(*devices)).read()) == MAX_DEVICES


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert open_nvml() is None


def test_without_a_driver(monkeypatch):
    library = FakeNvml()
    library.unsupported.add("nvmlInit")
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert open_nvml() is None


def test_the_package_knows_what_is_asked():
    """Else a name spelled wrong would read as a device that does not tell."""
    assert issubclass(pynvml.NVMLError, Exception)
    for function in (*OF_FUNCTION, "nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetUUID"):
        assert callable(getattr(pynvml, function))
    assert (pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_MEM) == (nvml.CLOCK_SM, nvml.CLOCK_MEMORY)
    assert pynvml.NVML_TEMPERATURE_GPU == nvml.TEMPERATURE_GPU
    assert pynvml.NVML_PERF_POLICY_POWER == 0
    assert pynvml.nvmlClocksThrottleReasonSwPowerCap == 0x4


@pytest.mark.gpu
def test_a_real_gpu():
    opened = open_nvml()
    assert opened is not None
    first = opened.read()
    assert first
    for one in first.values():
        assert one.uuid.startswith(("GPU-", "MIG-"))
        assert one.driver
        assert one.memory_total_bytes > 2**28
        assert one.sm_clock_limit_mhz is None or one.sm_clock_mhz <= 1.2 * one.sm_clock_limit_mhz
        assert one.power_w is None or 1 < one.power_w < 2000
        assert one.power_cap_w is None or 10 < one.power_cap_w < 2000
        assert one.temperature_c is None or 0 < one.temperature_c < 120
    time.sleep(1)
    for uuid, one in opened.read().items():
        if one.energy_j is None or one.power_w is None:
            continue
        used_w = (one.energy_j - first[uuid].energy_j) / ((one.t_ns - first[uuid].t_ns) / 1e9)
        assert 0.2 * one.power_w < used_w < 5 * one.power_w
