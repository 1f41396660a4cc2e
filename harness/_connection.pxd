# One HTTP/2 connection to one server, and the gRPC requests in flight on it.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from harness._ledger cimport LedgerState
from harness.includes.linux cimport sockaddr_storage, socklen_t
from harness.includes.nghttp2 cimport nghttp2_mem, nghttp2_nv, nghttp2_session

cdef enum:  # Connection.state
    CONN_CLOSED = 0
    CONN_CONNECTING = 1
    CONN_SETTLING = 2  # waiting for SETTINGS both ways
    CONN_READY = 3
    CONN_LEAVING = 4  # no new streams: GOAWAY came, or its stream ids are used up

cdef enum:
    MESSAGE_BYTES = 200

cdef struct Template:
    # The request every slot sends, but for its id.
    const uint8_t *body  # gRPC prefix and serialized ModelInferRequest
    size_t body_bytes
    size_t id_offset
    uint32_t response_limit_bytes
    uint32_t outputs  # fewer in an OK answer make it invalid
    uint8_t prefix

cdef struct Endpoint:
    # Where a server is and what it has said.
    sockaddr_storage address
    socklen_t address_bytes
    nghttp2_nv *fields
    size_t field_count
    uint8_t server
    uint8_t first_status  # of the first error answer, + 1
    uint16_t message_bytes
    char message[MESSAGE_BYTES]  # its grpc-message, as sent
    uint32_t connects
    uint32_t losses

cdef struct Unsent:
    int64_t slot
    uint64_t end_bytes  # of the connection's output
    int32_t e

cdef struct Connection:
    nghttp2_session *session
    LedgerState *ledger
    Template *template
    Endpoint *endpoint
    nghttp2_mem *memory
    int epoll_fd
    int fd
    int state
    uint16_t index
    uint32_t open_streams
    uint32_t stream_limit
    uint32_t streams_used
    int64_t now_ns  # of the read being worked on
    int64_t origin_ns  # CLOCK_MONOTONIC of the run's start
    int64_t retry_ns
    int64_t backoff_ns
    uint64_t random
    uint64_t queued_bytes
    uint64_t written_bytes
    uint8_t *out
    size_t out_first
    size_t out_end
    Unsent *unsent
    uint32_t unsent_mask
    uint32_t unsent_first
    uint32_t unsent_end
    int32_t cached_stream
    int32_t cached_entry
    int32_t reset_stream  # the last one the server reset
    int32_t completed  # the entry whose last byte the frame being packed holds
    bint settings_seen
    bint settings_acked
    bint writable  # EPOLLOUT is not armed
    bint dirty
    bint graceful  # after a GOAWAY without error slots wait for the next connection

cdef int connection_init(Connection *self, LedgerState *ledger, Template *template,
                         Endpoint *endpoint, nghttp2_mem *memory, int epoll_fd,
                         uint16_t index) noexcept nogil
cdef int connection_free(Connection *self) noexcept nogil
cdef int connection_open(Connection *self, int64_t now_ns) noexcept nogil
cdef int connection_submit(Connection *self, int32_t e) noexcept nogil
cdef int connection_reset(Connection *self, int32_t e) noexcept nogil
cdef int connection_flush(Connection *self) noexcept nogil
cdef int connection_event(Connection *self, uint32_t events, uint8_t *buffer,
                          size_t buffer_bytes) noexcept nogil
cdef int connection_close(Connection *self, int64_t now_ns) noexcept nogil
cdef int connection_lose(Connection *self, int64_t now_ns) noexcept nogil


cdef inline bint connection_has_credit(const Connection *self) noexcept nogil:
    return self.state == CONN_READY and self.open_streams < self.stream_limit
