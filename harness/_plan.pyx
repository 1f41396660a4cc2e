"""The plan: slot offsets as a pure function of (dist, rate, seed, duration)."""

import numpy as np

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport rint
from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from numpy.random cimport bitgen_t
from numpy.random.c_distributions cimport random_standard_exponential

cdef extern from *:
    """
    typedef unsigned __int128 hn_u128;
    static inline int64_t hn_constant_offset(uint64_t index, uint64_t rate_micro) {
        /* half up, exact: index * 10^15 / (rate * 10^6) */
        return (int64_t)(((hn_u128)index * 1000000000000000ULL + rate_micro / 2) / rate_micro);
    }
    """
    int64_t constant_offset "hn_constant_offset"(uint64_t index, uint64_t rate_micro) noexcept nogil

ARRIVALS_SPAWN_KEY = (0,)
CLOSED = "closed"


cdef class Plan:
    def __init__(self, str dist, double rate, seed, int64_t duration_ns, slots=None):
        self.closed = dist == CLOSED
        if not self.closed and dist not in ("constant", "poisson"):
            raise ValueError(f"unknown dist {dist!r}")
        if not self.closed and not 1e-6 <= rate <= 1e9:
            raise ValueError(f"rate must be within 1e-6 and 1e9 requests/s, got {rate}")
        if duration_ns <= 0:
            raise ValueError(f"duration must be positive, got {duration_ns} ns")
        sequence = np.random.SeedSequence(seed, spawn_key=ARRIVALS_SPAWN_KEY)
        self.bit_generator = np.random.PCG64(sequence)
        self.bitgen = <bitgen_t *> PyCapsule_GetPointer(self.bit_generator.capsule, "BitGenerator")
        self.poisson = dist == "poisson"
        self.mean_gap_ns = 0.0 if self.closed else 1e9 / rate
        self.rate_micro = <uint64_t> rint(rate * 1e6)
        self.duration_ns = duration_ns
        self.limit = INT64_MAX if slots is None else slots
        self.index = -1
        self.offset_ns = 0

    cdef int64_t next_ns(self) noexcept nogil:
        if self.offset_ns < 0:
            return -1
        self.index += 1
        if self.closed:
            self.offset_ns = 0
        elif self.poisson:
            self.offset_ns += <int64_t> rint(
                random_standard_exponential(self.bitgen) * self.mean_gap_ns)
        else:
            self.offset_ns = constant_offset(<uint64_t> self.index, self.rate_micro)
        if self.offset_ns >= self.duration_ns or self.index >= self.limit:
            self.offset_ns = -1
        return self.offset_ns

    cdef int64_t next_share_ns(self, int worker, int workers) noexcept nogil:
        while True:
            if self.next_ns() < 0:
                return -1
            if self.index % workers == worker:
                return self.offset_ns

    def fill(self, int64_t[::1] offsets_ns not None):
        cdef Py_ssize_t n = 0
        cdef Py_ssize_t size = offsets_ns.shape[0]
        cdef int64_t offset_ns
        with nogil:
            while n < size:
                offset_ns = self.next_ns()
                if offset_ns < 0:
                    break
                offsets_ns[n] = offset_ns
                n += 1
        return n

    def next_share(self, int worker, int workers):
        cdef int64_t offset_ns = self.next_share_ns(worker, workers)
        return None if offset_ns < 0 else (self.index, offset_ns)
