"""Latency histograms: log-linear bins of three significant digits."""

import numpy as np
from numpy.typing import NDArray

class Histogram:
    """Counts of values in ns, exact below 2048 ns, within 0.1 % above, up to 4.8 hours.

    Merges by addition.
    """

    def __init__(self) -> None: ...
    @property
    def count(self) -> int: ...
    @property
    def max_ns(self) -> int | None:
        """The largest value, exact; None when empty."""

    @property
    def mean_ns(self) -> float | None:
        """The mean, exact; None when empty."""

    def record(self, value_ns: int) -> None:
        """Count one value; a negative one counts as 0."""

    def merge(self, other: Histogram) -> None: ...
    def clear(self) -> None: ...
    def percentile_ns(self, percent: float, population: int | None = None) -> int | None:
        """Nearest rank: the ceil(percent / 100 * population)-th smallest value.

        ``population`` may exceed ``count``: the missing values rank above every other, and a
        percentile among those is None. Raises ValueError outside [0, 100].
        """

    def bins(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Lower edges (ns) and counts of the bins in use."""
