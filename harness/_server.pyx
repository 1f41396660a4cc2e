"""An inference server for tests and self-measurement: epoll, nghttp2, one thread."""

import os
import socket

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset, strlen
from posix.signal cimport kill

from harness._server_infer cimport (
    GRPC_PREFIX_BYTES,
    MAX_TENSORS,
    NAME_BYTES,
    Tensor,
    put_bytes,
    read_request,
    response_head_bytes,
    write_response,
)
from harness._server_journal cimport journal_append, journal_close, journal_open
from harness._server_pool cimport pool_calloc, pool_empty, pool_free, pool_malloc, pool_realloc
from harness._server_service cimport (
    Due,
    heap_pop,
    heap_push,
    latency_draw,
    random_bits,
    random_unit,
)
from harness.includes.linux cimport (
    AF_INET,
    AF_INET6,
    EAGAIN,
    EINTR,
    EMFILE,
    ENFILE,
    ENOBUFS,
    ENOMEM,
    EPOLL_CLOEXEC,
    EPOLL_CTL_ADD,
    EPOLL_CTL_MOD,
    EPOLLIN,
    EPOLLOUT,
    IPPROTO_TCP,
    MSG_NOSIGNAL,
    PR_SET_PDEATHSIG,
    PR_SET_TIMERSLACK,
    SHUT_WR,
    SIGKILL,
    SO_LINGER,
    SO_REUSEADDR,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_NODELAY,
    accept4,
    bind,
    clock_ns,
    close,
    epoll_create1,
    epoll_ctl,
    epoll_event,
    epoll_wait_ns,
    errno,
    getpid,
    getppid,
    getsockname,
    linger,
    listen,
    prctl1,
    recv,
    send,
    setsockopt,
    shutdown,
    sockaddr,
    sockaddr_storage,
    socket as open_socket,
    socklen_t,
)
from harness.includes.nghttp2 cimport *


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
    METHOD_CONTROL = 2  # and up: index in CONTROL_METHODS

    OK = 0
    INVALID_ARGUMENT = 3
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13

cpdef enum Action:
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

cdef const char *SERVICE = b"/inference.GRPCInferenceService/"
cdef const char *INFER_PATH = b"/inference.GRPCInferenceService/ModelInfer"
cdef size_t INFER_PATH_LENGTH = 42
cdef const char *CONTROL_METHODS[7]
CONTROL_METHODS[:] = [
    b"ServerLive", b"ServerReady", b"ModelReady", b"ServerMetadata", b"ModelMetadata",
    b"ModelConfig", b"ModelStatistics",
]


cdef nghttp2_nv constant_field(const char *name, const char *value) noexcept nogil:
    cdef nghttp2_nv field
    field.name = <uint8_t *>name
    field.value = <uint8_t *>value
    field.namelen = strlen(name)
    field.valuelen = strlen(value)
    field.flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE
    return field


cdef nghttp2_nv RESPONSE_FIELDS[2]
RESPONSE_FIELDS[0] = constant_field(b":status", b"200")
RESPONSE_FIELDS[1] = constant_field(b"content-type", b"application/grpc")
cdef nghttp2_nv TRAILER_FIELDS[1]
TRAILER_FIELDS[0] = constant_field(b"grpc-status", b"0")
cdef nghttp2_nv UNSUPPORTED_FIELDS[1]
UNSUPPORTED_FIELDS[0] = constant_field(b":status", b"415")


# Streams


cdef Stream *stream_take(Engine *engine) noexcept nogil:
    cdef Stream *stream = engine.free_streams
    cdef uint8_t *slab
    cdef int i
    if stream == NULL:
        slab = <uint8_t *>malloc(64 + STREAMS_PER_SLAB * sizeof(Stream))
        if slab == NULL:
            return NULL
        (<void **>slab)[0] = engine.stream_slabs
        engine.stream_slabs = slab
        for i in range(STREAMS_PER_SLAB):
            stream = <Stream *>(slab + 64) + i
            stream.next = engine.free_streams
            engine.free_streams = stream
    engine.free_streams = stream.next
    stream.next = NULL
    stream.method = METHOD_UNKNOWN
    stream.grpc = stream.pending = stream.answered = stream.too_large = False
    stream.header_bytes = 0
    stream.batch = 1
    stream.status = OK
    stream.body = stream.body_inline
    stream.body_length = 0
    stream.body_room = BODY_INLINE_BYTES
    stream.head = stream.head_inline
    stream.head_room = HEAD_INLINE_BYTES
    stream.segments = stream.segments_inline
    stream.segments_room = SEGMENTS_INLINE
    stream.segment = 0
    stream.segment_sent = stream.left = 0
    return stream


cdef int stream_drop_buffers(Engine *engine, Stream *stream) noexcept nogil:
    if stream.body != stream.body_inline:
        engine.body_bytes -= stream.body_room
        free(stream.body)
        stream.body = stream.body_inline
        stream.body_room = BODY_INLINE_BYTES
        stream.body_length = 0
    if stream.head != stream.head_inline:
        free(stream.head)
        stream.head = stream.head_inline
        stream.head_room = HEAD_INLINE_BYTES
    if stream.segments != stream.segments_inline:
        free(stream.segments)
        stream.segments = stream.segments_inline
        stream.segments_room = SEGMENTS_INLINE
    return 0


cdef int stream_release(Engine *engine, Stream *stream) noexcept nogil:
    stream_drop_buffers(engine, stream)
    stream.next = engine.free_streams
    engine.free_streams = stream
    return 0


cdef int stream_detach(Engine *engine, Stream *stream) noexcept nogil:
    """The HTTP/2 stream is gone: a pending request is served on, for nobody."""
    if stream.pending:
        stream.conn = NULL
        stream_drop_buffers(engine, stream)
        return 0
    return stream_release(engine, stream)


