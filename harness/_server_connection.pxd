"""A client's connection: one nghttp2 session, one read and one write a turn."""

from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy

from harness._server_state cimport (
    CONNECTION_WINDOW_BYTES,
    LINGER_NS,
    MAX_FRAME_BYTES,
    MAX_HEADER_BYTES,
    MAX_STREAMS,
    OUT_HIGH_BYTES,
    READ_BYTES,
    SETTINGS_NO_RFC7540_PRIORITIES,
    STREAM_WINDOW_BYTES,
    Connection,
    Engine,
    Stream,
)
from harness._server_stream cimport mark_dirty, stream_detach
from harness.includes.linux cimport (
    EAGAIN,
    EINTR,
    EPOLL_CTL_ADD,
    EPOLL_CTL_MOD,
    EPOLLIN,
    EPOLLOUT,
    IPPROTO_TCP,
    MSG_NOSIGNAL,
    SHUT_WR,
    SO_LINGER,
    SOL_SOCKET,
    TCP_NODELAY,
    clock_ns,
    close,
    epoll_ctl,
    epoll_event,
    errno,
    linger,
    recv,
    send,
    setsockopt,
    shutdown,
)
from harness.includes.nghttp2 cimport *


cdef inline int out_reserve(Connection *conn, size_t length) noexcept nogil:
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


cdef inline int connection_open(Engine *engine, int fd) noexcept nogil:
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


cdef inline int connection_close(Connection *conn) noexcept nogil:
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


cdef inline int connection_reset(Connection *conn) noexcept nogil:
    cdef linger abort
    abort.l_onoff = 1
    abort.l_linger = 0
    setsockopt(conn.fd, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort))
    return connection_close(conn)


cdef inline int set_deadline(Connection *conn) noexcept nogil:
    conn.deadline_ns = conn.engine.now_ns + LINGER_NS
    if conn.engine.reap_ns == 0 or conn.deadline_ns < conn.engine.reap_ns:
        conn.engine.reap_ns = conn.deadline_ns
    return 0


cdef inline int drain_finally(Connection *conn) noexcept nogil:
    """The second GOAWAY: streams above the last one seen will not be served."""
    conn.draining = False
    conn.deadline_ns = 0
    nghttp2_submit_goaway(conn.session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(conn.session),
                          NGHTTP2_NO_ERROR, NULL, 0)
    return mark_dirty(conn)


cdef inline int connection_fill(Connection *conn) noexcept nogil:
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


cdef inline int poll_out(Connection *conn, bint wanted) noexcept nogil:
    cdef epoll_event event
    if conn.polls_out == wanted:
        return 0
    conn.polls_out = wanted
    event.events = EPOLLIN | EPOLLOUT if wanted else EPOLLIN
    event.data.ptr = conn
    return epoll_ctl(conn.engine.poller, EPOLL_CTL_MOD, conn.fd, &event)


cdef inline int connection_flush(Connection *conn) noexcept nogil:
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


cdef inline int connection_read(Connection *conn) noexcept nogil:
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
