"""The embedded server's state: streams, connections, the engine that owns them."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from harness._server_answer cimport Segment
from harness._server_infer cimport Model, Request
from harness._server_journal cimport Journal
from harness._pool cimport Pool
from harness._server_service cimport DueHeap, Latency, Random
from harness.includes.linux cimport sockaddr_storage, socklen_t
from harness.includes.nghttp2 cimport (
    nghttp2_mem,
    nghttp2_nv,
    nghttp2_option,
    nghttp2_session,
    nghttp2_session_callbacks,
)

cdef enum:
    READ_BYTES = 1 << 18
    OUT_HIGH_BYTES = 1 << 18  # no more is taken from a session while this much waits
    MAX_FRAME_BYTES = 1 << 22
    STREAM_WINDOW_BYTES = 1 << 22
    CONNECTION_WINDOW_BYTES = 1 << 30
    MAX_STREAMS = 65536  # at once, per connection
    MAX_HEADER_BYTES = 16384
    MAX_PENDING = 1 << 20  # requests queued or in service
    STREAMS_PER_SLAB = 64
    EVENTS = 256
    ACCEPTS_PER_TURN = 64
    SETTINGS_NO_RFC7540_PRIORITIES = 9
    MAX_BODY_BYTES = 1 << 30  # of all requests together
    LINGER_NS = 1000000000

    METHOD_UNKNOWN = 0
    METHOD_INFER = 1
    METHOD_CONTROL = 2  # and up: index in Engine.control_methods
    CONTROL_METHODS = 7

    OK = 0
    INVALID_ARGUMENT = 3
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13

    ACTION_OK = 0
    ACTION_LATENCY = 1
    ACTION_ERROR = 2
    ACTION_HANG = 3
    ACTION_REFUSE = 4
    ACTION_GOAWAY = 5
    ACTION_GOAWAY_ABRUPT = 6
    ACTION_RESET = 7
    ACTION_HALFCLOSE = 8
    ACTION_GARBAGE = 9

cdef enum:
    BODY_INLINE_BYTES = 1024
    HEAD_INLINE_BYTES = 512
    SEGMENTS_INLINE = 8

ctypedef int (*ControlCall)(Engine *engine, Stream *stream) noexcept nogil

cdef struct Stream:
    Stream *next  # in the free list or in the queue for a service slot
    Stream *earlier  # in the connection's list
    Stream *later
    Connection *conn  # NULL once the stream is closed
    int32_t id
    int method
    bint grpc  # content-type application/grpc
    bint pending  # queued or in service: outlives its HTTP/2 stream
    bint answered
    bint too_large
    int32_t batch
    int status
    size_t header_bytes
    uint8_t *body
    size_t body_length
    size_t body_room
    uint8_t *head
    size_t head_room
    Segment *segments
    int segments_room
    int segment  # the one being sent, and how much of it has been
    size_t segment_sent
    size_t left  # bytes of the answer not sent yet
    int64_t arrival_ns
    int64_t start_ns
    int64_t service_ns
    char status_text[4]
    Segment segments_inline[SEGMENTS_INLINE]
    uint8_t head_inline[HEAD_INLINE_BYTES]
    uint8_t body_inline[BODY_INLINE_BYTES]

cdef struct Connection:
    Engine *engine
    Connection *earlier
    Connection *later
    Connection *next_dirty  # or next in the list of the closed
    int fd
    bint dirty
    bint polls_out
    bint mute  # our side is shut: what is still written is dropped
    bint closing  # after everything is written: shut our side, wait for theirs
    bint lingering
    bint draining  # graceful GOAWAY announced, the final one not sent
    int64_t deadline_ns  # of lingering or draining
    nghttp2_session *session
    Stream *streams
    Stream *current  # whose headers or data are arriving
    uint8_t *out
    size_t out_room
    size_t out_start
    size_t out_end

cdef struct Phase:
    int64_t at_ns
    int action
    double share
    int64_t latency_ns
    int status

cdef struct Counters:
    uint64_t inferences
    uint64_t executions
    uint64_t succeeded
    uint64_t succeeded_ns
    uint64_t failed
    uint64_t failed_ns
    uint64_t queue_ns
    uint64_t compute_ns
    int64_t last_ns

cdef struct Engine:
    int poller
    int wake_poller
    int listener
    int error  # errno that ended the loop
    const char *error_text
    bint spin
    bint stopping
    bint journaling
    bint accepting
    int connection_count
    int max_connections
    size_t max_request_bytes
    size_t body_bytes  # held beyond the streams' inline room
    size_t pending_count
    int64_t now_ns
    int64_t reap_ns  # earliest deadline of a connection
    int32_t capacity  # 0: without limit
    int32_t busy
    Stream *queue_first
    Stream *queue_last
    Stream *free_streams
    void *stream_slabs
    Connection *connections
    Connection *dirty
    Connection *closed
    int64_t script_start_ns
    int phase_count
    int phase_next
    Phase *phases
    Phase phase
    bint refusing
    sockaddr_storage address
    socklen_t address_length
    uint8_t *buffer
    void *owner
    nghttp2_session_callbacks *callbacks
    nghttp2_option *option
    nghttp2_mem mem
    nghttp2_nv response_fields[2]
    nghttp2_nv trailer_field
    nghttp2_nv unsupported_field
    ControlCall control  # answers the methods other than ModelInfer
    const char *control_methods[CONTROL_METHODS]
    Latency latency
    Random random
    Counters counters
    DueHeap heap
    Journal journal
    Pool pool
    Model model
    Request request
