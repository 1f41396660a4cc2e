"""Latency histograms: log-linear bins of three significant digits."""

from fractions import Fraction

import numpy as np

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset


cdef int64_t lower_ns(int64_t index) noexcept nogil:
    """The smallest value that falls into the bin."""
    cdef int64_t shift
    if index < 2 * HALF:
        return index
    shift = index // HALF - 1
    return (index - HALF * shift) << shift


cdef class Histogram:
    def __init__(self):
        self.data = <Bins *> calloc(1, sizeof(Bins))
        if self.data == NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.owner is None:
            free(self.data)

    @staticmethod
    cdef Histogram of(Bins *data, object owner):
        cdef Histogram self = Histogram.__new__(Histogram)
        self.data = data
        self.owner = owner
        return self

    @property
    def count(self):
        return self.data.count

    @property
    def max_ns(self):
        return self.data.max_ns if self.data.count else None

    @property
    def mean_ns(self):
        return <double> self.data.sum_ns / self.data.count if self.data.count else None

    def record(self, int64_t value_ns):
        bins_record(self.data, value_ns)

    def merge(self, Histogram other not None):
        cdef int i
        for i in range(BINS):
            self.data.bins[i] += other.data.bins[i]
        self.data.count += other.data.count
        self.data.sum_ns += other.data.sum_ns
        self.data.max_ns = max(self.data.max_ns, other.data.max_ns)

    def clear(self):
        memset(self.data, 0, sizeof(Bins))

    def percentile_ns(self, percent, population=None):
        cdef int64_t total = self.data.count if population is None else population
        cdef int64_t seen = 0
        cdef int64_t rank, i, low, width
        if not 0 <= percent <= 100:
            raise ValueError(f"a percentile lies within 0 and 100, got {percent}")
        if total <= 0:
            return None
        rank = max(1, int(-(-total * Fraction(str(percent)) // 100)))
        if rank > self.data.count:
            return None
        for i in range(BINS):
            seen += self.data.bins[i]
            if seen >= rank:
                break
        low = lower_ns(i)
        width = lower_ns(i + 1) - low
        return min(self.data.max_ns, low + width // 2)

    def bins(self):
        counts = np.asarray(<int64_t[:BINS]> self.data.bins)
        used = np.flatnonzero(counts)
        lower = np.array([lower_ns(i) for i in used], dtype=np.int64)
        return lower, counts[used].copy()
