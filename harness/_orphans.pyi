"""What a dead worker leaves: the records it did not push."""

import numpy as np
from numpy.typing import NDArray

from harness._shm import Segment

def orphans(
    segment: Segment, worker: int, t_dead_ns: int, slo_ns: int | None
) -> tuple[NDArray[np.void], int]:
    """What a dead worker left: records to be made, and the plan index it had not come to.

    Handed slots are ``lost``, waiting ones ``unsent``; what the ring holds already is left out.
    """