cdef int stream_reserve_head(Stream *stream, size_t size) noexcept nogil:
    if size <= stream.head_room:
        return 0
    stream.head = <uint8_t *>malloc(size)
    if stream.head == NULL:
        stream.head = stream.head_inline
        return -1
    stream.head_room = size
    return 0


cdef int stream_append_body(Engine *engine, Stream *stream, const uint8_t *data,
                            size_t length) noexcept nogil:
    """Keeps a chunk of the request, or marks the stream too large."""
    cdef size_t needed = stream.body_length + length
    cdef size_t room, announced
    cdef uint8_t *body
    if stream.too_large or stream.answered:
        return 0
    if needed > stream.body_room:
        room = stream.body_room * 2
        # The announced length saves copies, but only bytes that came buy more memory.
        if stream.body_length >= GRPC_PREFIX_BYTES:
            announced = ((<size_t>stream.body[1] << 24) | (<size_t>stream.body[2] << 16)
                         | (<size_t>stream.body[3] << 8) | stream.body[4]) + GRPC_PREFIX_BYTES
            if announced > room:
                room = announced if announced < 64 * needed else 64 * needed
        if room < needed:
            room = needed
        if needed > engine.max_request_bytes + GRPC_PREFIX_BYTES:
            stream.too_large = True
        elif engine.body_bytes + room > MAX_BODY_BYTES:
            stream.too_large = True
        else:
            if stream.body == stream.body_inline:
                body = <uint8_t *>malloc(room)
                if body != NULL:
                    memcpy(body, stream.body, stream.body_length)
                    engine.body_bytes += room
            else:
                body = <uint8_t *>realloc(stream.body, room)
                if body != NULL:
                    engine.body_bytes += room - stream.body_room
            if body == NULL:
                stream.too_large = True
            else:
                stream.body = body
                stream.body_room = room
        if stream.too_large:
            stream_drop_buffers(engine, stream)
            return 0
    memcpy(stream.body + stream.body_length, data, length)
    stream.body_length = needed
    return 0


# Answers


cdef int mark_dirty(Connection *conn) noexcept nogil:
    if not conn.dirty:
        conn.dirty = True
        conn.next_dirty = conn.engine.dirty
        conn.engine.dirty = conn
    return 0


cdef int respond_status(Stream *stream, int status, const char *message) noexcept nogil:
    """A gRPC status without a message body: trailers only."""
    cdef nghttp2_nv fields[4]
    cdef const char *digits = b"0123456789ABCDEF"
    cdef size_t length = strlen(message), at = 0, i
    cdef uint8_t byte
    stream.answered = True
    fields[0] = RESPONSE_FIELDS[0]
    fields[1] = RESPONSE_FIELDS[1]
    fields[2] = TRAILER_FIELDS[0]
    snprintf(stream.status_text, sizeof(stream.status_text), b"%d", status)
    fields[2].value = <uint8_t *>stream.status_text
    fields[2].valuelen = strlen(stream.status_text)
    if stream_reserve_head(stream, 3 * length + 1) < 0:
        length = 0
    for i in range(length):
        byte = message[i]
        if 0x20 <= byte <= 0x7e and byte != c'%':
            stream.head[at] = byte
            at += 1
        else:
            stream.head[at] = c'%'
            stream.head[at + 1] = digits[byte >> 4]
            stream.head[at + 2] = digits[byte & 15]
            at += 3
    fields[3] = constant_field(b"grpc-message", b"")
    fields[3].value = stream.head
    fields[3].valuelen = at
    return nghttp2_submit_response(stream.conn.session, stream.id, fields, 4 if at else 3, NULL)


cdef ssize_t read_answer(nghttp2_session *session, int32_t stream_id, uint8_t *buf,
                         size_t length, uint32_t *data_flags, nghttp2_data_source *source,
                         void *user_data) noexcept nogil:
    cdef Stream *stream = <Stream *>source.ptr
    data_flags[0] |= NGHTTP2_DATA_FLAG_NO_COPY
    if stream.left > length:
        return length
    data_flags[0] |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM
    if nghttp2_submit_trailer(session, stream_id, TRAILER_FIELDS, 1) < 0:
        return NGHTTP2_ERR_CALLBACK_FAILURE
    return stream.left


cdef int respond_message(Stream *stream) noexcept nogil:
    """The answer in the stream's segments, `left` bytes in all."""
    cdef nghttp2_data_provider provider
    stream.answered = True
    provider.source.ptr = stream
    provider.read_callback = read_answer
    return nghttp2_submit_response(stream.conn.session, stream.id, RESPONSE_FIELDS, 2, &provider)


cdef int respond_control(Engine *engine, Stream *stream) noexcept with gil:
    """Lets the Python handler answer; what it raises becomes INTERNAL."""
    cdef bytes payload
    cdef const char *data
    cdef size_t length
    try:
        server = <Server>engine.owner
        name = (<bytes>CONTROL_METHODS[stream.method - METHOD_CONTROL]).decode()
        message = (<char *>stream.body)[GRPC_PREFIX_BYTES:stream.body_length]
        status, payload = server.handler(name, message)
        if status != OK:
            return respond_status(stream, status, payload)
        length = len(payload)
        if stream_reserve_head(stream, length + GRPC_PREFIX_BYTES) < 0:
            return respond_status(stream, RESOURCE_EXHAUSTED, b"out of memory")
        data = payload
        memcpy(stream.head + GRPC_PREFIX_BYTES, data, length)
        stream.head[0] = 0
        stream.head[1] = <uint8_t>(length >> 24)
        stream.head[2] = <uint8_t>(length >> 16)
        stream.head[3] = <uint8_t>(length >> 8)
        stream.head[4] = <uint8_t>length
        stream.left = length + GRPC_PREFIX_BYTES
        stream.segments[0].at = stream.head
        stream.segments[0].length = stream.left
        return respond_message(stream)
    except BaseException as error:
        text = f"{type(error).__name__}: {error}"[:200].encode()
        return respond_status(stream, INTERNAL, text)


# Service


