"""What an examination found, before anybody judges it."""

from dataclasses import asdict, dataclass
from typing import Any

from harness.doctor.capacity import Capacity
from harness.host import HostFacts
from harness.machine.spin_gaps import SpinGaps
from harness.machine.wakeup import WakeupError


@dataclass(frozen=True)
class Facts:
    """One host. ``cpu``: the CPU that a single worker would get, where sleeps and gaps are of.

    ``steal_share`` is of the CPUs allowed, over the whole examination; ``path_url`` None: the path
    floor is that of an embedded server. None where something is not known.
    """

    host: HostFacts
    cpu: int
    clock_read_ns: float
    wakeup: WakeupError | None
    gaps: SpinGaps
    path_url: str | None
    path_floor_ns: int
    capacity: Capacity
    steal_share: float | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
