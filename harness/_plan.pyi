"""The plan: slot offsets as a pure function of (dist, rate, seed, duration)."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ARRIVALS_SPAWN_KEY: Final[tuple[int, ...]]
CLOSED: Final[str]

class Plan:
    """Walks the slots of one plan in order; storing none of them.

    ``dist`` is ``constant`` (slot i at i / rate, rounded to whole ns without drift) or ``poisson``
    (gaps from NumPy's PCG64 and ziggurat exponential, each rounded to whole ns, summed as
    integers), or ``closed``: slots have no time of their own, their offset is 0 and ``rate`` says
    nothing. Slots lie in [0, duration); ``slots`` limits their number. Raises ValueError for
    values out of range.
    """

    def __init__(
        self, dist: str, rate: float, seed: int, duration_ns: int, slots: int | None = None
    ) -> None: ...
    @property
    def closed(self) -> bool: ...
    @property
    def duration_ns(self) -> int: ...
    def fill(self, offsets_ns: NDArray[np.int64] | Any) -> int:
        """Write the next offsets into the array; return how many there were."""

    def next_share(self, worker: int, workers: int) -> tuple[int, int] | None:
        """The next (index, offset in ns) with index % workers == worker, None at the end."""