cdef int finish(Engine *engine, Stream *stream, int64_t due_ns) noexcept nogil:
    """Service is over at `due_ns`: counts the request and answers whoever still listens."""
    cdef Counters *counters = &engine.counters
    cdef int rc = 0
    counters.inferences += stream.batch
    counters.executions += 1
    counters.succeeded += 1
    counters.succeeded_ns += due_ns - stream.arrival_ns
    counters.queue_ns += stream.start_ns - stream.arrival_ns
    counters.compute_ns += due_ns - stream.start_ns
    counters.last_ns = due_ns
    engine.pending_count -= 1
    stream.pending = False
    if stream.conn == NULL:
        stream_release(engine, stream)
    else:
        mark_dirty(stream.conn)
        rc = respond_message(stream)
    return rc


cdef int start_service(Engine *engine, Stream *stream, int64_t at_ns) noexcept nogil:
    stream.start_ns = at_ns
    if heap_push(&engine.heap, at_ns + stream.service_ns, stream) < 0:
        engine.error = ENOMEM
        engine.error_text = b"no memory for a pending request"
        return -1
    return 0


cdef int complete_due(Engine *engine) noexcept nogil:
    """Ends every service due by now; a freed slot takes the queue's first at that same time."""
    cdef Due due
    cdef Stream *following
    while engine.heap.count and engine.heap.entries[0].due_ns <= engine.now_ns:
        due = heap_pop(&engine.heap)
        finish(engine, <Stream *>due.item, due.due_ns)
        following = engine.queue_first
        if following == NULL:
            engine.busy -= 1
            continue
        engine.queue_first = following.next
        following.next = NULL
        start_service(engine, following, due.due_ns)
    return 0


cdef int fail_request(Engine *engine, Stream *stream, int status,
                      const char *message) noexcept nogil:
    engine.counters.failed += 1
    engine.counters.failed_ns += clock_ns() - stream.arrival_ns
    return respond_status(stream, status, message)


cdef int start_script(Engine *engine) noexcept nogil:
    """The clock starts with the first request; states due at once hold for it already."""
    cdef int i
    engine.script_start_ns = engine.now_ns
    for i in range(engine.phase_count):
        if engine.phases[i].at_ns == 0 and engine.phases[i].action <= ACTION_HANG:
            engine.phase = engine.phases[i]
    return 0


cdef int infer(Engine *engine, Stream *stream) noexcept nogil:
    cdef Request *request = &engine.request
    cdef int refused, count
    cdef Phase *phase = &engine.phase
    stream.arrival_ns = engine.now_ns
    if engine.script_start_ns == 0:
        start_script(engine)
    refused = read_request(&engine.model, stream.body + GRPC_PREFIX_BYTES,
                           stream.body_length - GRPC_PREFIX_BYTES, request)
    if engine.journaling and journal_append(&engine.journal, request.id.at, request.id.length,
                                            engine.now_ns) < 0:
        engine.error = engine.journal.error
        engine.error_text = b"the journal cannot be written"
    if refused:
        return fail_request(engine, stream, request.status, request.message)
    if phase.action == ACTION_ERROR and random_unit(&engine.random) < phase.share:
        return fail_request(engine, stream, phase.status, b"error asked for by the script")
    if engine.pending_count >= MAX_PENDING:
        return fail_request(engine, stream, RESOURCE_EXHAUSTED, b"too many requests pending")
    if stream_reserve_head(stream, response_head_bytes(&engine.model, request)) < 0:
        return fail_request(engine, stream, RESOURCE_EXHAUSTED, b"out of memory")
    if 2 * engine.model.output_count > stream.segments_room:
        stream.segments = <Segment *>malloc(2 * MAX_TENSORS * sizeof(Segment))
        if stream.segments == NULL:
            stream.segments = stream.segments_inline
            return fail_request(engine, stream, RESOURCE_EXHAUSTED, b"out of memory")
        stream.segments_room = 2 * MAX_TENSORS
    count = write_response(&engine.model, request, stream.head, stream.segments, &stream.left)
    if count < 0:
        return fail_request(engine, stream, request.status, request.message)
    stream.batch = <int32_t>request.batch if request.batch else 1
    stream.service_ns = latency_draw(&engine.latency, &engine.random)
    if phase.action == ACTION_LATENCY and random_unit(&engine.random) < phase.share:
        stream.service_ns = phase.latency_ns
    stream.pending = True
    engine.pending_count += 1
    if engine.capacity and engine.busy >= engine.capacity:
        if engine.queue_first == NULL:
            engine.queue_first = stream
        else:
            engine.queue_last.next = stream
        engine.queue_last = stream
        return 0
    if stream.service_ns == 0 and phase.action != ACTION_HANG:
        stream.start_ns = stream.arrival_ns
        return finish(engine, stream, stream.arrival_ns)
    engine.busy += 1
    return start_service(engine, stream, stream.arrival_ns)


cdef int request_complete(Engine *engine, Stream *stream) noexcept nogil:
    cdef size_t announced
    if stream.answered:
        return 0
    if stream.header_bytes > MAX_HEADER_BYTES:
        return respond_status(stream, RESOURCE_EXHAUSTED, b"headers are too large")
    if stream.too_large:
        return respond_status(stream, RESOURCE_EXHAUSTED, b"the request is too large")
    if stream.body_length < GRPC_PREFIX_BYTES:
        return respond_status(stream, INVALID_ARGUMENT, b"the request has no gRPC message")
    if stream.body[0]:
        return respond_status(stream, UNIMPLEMENTED, b"compressed messages are not supported")
    announced = ((<size_t>stream.body[1] << 24) | (<size_t>stream.body[2] << 16)
                 | (<size_t>stream.body[3] << 8) | stream.body[4])
    if announced != stream.body_length - GRPC_PREFIX_BYTES:
        return respond_status(stream, INVALID_ARGUMENT,
                              b"the request is not one whole gRPC message")
    if stream.method == METHOD_INFER:
        return infer(engine, stream)
    return respond_control(engine, stream)


