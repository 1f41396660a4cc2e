# Log-linear bins: three significant digits, merged by addition.
from libc.stdint cimport int64_t

cdef extern from *:
    int clzll "__builtin_clzll"(unsigned long long) noexcept nogil

cdef enum:
    HALF_BITS = 10
    HALF = 1024  # bins per power of two
    VALUE_BITS = 44  # values up to 2^44 ns, 4.8 hours
    BINS = 35840  # HALF * (VALUE_BITS - HALF_BITS + 1)

cdef struct Bins:
    int64_t count
    int64_t sum_ns
    int64_t max_ns
    int64_t bins[BINS]


cdef inline int bins_record(Bins *self, int64_t value_ns) noexcept nogil:
    cdef int shift
    cdef int64_t index = value_ns if value_ns > 0 else 0
    self.count += 1
    self.sum_ns += index
    if index > self.max_ns:
        self.max_ns = index
    if index >= 2 * HALF:
        shift = 63 - clzll(<unsigned long long> index) - HALF_BITS
        index = HALF * shift + (index >> shift)
        if index >= BINS:
            index = BINS - 1
    self.bins[index] += 1
    return 0


cdef class Histogram:
    cdef Bins *data
    cdef object owner  # keeps `data` alive; None: it is this object's own

    @staticmethod
    cdef Histogram of(Bins *data, object owner)
