from libc.stdint cimport int64_t, uint64_t
from numpy.random cimport bitgen_t


cdef class Plan:
    cdef object bit_generator
    cdef bitgen_t *bitgen
    cdef bint poisson
    cdef double mean_gap_ns
    cdef uint64_t rate_micro  # requests per 10^6 s
    cdef readonly bint closed  # every slot is due as soon as there is room for it
    cdef readonly int64_t duration_ns
    cdef int64_t limit  # of slots
    cdef int64_t index
    cdef int64_t offset_ns  # -1: the plan is over

    cdef int64_t next_ns(self) noexcept nogil
    cdef int64_t next_share_ns(self, int worker, int workers) noexcept nogil
