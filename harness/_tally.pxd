from libc.stdint cimport int64_t, uint64_t

from harness._histogram cimport Bins
from harness._shm cimport Record


cdef class Tally:
    cdef readonly int servers
    cdef readonly int64_t slots
    cdef readonly int64_t duration_ns
    cdef readonly int64_t bucket_count
    cdef readonly int64_t duplicates
    cdef readonly int64_t strays
    cdef readonly int64_t unrecorded
    cdef readonly int64_t slots_end
    cdef readonly object counts
    cdef readonly object reasons
    cdef readonly object statuses
    cdef readonly object buckets
    cdef readonly object evidence
    cdef readonly object inside
    cdef readonly object answers
    cdef readonly object epochs
    cdef readonly object worker_slots
    cdef readonly object rows
    cdef Record *row
    cdef int64_t row_limit  # rows that may be written
    cdef int64_t[:, :, ::1] count
    cdef int64_t[:, ::1] reason
    cdef int64_t[:, ::1] status
    cdef int64_t[:, :, ::1] bucket
    cdef int64_t[:, :, ::1] evident
    cdef int64_t[:, ::1] within
    cdef int64_t[:, ::1] answer
    cdef int64_t[:, ::1] epoch
    cdef int64_t[::1] worker_slot
    cdef Bins *bins
    cdef Bins *recent_bins

    cdef int add(self, const Record *record) noexcept nogil
