# A worker's connections to every server: opened, written, read, replaced.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

from harness._connection cimport Connection, Endpoint, Template
from harness._ledger cimport Ledger, LedgerState


cdef class Lanes:
    cdef Ledger ledger
    cdef LedgerState *books
    cdef object keep  # Python objects that C structures point into
    cdef Template template
    cdef Endpoint *endpoints
    cdef Connection *connections
    cdef uint16_t *places  # [server][lane]: index of its connection
    cdef uint8_t *buffer
    cdef size_t read_bytes
    cdef int connection_count
    cdef int per_server
    cdef int servers
    cdef int control_fd
    cdef int epoll_fd
    cdef bint broken  # some connection needs more than its events
    cdef int64_t origin_ns
    cdef int64_t retry_ns
    cdef uint32_t turn

    cdef set_endpoint(self, int s, bytes address, fields)
    cdef int begin(self, uint8_t prefix, int64_t origin_ns) noexcept nogil
    cdef Connection *free_one(self, int server, bint *hope) noexcept nogil
    cdef int flush(self, int64_t now_ns) noexcept nogil
    cdef int wait(self, int64_t timeout_ns) noexcept nogil
    cdef int mend(self, int64_t now_ns) noexcept nogil
    cdef bint in_place(self, int index) noexcept nogil
    cdef int reset(self, int32_t e) noexcept nogil
    cdef int clear(self, int64_t now_ns) noexcept nogil
