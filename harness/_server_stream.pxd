"""A request's stream: its buffers, pooled, and the answers that go out on it."""

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, strlen

from harness._server_infer cimport GRPC_PREFIX_BYTES
from harness._server_state cimport (
    BODY_INLINE_BYTES,
    HEAD_INLINE_BYTES,
    MAX_BODY_BYTES,
    METHOD_UNKNOWN,
    OK,
    SEGMENTS_INLINE,
    STREAMS_PER_SLAB,
    Connection,
    Engine,
    Stream,
)
from harness.includes.nghttp2 cimport (
    NGHTTP2_DATA_FLAG_EOF,
    NGHTTP2_DATA_FLAG_NO_COPY,
    NGHTTP2_DATA_FLAG_NO_END_STREAM,
    NGHTTP2_ERR_CALLBACK_FAILURE,
    NGHTTP2_NV_FLAG_NO_COPY_NAME,
    NGHTTP2_NV_FLAG_NO_COPY_VALUE,
    nghttp2_data_provider,
    nghttp2_data_source,
    nghttp2_nv,
    nghttp2_session,
    nghttp2_submit_response,
    nghttp2_submit_trailer,
)


cdef inline nghttp2_nv constant_field(const char *name, const char *value) noexcept nogil:
    cdef nghttp2_nv field
    field.name = <uint8_t *>name
    field.value = <uint8_t *>value
    field.namelen = strlen(name)
    field.valuelen = strlen(value)
    field.flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE
    return field


cdef inline Stream *stream_take(Engine *engine) noexcept nogil:
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


cdef inline int stream_drop_buffers(Engine *engine, Stream *stream) noexcept nogil:
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


cdef inline int stream_release(Engine *engine, Stream *stream) noexcept nogil:
    stream_drop_buffers(engine, stream)
    stream.next = engine.free_streams
    engine.free_streams = stream
    return 0


cdef inline int stream_detach(Engine *engine, Stream *stream) noexcept nogil:
    """The HTTP/2 stream is gone: a pending request is served on, for nobody."""
    if stream.pending:
        stream.conn = NULL
        stream_drop_buffers(engine, stream)
        return 0
    return stream_release(engine, stream)


cdef inline int stream_reserve_head(Stream *stream, size_t size) noexcept nogil:
    if size <= stream.head_room:
        return 0
    stream.head = <uint8_t *>malloc(size)
    if stream.head == NULL:
        stream.head = stream.head_inline
        return -1
    stream.head_room = size
    return 0


cdef inline int stream_append_body(Engine *engine, Stream *stream, const uint8_t *data,
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


cdef inline int mark_dirty(Connection *conn) noexcept nogil:
    if not conn.dirty:
        conn.dirty = True
        conn.next_dirty = conn.engine.dirty
        conn.engine.dirty = conn
    return 0


cdef inline int respond_status(Stream *stream, int status, const char *message) noexcept nogil:
    """A gRPC status without a message body: trailers only."""
    cdef Engine *engine = stream.conn.engine
    cdef nghttp2_nv fields[4]
    cdef const char *digits = b"0123456789ABCDEF"
    cdef size_t length = strlen(message), at = 0, i
    cdef uint8_t byte
    stream.answered = True
    fields[0] = engine.response_fields[0]
    fields[1] = engine.response_fields[1]
    fields[2] = engine.trailer_field
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


cdef inline ssize_t read_answer(nghttp2_session *session, int32_t stream_id, uint8_t *buf,
                                size_t length, uint32_t *data_flags, nghttp2_data_source *source,
                                void *user_data) noexcept nogil:
    cdef Stream *stream = <Stream *>source.ptr
    data_flags[0] |= NGHTTP2_DATA_FLAG_NO_COPY
    if stream.left > length:
        return length
    data_flags[0] |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM
    if nghttp2_submit_trailer(session, stream_id, &stream.conn.engine.trailer_field, 1) < 0:
        return NGHTTP2_ERR_CALLBACK_FAILURE
    return stream.left


cdef inline int respond_message(Stream *stream) noexcept nogil:
    """The answer in the stream's segments, `left` bytes in all."""
    cdef nghttp2_data_provider provider
    stream.answered = True
    provider.source.ptr = stream
    provider.read_callback = read_answer
    return nghttp2_submit_response(stream.conn.session, stream.id,
                                   stream.conn.engine.response_fields, 2, &provider)
