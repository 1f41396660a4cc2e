"""The GPUs that a Triton server names on its metrics page.

It tells neither their model nor their clocks, and refreshes its figures every 2 s by default
(``--metrics-interval-ms``).
"""

from harness.devices.device import DeviceReading, Readings
from harness.devices.metrics_page import samples
from harness.untrusted import clean_text

MEMORY = "nv_gpu_memory_total_bytes"
POWER, POWER_CAP = "nv_gpu_power_usage", "nv_gpu_power_limit"
ENERGY = "nv_energy_consumption"
UTILIZATION = "nv_gpu_utilization"
MOST = {MEMORY: 2.0**60, POWER: 1e5, POWER_CAP: 1e5, ENERGY: 1e15, UTILIZATION: 1.0}
"""What is read, and what no GPU goes over: bytes, W, W, J, a share."""

UUID = "gpu_uuid"
MAX_UUID_CHARS = 80
MAX_DEVICES = 64


def read_page(page: bytes, t_ns: int) -> Readings:
    """By UUID, as of ``t_ns``; empty for a server without a GPU.

    Raises ValueError for what is no metrics page, or more than MAX_DEVICES on it.
    """
    told: dict[str, dict[str, float]] = {}
    for sample in samples(page, MOST):
        uuid = clean_text(sample.labels.get(UUID, ""), MAX_UUID_CHARS)
        if uuid and 0 <= sample.value <= MOST[sample.name]:
            told.setdefault(uuid, {})[sample.name] = sample.value
    if len(told) > MAX_DEVICES:
        raise ValueError(f"{len(told)} devices; the most is {MAX_DEVICES}")
    return {uuid: _reading(uuid, figures, t_ns) for uuid, figures in told.items()}


def _reading(uuid: str, figures: dict[str, float], t_ns: int) -> DeviceReading:
    memory, cap_w = figures.get(MEMORY) or None, figures.get(POWER_CAP) or None
    return DeviceReading(
        uuid=uuid,
        source="metrics",
        t_ns=t_ns,
        name=_name(memory, cap_w),
        memory_total_bytes=None if memory is None else int(memory),
        power_cap_w=cap_w,
        power_w=figures.get(POWER) or None,
        energy_j=figures.get(ENERGY),
    )


def _name(memory_bytes: float | None, cap_w: float | None) -> str:
    """What tells two models apart where the page has no better name."""
    words = ["GPU"]
    if memory_bytes is not None:
        words.append(f"{memory_bytes / 2**30:.0f} GiB")
    if cap_w is not None:
        words.append(f"{cap_w:.0f} W")
    return " ".join(words)