# nghttp2's callbacks


cdef int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame,
                          void *user_data) noexcept nogil:
    cdef Connection *conn = <Connection *>user_data
    cdef Stream *stream
    if frame.hd.type != NGHTTP2_HEADERS:
        return 0
    if frame.headers.cat != NGHTTP2_HCAT_REQUEST:
        conn.current = <Stream *>nghttp2_session_get_stream_user_data(
            session, frame.hd.stream_id)
        return 0
    stream = stream_take(conn.engine)
    if stream == NULL:
        return NGHTTP2_ERR_CALLBACK_FAILURE
    stream.conn = conn
    stream.id = frame.hd.stream_id
    stream.earlier = NULL
    stream.later = conn.streams
    if conn.streams != NULL:
        conn.streams.earlier = stream
    conn.streams = stream
    conn.current = stream
    nghttp2_session_set_stream_user_data(session, stream.id, stream)
    return 0


cdef int find_method(const uint8_t *path, size_t length) noexcept nogil:
    cdef size_t service_length = strlen(SERVICE)
    cdef int i
    if length == INFER_PATH_LENGTH and memcmp(path, INFER_PATH, INFER_PATH_LENGTH) == 0:
        return METHOD_INFER
    if length <= service_length or memcmp(path, SERVICE, service_length) != 0:
        return METHOD_UNKNOWN
    path += service_length
    length -= service_length
    for i in range(7):
        if (length == strlen(CONTROL_METHODS[i])
                and memcmp(path, CONTROL_METHODS[i], length) == 0):
            return METHOD_CONTROL + i
    return METHOD_UNKNOWN


cdef int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                   size_t namelen, const uint8_t *value, size_t valuelen, uint8_t flags,
                   void *user_data) noexcept nogil:
    cdef Stream *stream = (<Connection *>user_data).current
    if stream == NULL:
        return 0
    stream.header_bytes += namelen + valuelen + 32
    if namelen == 5 and memcmp(name, b":path", 5) == 0:
        stream.method = find_method(value, valuelen)
    elif namelen == 12 and memcmp(name, b"content-type", 12) == 0:
        stream.grpc = valuelen >= 16 and memcmp(value, b"application/grpc", 16) == 0
    return 0


cdef int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                       const uint8_t *data, size_t length, void *user_data) noexcept nogil:
    cdef Connection *conn = <Connection *>user_data
    cdef Stream *stream = conn.current
    if stream == NULL or stream.id != stream_id:
        stream = <Stream *>nghttp2_session_get_stream_user_data(session, stream_id)
        conn.current = stream
        if stream == NULL:
            return 0
    return stream_append_body(conn.engine, stream, data, length)


cdef int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame,
                       void *user_data) noexcept nogil:
    cdef Connection *conn = <Connection *>user_data
    cdef Stream *stream
    cdef int rc = 0
    if frame.hd.type == NGHTTP2_PING:
        if conn.draining and frame.hd.flags & NGHTTP2_FLAG_ACK:
            drain_finally(conn)
        return 0
    if frame.hd.type != NGHTTP2_HEADERS and frame.hd.type != NGHTTP2_DATA:
        return 0
    stream = conn.current
    if stream == NULL or stream.id != frame.hd.stream_id:
        stream = <Stream *>nghttp2_session_get_stream_user_data(session, frame.hd.stream_id)
        if stream == NULL:
            return 0
    if frame.hd.type == NGHTTP2_HEADERS and not stream.answered:
        if not stream.grpc:
            stream.answered = True
            rc = nghttp2_submit_response(session, stream.id, UNSUPPORTED_FIELDS, 1, NULL)
        elif stream.method == METHOD_UNKNOWN:
            # At once, since the caller of a streaming method waits before it half-closes.
            rc = respond_status(stream, UNIMPLEMENTED, b"unknown method")
    if rc == 0 and frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
        rc = request_complete(conn.engine, stream)
    return NGHTTP2_ERR_CALLBACK_FAILURE if rc < 0 and nghttp2_is_fatal(rc) else 0


cdef int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame,
                       void *user_data) noexcept nogil:
    if frame.hd.type == NGHTTP2_HEADERS and frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
        # Answered before the request's end: tell the client to stop sending.
        if nghttp2_session_get_stream_remote_close(session, frame.hd.stream_id) == 0:
            nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame.hd.stream_id,
                                      NGHTTP2_NO_ERROR)
    return 0


cdef int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code,
                         void *user_data) noexcept nogil:
    cdef Connection *conn = <Connection *>user_data
    cdef Stream *stream = <Stream *>nghttp2_session_get_stream_user_data(session, stream_id)
    if stream == NULL:
        return 0
    if stream.earlier != NULL:
        stream.earlier.later = stream.later
    else:
        conn.streams = stream.later
    if stream.later != NULL:
        stream.later.earlier = stream.earlier
    if conn.current == stream:
        conn.current = NULL
    return stream_detach(conn.engine, stream)


cdef ssize_t data_frame_bytes(nghttp2_session *session, uint8_t frame_type, int32_t stream_id,
                              int32_t session_window, int32_t stream_window,
                              uint32_t max_frame_bytes, void *user_data) noexcept nogil:
    return max_frame_bytes if max_frame_bytes < OUT_HIGH_BYTES else OUT_HIGH_BYTES


