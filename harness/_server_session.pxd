"""What nghttp2 calls back on: requests coming in, answers going out."""

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.string cimport memcmp, memcpy, memset, strlen

from harness._server_connection cimport drain_finally, out_reserve
from harness._server_answer cimport Segment
from harness._server_request cimport request_complete
from harness._server_state cimport (
    CONTROL_METHODS,
    METHOD_CONTROL,
    METHOD_INFER,
    METHOD_UNKNOWN,
    OUT_HIGH_BYTES,
    UNIMPLEMENTED,
    Connection,
    Engine,
    Stream,
)
from harness._server_stream cimport (
    respond_status,
    stream_append_body,
    stream_detach,
    stream_take,
)
from harness.includes.nghttp2 cimport *


cdef inline int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame,
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


cdef inline int find_method(Engine *engine, const uint8_t *path, size_t length) noexcept nogil:
    cdef const char *service = b"/inference.GRPCInferenceService/"
    cdef size_t service_length = strlen(service)
    cdef const char *name
    cdef int i
    if length <= service_length or memcmp(path, service, service_length) != 0:
        return METHOD_UNKNOWN
    path += service_length
    length -= service_length
    if length == 10 and memcmp(path, b"ModelInfer", 10) == 0:
        return METHOD_INFER
    for i in range(CONTROL_METHODS):
        name = engine.control_methods[i]
        if length == strlen(name) and memcmp(path, name, length) == 0:
            return METHOD_CONTROL + i
    return METHOD_UNKNOWN


cdef inline int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                          size_t namelen, const uint8_t *value, size_t valuelen, uint8_t flags,
                          void *user_data) noexcept nogil:
    cdef Stream *stream = (<Connection *>user_data).current
    if stream == NULL:
        return 0
    stream.header_bytes += namelen + valuelen + 32
    if namelen == 5 and memcmp(name, b":path", 5) == 0:
        stream.method = find_method(stream.conn.engine, value, valuelen)
    elif namelen == 12 and memcmp(name, b"content-type", 12) == 0:
        stream.grpc = valuelen >= 16 and memcmp(value, b"application/grpc", 16) == 0
    return 0


cdef inline int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                              const uint8_t *data, size_t length, void *user_data) noexcept nogil:
    cdef Connection *conn = <Connection *>user_data
    cdef Stream *stream = conn.current
    if stream == NULL or stream.id != stream_id:
        stream = <Stream *>nghttp2_session_get_stream_user_data(session, stream_id)
        conn.current = stream
        if stream == NULL:
            return 0
    return stream_append_body(conn.engine, stream, data, length)


cdef inline int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame,
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
            rc = nghttp2_submit_response(session, stream.id, &conn.engine.unsupported_field, 1,
                                         NULL)
        elif stream.method == METHOD_UNKNOWN:
            # At once, since the caller of a streaming method waits before it half-closes.
            rc = respond_status(stream, UNIMPLEMENTED, b"unknown method")
    if rc == 0 and frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
        rc = request_complete(conn.engine, stream)
    return NGHTTP2_ERR_CALLBACK_FAILURE if rc < 0 and nghttp2_is_fatal(rc) else 0


cdef inline int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame,
                              void *user_data) noexcept nogil:
    if frame.hd.type == NGHTTP2_HEADERS and frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
        # Answered before the request's end: tell the client to stop sending.
        if nghttp2_session_get_stream_remote_close(session, frame.hd.stream_id) == 0:
            nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame.hd.stream_id,
                                      NGHTTP2_NO_ERROR)
    return 0


cdef inline int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code,
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


cdef inline ssize_t data_frame_bytes(
        nghttp2_session *session, uint8_t frame_type, int32_t stream_id, int32_t session_window,
        int32_t stream_window, uint32_t max_frame_bytes, void *user_data) noexcept nogil:
    return max_frame_bytes if max_frame_bytes < OUT_HIGH_BYTES else OUT_HIGH_BYTES


cdef inline int send_data(
        nghttp2_session *session, nghttp2_frame *frame, const uint8_t *framehd, size_t length,
        nghttp2_data_source *source, void *user_data) noexcept nogil:
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