cdef int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *framehd,
                   size_t length, nghttp2_data_source *source, void *user_data) noexcept nogil:
    """Puts a DATA frame together in the connection's buffer, straight from the segments."""
    cdef Connection *conn = <Connection *>user_data
    cdef Stream *stream = <Stream *>source.ptr
    cdef Segment *segment
    cdef size_t part
    cdef uint8_t *at
    if out_reserve(conn, 9 + length) < 0:
        return NGHTTP2_ERR_CALLBACK_FAILURE
    at = conn.out + conn.out_end
    memcpy(at, framehd, 9)
    at += 9
    conn.out_end += 9 + length
    stream.left -= length
    while length:
        segment = &stream.segments[stream.segment]
        part = segment.length - stream.segment_sent
        if part > length:
            part = length
        if segment.at == NULL:
            memset(at, 0, part)
        else:
            memcpy(at, segment.at + stream.segment_sent, part)
        at += part
        length -= part
        stream.segment_sent += part
        if stream.segment_sent == segment.length:
            stream.segment += 1
            stream.segment_sent = 0
    return 0


# Connections


cdef int out_reserve(Connection *conn, size_t length) noexcept nogil:
    cdef size_t room
    cdef uint8_t *out
    if conn.out_end + length <= conn.out_room:
        return 0
    room = conn.out_room * 2
    if room < conn.out_end + length:
        room = conn.out_end + length
    out = <uint8_t *>realloc(conn.out, room)
    if out == NULL:
        return -1
    conn.out = out
    conn.out_room = room
    return 0


cdef int connection_open(Engine *engine, int fd) noexcept nogil:
    cdef Connection *conn = <Connection *>calloc(1, sizeof(Connection))
    cdef nghttp2_settings_entry settings[5]
    cdef epoll_event event
    cdef int one = 1
    if conn == NULL:
        close(fd)
        return -1
    conn.fd = fd
    conn.engine = engine
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
    settings[0].settings_id = NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
    settings[0].value = MAX_STREAMS
    settings[1].settings_id = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
    settings[1].value = STREAM_WINDOW_BYTES
    settings[2].settings_id = NGHTTP2_SETTINGS_MAX_FRAME_SIZE
    settings[2].value = MAX_FRAME_BYTES
    settings[3].settings_id = NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
    settings[3].value = MAX_HEADER_BYTES
    settings[4].settings_id = SETTINGS_NO_RFC7540_PRIORITIES
    settings[4].value = 1
    event.events = EPOLLIN
    event.data.ptr = conn
    if (nghttp2_session_server_new3(&conn.session, engine.callbacks, conn, engine.option,
                                    &engine.mem) != 0
            or nghttp2_submit_settings(conn.session, NGHTTP2_FLAG_NONE, settings, 5) != 0
            or nghttp2_session_set_local_window_size(
                conn.session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW_BYTES) != 0
            or epoll_ctl(engine.poller, EPOLL_CTL_ADD, fd, &event) != 0):
        nghttp2_session_del(conn.session)
        free(conn)
        close(fd)
        return -1
    conn.later = engine.connections
    if engine.connections != NULL:
        engine.connections.earlier = conn
    engine.connections = conn
    engine.connection_count += 1
    return mark_dirty(conn)


cdef int connection_close(Connection *conn) noexcept nogil:
    """Closes now; the memory is freed when no list of this turn holds it any more."""
    cdef Engine *engine = conn.engine
    cdef Stream *stream = conn.streams
    cdef Stream *later
    if conn.fd < 0:
        return 0
    close(conn.fd)
    conn.fd = -1
    nghttp2_session_del(conn.session)
    conn.session = NULL
    while stream != NULL:
        later = stream.later
        stream_detach(engine, stream)
        stream = later
    conn.streams = NULL
    if conn.earlier != NULL:
        conn.earlier.later = conn.later
    else:
        engine.connections = conn.later
    if conn.later != NULL:
        conn.later.earlier = conn.earlier
    engine.connection_count -= 1
    conn.later = engine.closed
    engine.closed = conn
    return 0


cdef int connection_reset(Connection *conn) noexcept nogil:
    cdef linger abort
    abort.l_onoff = 1
    abort.l_linger = 0
    setsockopt(conn.fd, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort))
    return connection_close(conn)


cdef int set_deadline(Connection *conn) noexcept nogil:
    conn.deadline_ns = conn.engine.now_ns + LINGER_NS
    if conn.engine.reap_ns == 0 or conn.deadline_ns < conn.engine.reap_ns:
        conn.engine.reap_ns = conn.deadline_ns
    return 0


cdef int drain_finally(Connection *conn) noexcept nogil:
    """The second GOAWAY: streams above the last one seen will not be served."""
    conn.draining = False
    conn.deadline_ns = 0
    nghttp2_submit_goaway(conn.session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(conn.session),
                          NGHTTP2_NO_ERROR, NULL, 0)
    return mark_dirty(conn)


cdef int connection_fill(Connection *conn) noexcept nogil:
    """Moves frames from the session to the buffer, up to OUT_HIGH_BYTES waiting."""
    cdef const uint8_t *data
    cdef ssize_t n
    while conn.out_end < OUT_HIGH_BYTES:
        n = nghttp2_session_mem_send(conn.session, &data)
        if n < 0:
            return -1
        if n == 0:
            break
        if out_reserve(conn, n) < 0:
            return -1
        memcpy(conn.out + conn.out_end, data, n)
        conn.out_end += n
    return 0


cdef int poll_out(Connection *conn, bint wanted) noexcept nogil:
    cdef epoll_event event
    if conn.polls_out == wanted:
        return 0
    conn.polls_out = wanted
    event.events = EPOLLIN | EPOLLOUT if wanted else EPOLLIN
    event.data.ptr = conn
    return epoll_ctl(conn.engine.poller, EPOLL_CTL_MOD, conn.fd, &event)


cdef int connection_flush(Connection *conn) noexcept nogil:
    """Writes what there is; -1 when the connection has to be closed."""
    cdef ssize_t n
    while True:
        if not conn.lingering and connection_fill(conn) < 0:
            return -1
        if conn.mute:
            conn.out_start = conn.out_end = 0
            return 0
        if conn.out_start == conn.out_end:
            break
        n = send(conn.fd, conn.out + conn.out_start, conn.out_end - conn.out_start, MSG_NOSIGNAL)
        if n < 0:
            if errno == EINTR:
                continue
            if errno == EAGAIN:
                return poll_out(conn, True)
            return -1
        conn.out_start += n
        if conn.out_start == conn.out_end:
            conn.out_start = conn.out_end = 0
    if poll_out(conn, False) < 0:
        return -1
    if conn.lingering:
        return 0
    if conn.closing or not (nghttp2_session_want_read(conn.session)
                            or nghttp2_session_want_write(conn.session)):
        # Waiting for the peer's end keeps what was written from being cut off by a reset.
        conn.lingering = True
        shutdown(conn.fd, SHUT_WR)
        set_deadline(conn)
    return 0


cdef int connection_read(Connection *conn) noexcept nogil:
    """One read; -1 when the connection has to be closed."""
    cdef Engine *engine = conn.engine
    cdef ssize_t n = recv(conn.fd, engine.buffer, READ_BYTES, 0)
    if n < 0:
        return 0 if errno == EAGAIN or errno == EINTR else -1
    if n == 0:
        return -1
    if conn.lingering or conn.closing:
        return 0
    engine.now_ns = clock_ns()
    if nghttp2_session_mem_recv(conn.session, engine.buffer, n) < 0:
        return -1
    return mark_dirty(conn)


# The script's faults


cdef int listener_open(Engine *engine) noexcept nogil:
    cdef epoll_event event
    cdef int one = 1
    cdef int fd = open_socket(engine.address.ss_family,
                              SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    event.events = EPOLLIN
    event.data.ptr = NULL
    if fd >= 0:
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one))
    if (fd < 0 or bind(fd, <sockaddr *>&engine.address, engine.address_length) < 0
            or listen(fd, 4096) < 0
            or epoll_ctl(engine.poller, EPOLL_CTL_ADD, fd, &event) < 0):
        engine.error = errno
        engine.error_text = b"the port cannot be listened on"
        if fd >= 0:
            close(fd)
        return -1
    engine.listener = fd
    engine.accepting = True
    return 0


cdef int connection_fault(Connection *conn, int action) noexcept nogil:
    cdef uint64_t noise
    cdef int i
    if action == ACTION_REFUSE:
        return connection_close(conn)
    if action == ACTION_RESET:
        return connection_reset(conn)
    if conn.lingering or conn.closing:
        return 0
    mark_dirty(conn)
    if action == ACTION_GOAWAY:
        conn.draining = True
        set_deadline(conn)
        if nghttp2_submit_shutdown_notice(conn.session) == 0:
            nghttp2_submit_ping(conn.session, NGHTTP2_FLAG_NONE, NULL)
    elif action == ACTION_GOAWAY_ABRUPT:
        nghttp2_session_terminate_session2(conn.session, 0, NGHTTP2_INTERNAL_ERROR)
        conn.closing = True
    elif action == ACTION_HALFCLOSE:
        connection_flush(conn)
        shutdown(conn.fd, SHUT_WR)
        conn.mute = True
    elif action == ACTION_GARBAGE:
        if connection_fill(conn) < 0 or out_reserve(conn, 512) < 0:
            return connection_close(conn)
        for i in range(64):
            noise = random_bits(&conn.engine.random)
            memcpy(conn.out + conn.out_end, &noise, 8)
            conn.out_end += 8
        conn.lingering = True
        connection_flush(conn)
        shutdown(conn.fd, SHUT_WR)
        set_deadline(conn)
    return 0


cdef int enter_phase(Engine *engine, const Phase *phase) noexcept nogil:
    cdef Connection *conn
    cdef Connection *later
    engine.phase = phase[0]
    if engine.refusing and phase.action != ACTION_REFUSE:
        engine.refusing = False
        if listener_open(engine) < 0:
            return -1
    if phase.action == ACTION_REFUSE and not engine.refusing:
        engine.refusing = True
        close(engine.listener)
        engine.listener = -1
    if phase.action >= ACTION_REFUSE:
        conn = engine.connections
        while conn != NULL:
            later = conn.later
            connection_fault(conn, phase.action)
            conn = later
    return 0


cdef int script_advance(Engine *engine) noexcept nogil:
    while (engine.script_start_ns and engine.phase_next < engine.phase_count
           and engine.now_ns >= (engine.script_start_ns
                                 + engine.phases[engine.phase_next].at_ns)):
        engine.phase_next += 1
        if enter_phase(engine, &engine.phases[engine.phase_next - 1]) < 0:
            return -1
    return 0


# The loop


cdef int accept_connections(Engine *engine) noexcept nogil:
    cdef int fd, i
    for i in range(ACCEPTS_PER_TURN):
        fd = accept4(engine.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd < 0:
            if errno in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
                # Off the poller, or the waiting connection would keep the loop turning.
                listener_pause(engine)
            return 0
        if engine.connection_count >= engine.max_connections:
            close(fd)
            continue
        connection_open(engine, fd)
    return 0


cdef int listener_pause(Engine *engine) noexcept nogil:
    cdef epoll_event event
    event.events = 0
    event.data.ptr = NULL
    engine.accepting = False
    epoll_ctl(engine.poller, EPOLL_CTL_MOD, engine.listener, &event)
    if engine.reap_ns == 0 or engine.now_ns + LINGER_NS < engine.reap_ns:
        engine.reap_ns = engine.now_ns + LINGER_NS
    return 0


cdef int reap(Engine *engine) noexcept nogil:
    """Deadlines of connections that are being ended, and the listener's next try."""
    cdef Connection *conn = engine.connections
    cdef Connection *later
    cdef epoll_event event
    if engine.reap_ns == 0 or engine.now_ns < engine.reap_ns:
        return 0
    engine.reap_ns = 0
    if not engine.accepting and engine.listener >= 0:
        engine.accepting = True
        event.events = EPOLLIN
        event.data.ptr = NULL
        epoll_ctl(engine.poller, EPOLL_CTL_MOD, engine.listener, &event)
    while conn != NULL:
        later = conn.later
        if conn.deadline_ns and conn.deadline_ns <= engine.now_ns:
            if conn.draining:
                drain_finally(conn)
            else:
                connection_close(conn)
        elif conn.deadline_ns and (engine.reap_ns == 0 or conn.deadline_ns < engine.reap_ns):
            engine.reap_ns = conn.deadline_ns
        conn = later
    return 0


cdef int flush_all(Engine *engine) noexcept nogil:
    cdef Connection *conn
    while engine.dirty != NULL:
        conn = engine.dirty
        engine.dirty = conn.next_dirty
        conn.dirty = False
        if conn.fd >= 0 and connection_flush(conn) < 0:
            connection_close(conn)
    while engine.closed != NULL:
        conn = engine.closed
        engine.closed = conn.later
        free(conn.out)
        free(conn)
    return 0


cdef int64_t wait_limit_ns(Engine *engine) noexcept nogil:
    """How long nothing is due; -1: without end."""
    cdef int64_t due_ns = 0, next_ns
    if engine.reap_ns:
        due_ns = engine.reap_ns
    if engine.heap.count and engine.phase.action != ACTION_HANG:
        next_ns = engine.heap.entries[0].due_ns
        if due_ns == 0 or next_ns < due_ns:
            due_ns = next_ns
    if engine.phase.action == ACTION_HANG:
        due_ns = 0
    if engine.script_start_ns and engine.phase_next < engine.phase_count:
        next_ns = engine.script_start_ns + engine.phases[engine.phase_next].at_ns
        if due_ns == 0 or next_ns < due_ns:
            due_ns = next_ns
    if due_ns == 0:
        return -1
    return due_ns - engine.now_ns if due_ns > engine.now_ns else 0


cdef int serve_events(Engine *engine) noexcept nogil:
    """Serves until a wake-up, a signal or an error; 0, or -1 with `error` set."""
    cdef epoll_event events[EVENTS]
    cdef Connection *conn
    cdef int64_t limit_ns
    cdef int i, n
    while True:
        engine.now_ns = clock_ns()
        if script_advance(engine) < 0 or engine.error:
            return -1
        if engine.phase.action == ACTION_HANG:
            n = epoll_wait_ns(engine.wake_poller, events, 1, wait_limit_ns(engine))
            if n != 0:
                return 0
            continue
        reap(engine)
        complete_due(engine)
        flush_all(engine)
        limit_ns = 0 if engine.spin else wait_limit_ns(engine)
        n = epoll_wait_ns(engine.poller, events, EVENTS, limit_ns)
        if n < 0:
            if errno == EINTR:
                return 0
            engine.error = errno
            engine.error_text = b"epoll failed"
            return -1
        for i in range(n):
            if events[i].data.ptr == NULL:
                accept_connections(engine)
            elif events[i].data.ptr == engine:
                return 0
            else:
                conn = <Connection *>events[i].data.ptr
                if events[i].events & EPOLLOUT:
                    mark_dirty(conn)
                if events[i].events & ~<uint32_t>EPOLLOUT and connection_read(conn) < 0:
                    connection_close(conn)


cdef int copy_text(bytes text, uint8_t *target, size_t room, size_t *length) except -1:
    cdef const char *data = text
    cdef size_t size = len(text)
    if not 0 < size <= room:
        raise ValueError(f"a name must have 1 to {room} bytes, not {size}")
    length[0] = size
    memcpy(target, data, length[0])
    return 0


cdef int set_tensor(Tensor *tensor, spec) except -1:
    name, datatype, item_bytes, dims = spec
    copy_text(name.encode(), tensor.name, NAME_BYTES, &tensor.name_length)
    copy_text(datatype.encode(), tensor.datatype, 16, &tensor.datatype_length)
    tensor.item_bytes = item_bytes
    tensor.rank = len(dims)
    for i, dim in enumerate(dims):
        tensor.dims[i] = dim
    return 0


cdef class Server:
    def __cinit__(self, *args, **kwargs):
        memset(&self.engine, 0, sizeof(Engine))
        self.engine.poller = self.engine.wake_poller = self.engine.listener = -1
        self.engine.journal.fd = -1

    def __init__(self, handler, *, host, port, name, inputs, outputs, max_batch, capacity,
                 latency, seed, script, journal, max_request_bytes, max_connections, spin):
        cdef Engine *engine = &self.engine
        if engine.owner != NULL:
            raise RuntimeError("a Server is initialized once")
        engine.owner = <void *>self
        self.handler = handler
        self._set_model(name, inputs, outputs, max_batch, max_request_bytes)
        engine.capacity = capacity
        engine.latency.fixed_ns, engine.latency.mu, engine.latency.sigma = latency
        engine.random.state = seed
        engine.max_request_bytes = max_request_bytes
        engine.max_connections = max_connections
        engine.spin = spin
        self._set_script(script)
        self._set_nghttp2()
        self._set_poller()
        self._listen(host, port)
        if journal is not None:
            if journal_open(&engine.journal, os.fsencode(journal)) < 0:
                error = engine.journal.error
                raise OSError(error, os.strerror(error), journal)
            engine.journaling = True

    def _set_model(self, name, inputs, outputs, max_batch, max_output_bytes):
        cdef Model *model = &self.engine.model
        cdef uint8_t *at = model.preamble
        if not (0 < len(inputs) <= MAX_TENSORS and 0 < len(outputs) <= MAX_TENSORS):
            raise ValueError(f"a model has 1 to {MAX_TENSORS} inputs and outputs")
        copy_text(name.encode(), model.name, NAME_BYTES, &model.name_length)
        at = put_bytes(at, 0x0a, model.name, model.name_length)
        at = put_bytes(at, 0x12, b"1", 1)
        model.preamble_length = at - model.preamble
        model.max_batch = max_batch
        model.max_output_bytes = max_output_bytes
        model.input_count = len(inputs)
        model.output_count = len(outputs)
        for i, spec in enumerate(inputs):
            set_tensor(&model.inputs[i], spec)
        for i, spec in enumerate(outputs):
            set_tensor(&model.outputs[i], spec)
            echoes = i < len(inputs) and inputs[i][1:] == spec[1:]
            model.outputs[i].echoes = i if echoes else -1

    def _set_script(self, script):
        cdef Engine *engine = &self.engine
        cdef Phase *phase
        engine.phases = <Phase *>calloc(len(script) + 1, sizeof(Phase))
        if engine.phases == NULL:
            raise MemoryError
        engine.phase_count = len(script)
        for i, entry in enumerate(script):
            phase = &engine.phases[i]
            phase.at_ns, phase.action, phase.share, phase.latency_ns, phase.status = entry

    def _set_nghttp2(self):
        cdef Engine *engine = &self.engine
        engine.buffer = <uint8_t *>malloc(READ_BYTES)
        if (engine.buffer == NULL
                or nghttp2_session_callbacks_new(&engine.callbacks) != 0
                or nghttp2_option_new(&engine.option) != 0):
            raise MemoryError
        nghttp2_session_callbacks_set_on_begin_headers_callback(
            engine.callbacks, on_begin_headers)
        nghttp2_session_callbacks_set_on_header_callback(engine.callbacks, on_header)
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
            engine.callbacks, on_data_chunk)
        nghttp2_session_callbacks_set_on_frame_recv_callback(engine.callbacks, on_frame_recv)
        nghttp2_session_callbacks_set_on_frame_send_callback(engine.callbacks, on_frame_send)
        nghttp2_session_callbacks_set_on_stream_close_callback(
            engine.callbacks, on_stream_close)
        nghttp2_session_callbacks_set_send_data_callback(engine.callbacks, send_data)
        nghttp2_session_callbacks_set_data_source_read_length_callback(
            engine.callbacks, data_frame_bytes)
        nghttp2_option_set_no_closed_streams(engine.option, 1)
        engine.mem.mem_user_data = &engine.pool
        engine.mem.malloc = pool_malloc
        engine.mem.free = pool_free
        engine.mem.calloc = pool_calloc
        engine.mem.realloc = pool_realloc

    def _set_poller(self):
        cdef Engine *engine = &self.engine
        cdef epoll_event event
        self.wake_reader, self.wake_writer = socket.socketpair()
        self.wake_reader.setblocking(False)
        self.wake_writer.setblocking(False)
        engine.poller = epoll_create1(EPOLL_CLOEXEC)
        engine.wake_poller = epoll_create1(EPOLL_CLOEXEC)
        event.events = EPOLLIN
        event.data.ptr = engine
        for poller in (engine.poller, engine.wake_poller):
            if epoll_ctl(poller, EPOLL_CTL_ADD, self.wake_reader.fileno(), &event) < 0:
                raise OSError(errno, os.strerror(errno))

    def _listen(self, host, port):
        cdef Engine *engine = &self.engine
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # Bound and never listening: it holds the port while a script refuses connections.
        self.reserved = socket.socket(family, socket.SOCK_STREAM)
        self.reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.reserved.bind(address)
        self.port = self.reserved.getsockname()[1]
        engine.address_length = sizeof(engine.address)
        getsockname(self.reserved.fileno(), <sockaddr *>&engine.address,
                    &engine.address_length)
        if listener_open(engine) < 0:
            raise OSError(engine.error, os.strerror(engine.error))

    def __dealloc__(self):
        cdef Engine *engine = &self.engine
        cdef void *slab = engine.stream_slabs
        cdef void *older
        while engine.connections != NULL:
            connection_close(engine.connections)
        engine.dirty = NULL
        flush_all(engine)
        for fd in (engine.listener, engine.poller, engine.wake_poller):
            if fd >= 0:
                close(fd)
        journal_close(&engine.journal)
        while slab != NULL:
            older = (<void **>slab)[0]
            free(slab)
            slab = older
        free(engine.heap.entries)
        free(engine.phases)
        free(engine.buffer)
        nghttp2_session_callbacks_del(engine.callbacks)
        nghttp2_option_del(engine.option)
        pool_empty(&engine.pool)

    def run(self):
        prctl1(PR_SET_TIMERSLACK, 1)
        while not self.engine.stopping:
            with nogil:
                rc = serve_events(&self.engine)
            if rc < 0:
                what = self.engine.error_text.decode()
                raise OSError(self.engine.error, f"{what}: {os.strerror(self.engine.error)}")
            try:
                while self.wake_reader.recv(4096):
                    pass
            except BlockingIOError:
                pass
            # Handlers run in Python's own loop, which this one never returns to.
            PyErr_CheckSignals()

    def stop(self):
        self.engine.stopping = True
        try:
            self.wake_writer.send(b"\0")
        except BlockingIOError:
            pass

    def wake_fd(self):
        return self.wake_writer.fileno()

    def close(self):
        cdef Engine *engine = &self.engine
        while engine.connections != NULL:
            connection_close(engine.connections)
        flush_all(engine)
        if engine.listener >= 0:
            close(engine.listener)
            engine.listener = -1
        self.reserved.close()
        if journal_close(&engine.journal) < 0:
            raise OSError(errno, os.strerror(errno))

    def counters(self):
        cdef Counters *counters = &self.engine.counters
        return {
            "inferences": counters.inferences,
            "executions": counters.executions,
            "succeeded": counters.succeeded,
            "succeeded_ns": counters.succeeded_ns,
            "failed": counters.failed,
            "failed_ns": counters.failed_ns,
            "queue_ns": counters.queue_ns,
            "compute_ns": counters.compute_ns,
            "last_ns": counters.last_ns,
        }


def die_with_parent(pid):
    """SIGKILL for this process when its parent, which must be `pid`, ends."""
    if prctl1(PR_SET_PDEATHSIG, SIGKILL) < 0:
        raise OSError(errno, os.strerror(errno))
    if getppid() != pid:
        kill(getpid(), SIGKILL)
